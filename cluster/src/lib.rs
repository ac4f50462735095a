//! A Jam node.

pub mod shard;
