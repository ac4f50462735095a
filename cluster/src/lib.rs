//! A Jam node.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod api;
pub mod batches;
pub mod blobs;
pub mod config;
pub mod credential;
mod draft;
pub mod evictions;
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
pub mod rates;
pub mod receipts;
pub mod record;
pub mod refusal;
pub mod rendering;
mod routing;
pub mod segments;
pub mod server;
pub mod shard;
pub mod songs;
pub mod time;
pub mod time_marks;
pub mod unheard;
pub mod unique;
pub mod watch;
pub mod witness;
