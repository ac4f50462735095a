//! Simulated machines: clocks, disks and a network that are made up from a seed.
//!
//! The nodes and clients of a simulation are the real code, over a [`jam_world::World`] that comes from a [`Machine`].
//! A machine outlives its processes: each `Machine::world` begins a *life*, and what an earlier life still holds fails from
//! then on. Beneath are turmoil's hosts, one for each machine, in one thread. The director of a simulation holds the machines
//! and breaks them, between two steps:
//!
//! | what happens | the machine | turmoil |
//! | --- | --- | --- |
//! | a process is killed | [`Machine::kill`] | then `crash`: what destructors write must not reach the disk |
//! | the power goes | [`Machine::cut_power`] | `partition` from all (a dead machine sends no FIN), then `crash` |
//! | the power is back | [`Machine::power_up`] | `repair`, then `bounce` |
//! | the power goes within a step | [`Disk::light_fuse`], and `cut_power` once [`Disk::is_dark`] | as above |
//! | a laptop sleeps | [`Machine::suspend`], [`Machine::wake`] | `hold` and `release` all its links |
//! | disk faults | [`Machine::disk`] | |
//!
//! Every draw comes from a [`Stream`] of its own purpose, so that one draw more in one place leaves all other places as they
//! were. What the process draws from the operating system is taken over by [`entropy`], and time goes on by [`Time::step`] only.

pub mod book;
pub mod clock;
pub mod command;
pub mod crowd;
pub mod disk;
pub mod entropy;
mod links;
mod log;
pub mod machine;
mod net;
pub mod node;
pub mod one;
pub mod operator;
pub mod plan;
pub mod seed;
pub mod stage;
pub mod time;
pub mod watcher;
mod work;

pub use clock::Clocks;
pub use disk::{Disk, Event, Pace, Tally};
pub use machine::Machine;
pub use seed::Stream;
pub use time::Time;
