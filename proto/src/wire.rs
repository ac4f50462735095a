//! The messages as generated from `proto/wire/*.proto`; those files document them.
#![allow(missing_docs, clippy::all)]

/// The public API: rooms, songs, time, and the cluster's status.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/jam.v1.rs"));
}

/// What the Raft log and its snapshots hold.
pub mod log {
    /// First version.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/jam.log.v1.rs"));
    }
}

/// What nodes say to each other.
pub mod peer {
    /// First version.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/jam.peer.v1.rs"));
    }
}
