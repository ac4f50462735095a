//! The language that Jam's nodes, clients and chaos runner share, and what it means.

pub mod command;
pub mod event;
pub mod ids;
pub mod limits;
pub mod room;
pub mod shard;
pub mod sync;
pub mod time;
pub mod wire;
