//! A Jam node.

pub mod api;
pub mod blobs;
pub mod media;
pub mod shard;
