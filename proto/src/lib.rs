//! The language that Jam's nodes, clients and chaos runner share, and what it means.
//!
//! Nothing in here reads a clock, draws a random number, touches the world, or depends on the order
//! of a hash map: `clippy.toml` forbids it. Time and input are brought by the caller, so everything is
//! tested by the million in milliseconds, and every node and client comes to the same result.
//!
//! - [`wire`]: the messages, as generated from `wire/*.proto`; [`convert`] parses them once, at the edge.
//! - [`room`]: a room. Commands are judged, events are folded, and what sounds at an instant is arithmetic.
//! - [`shard`]: the rooms, sessions and tracks of one Raft group, as a function of its log.
//! - [`level`]: feature levels, which keep builds of different age from diverging.
//! - [`sync`]: shared time.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

#[cfg(feature = "rpc")]
pub mod codec;
pub mod command;
pub mod convert;
pub mod event;
pub mod ids;
pub mod level;
pub mod limits;
pub mod loudness;
#[cfg(feature = "planted")]
pub mod planted;
pub mod rate;
pub mod room;
pub mod shard;
pub mod sync;
pub mod time;
mod timeline;
pub mod wire;
