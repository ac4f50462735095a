//! Simulated machines: clocks, disks and a network that are made up from a seed.
//!
//! The nodes and clients of a simulation are the real code, over a [`jam_world::World`] that comes from a [`Machine`]. A
//! machine outlives its processes: each [`Machine::world`] begins a *life*, and what an earlier life still holds fails
//! from then on.
//!
//! A [`Site`] wires machines by turmoil's network, runs a process on each, all in one thread, and breaks what its
//! director wants broken, between two steps:
//!
//! | what happens | |
//! | --- | --- |
//! | a process is killed | [`Site::kill`] |
//! | a process is stopped, as by SIGSTOP | [`Site::stop`] |
//! | a machine sleeps | [`Site::suspend`] |
//! | the power goes | [`Site::cut_power`], and later [`Machine::power_up`] |
//! | the power goes within a step | [`Disk::light_fuse`], and [`Site::cut_power`] once [`Disk::is_dark`] |
//! | messages are lost or wait | [`Site::cut`], [`Site::hold`] |
//! | a disk fails, is full, is slow | [`Machine::disk`] |
//!
//! Every draw comes from a [`Stream`](crate::seed::Stream) of its own purpose, so that one draw more in one place leaves all other places as they
//! were. What the process draws from the operating system is taken over by [`entropy`], and time goes on by [`Site::step`]
//! only.

mod card;
pub mod clock;
pub mod command;
mod director;
pub mod disk;
pub mod entropy;
mod links;
mod log;
pub mod machine;
mod net;
pub mod node;
pub mod one;
pub mod plan;
mod process;
pub mod site;
pub mod stage;
pub mod time;
mod work;

pub use clock::Clocks;
pub use disk::{Disk, Event, Pace, Tally};
pub use machine::Machine;
pub use site::Site;
pub use time::Time;
