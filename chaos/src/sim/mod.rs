//! Simulated machines: clocks, disks and a network that are made up from a seed.
//!
//! Every draw comes from a [`Stream`] of its own purpose, so that one draw more in one place leaves all other places as they
//! were. What the process draws from the operating system is taken over by [`entropy`], and time goes on by [`Time::step`] only.

pub mod clock;
pub mod entropy;
pub mod seed;
pub mod time;

pub use clock::Clocks;
pub use seed::Stream;
pub use time::Time;
