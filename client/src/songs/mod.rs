//! Songs on their way: from this machine's files to the cluster, and from the cluster into a disk cache.
//!
//! In this release a song travels as its whole original file, and sounds once all of it is here. Segments
//! will come in between: [`cache::SongCache`] is the only place that fetches, and the player asks it for what it needs.

pub mod cache;
pub mod disk;
pub mod order;
pub mod upload;

use std::io::{self, Read};

use jam_proto::ids::TrackId;

/// The id of a song's bytes, and how many they are. Reads all of them.
pub fn hash(bytes: impl Read) -> io::Result<(TrackId, u64)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(bytes)?;
    Ok((TrackId(*hasher.finalize().as_bytes()), hasher.count()))
}
