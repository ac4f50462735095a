//! A Jam node.

pub mod api;
pub mod blobs;
pub mod formation;
pub mod identity;
pub mod media;
pub mod raft;
pub mod shard;
