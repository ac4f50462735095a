//! The node's doors: one file for each gRPC service.

pub mod songs;
