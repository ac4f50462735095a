//! Songs on their way: from this machine's files to the cluster, and from the cluster, in segments, into a disk cache.
//!
//! [`cache::SongCache`] is the only place that fetches; the player reads along what is here ([`sound`]) and asks first how far it
//! reaches. What to fetch next and at which quality is thought out in [`plan`] and [`quality`], which are pure.

pub mod cache;
pub mod disk;
pub mod fetch;
mod later;
pub mod local;
mod manifests;
mod meter;
pub mod order;
pub mod plan;
pub mod quality;
mod reread;
pub mod sound;
mod strand;
pub mod upload;

use std::io::{self, Read};

use jam_proto::ids::TrackId;

/// The id of a song's bytes, and how many they are. Reads all of them.
pub fn hash(bytes: impl Read) -> io::Result<(TrackId, u64)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(bytes)?;
    Ok((TrackId(*hasher.finalize().as_bytes()), hasher.count()))
}
