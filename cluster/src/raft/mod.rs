//! Openraft's adapters: log store, state machine, network. Its types stay in here and behind
//! [`crate::shard::Group`]; the modules are public for the tests' sake.

pub mod addresses;
pub mod admission;
pub mod bounds;
pub mod checkpoint;
pub mod contact;
pub mod handle;
pub mod incoming;
pub mod incoming_snapshot;
pub mod journal;
pub mod layout;
pub mod levels;
pub mod link;
pub mod log;
pub mod machine;
pub mod members;
pub mod network;
mod open;
pub mod pending;
pub mod reach;
mod readdress;
pub mod recover;
pub mod snapshots;
pub mod store;
pub mod transfers;
pub mod types;
pub mod unfinished;
pub mod vote_file;
pub mod writer;
