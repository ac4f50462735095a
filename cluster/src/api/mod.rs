//! The node's doors: one file for each gRPC service, and what they share.

pub mod peer;
pub mod songs;
