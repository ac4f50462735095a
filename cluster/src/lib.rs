//! A Jam node.

pub mod api;
pub mod formation;
pub mod identity;
pub mod raft;
pub mod shard;
