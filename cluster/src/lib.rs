//! A Jam node.

pub mod raft;
pub mod shard;
