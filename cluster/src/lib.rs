//! A Jam node.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod api;
pub mod batches;
pub mod blobs;
pub mod config;
mod draft;
pub mod forgetting;
pub mod formation;
pub mod forward;
pub mod http;
pub mod identity;
pub mod links;
pub mod lost;
pub mod media;
pub mod metrics;
pub mod node;
pub mod presence;
pub mod raft;
pub mod record;
pub mod refusal;
pub mod rendering;
pub mod segments;
pub mod server;
pub mod shard;
pub mod songs;
pub mod time;
pub mod unheard;
pub mod watch;
pub mod witness;
