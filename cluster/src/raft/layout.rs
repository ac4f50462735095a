//! Where things lie in sled: one tree, so that one batch changes any of them at once.
//!
//! | key | value |
//! | --- | --- |
//! | `l` index part | a part of a log entry |
//! | `m` name | vote, last purged log id, last known commit, current snapshot |
//! | `s` generation chunk | a chunk of a snapshot |
//!
//! sled writes whole leaves, and one larger than a quarter of its 512 KiB segments goes to a file
//! under `blobs/` that is never synced. A leaf holds up to 16 values, and some more until it is
//! split, so every value stays below [`VALUE_BYTES_MAX`] and longer ones are cut.

use std::io;
use std::ops::RangeInclusive;

use super::types::Entry;

/// 20 of these and their keys stay under sled's 128 KiB.
pub const VALUE_BYTES_MAX: usize = 6 << 10;

/// The last vote.
pub const VOTE: &[u8] = b"mvote";
/// The last purged log id.
pub const PURGED: &[u8] = b"mpurged";
/// The last log id known to be committed. It may lag, and is never relied on for safety.
pub const COMMITTED: &[u8] = b"mcommitted";
/// Which snapshot is current.
pub const SNAPSHOT: &[u8] = b"msnapshot";

const LOG: u8 = b'l';
const CHUNK: u8 = b's';

/// Every key.
pub fn all_keys() -> RangeInclusive<Vec<u8>> {
    Vec::new()..=vec![u8::MAX]
}

/// Key of a part of a log entry.
pub fn entry_key(index: u64, part: u16) -> Vec<u8> {
    let mut key = vec![LOG];
    key.extend(index.to_be_bytes());
    key.extend(part.to_be_bytes());
    key
}

/// Keys of all the parts of the entries in `range`.
pub fn entry_keys(range: RangeInclusive<u64>) -> RangeInclusive<Vec<u8>> {
    entry_key(*range.start(), 0)..=entry_key(*range.end(), u16::MAX)
}

/// Index and part of an entry's key.
pub fn parse_entry_key(key: &[u8]) -> io::Result<(u64, u16)> {
    let parts = key.strip_prefix(&[LOG]).and_then(|rest| rest.split_first_chunk::<8>());
    match parts.map(|(index, part)| (index, <[u8; 2]>::try_from(part))) {
        Some((index, Ok(part))) => Ok((u64::from_be_bytes(*index), u16::from_be_bytes(part))),
        _ => Err(damaged("a log key")),
    }
}

/// Key of a chunk of a snapshot.
pub fn chunk_key(generation: u64, chunk: u32) -> Vec<u8> {
    let mut key = vec![CHUNK];
    key.extend(generation.to_be_bytes());
    key.extend(chunk.to_be_bytes());
    key
}

/// Keys of all chunks of all generations.
pub fn all_chunk_keys() -> RangeInclusive<Vec<u8>> {
    chunk_key(0, 0)..=chunk_key(u64::MAX, u32::MAX)
}

/// The generation in a chunk's key.
pub fn chunk_generation(key: &[u8]) -> io::Result<u64> {
    let generation = key.strip_prefix(&[CHUNK]).and_then(|rest| rest.first_chunk::<8>());
    generation.map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(|| damaged("a snapshot key"))
}

/// An entry's encoding; cut into parts of [`VALUE_BYTES_MAX`] it lies in sled.
pub fn encode_entry(entry: &Entry) -> io::Result<Vec<u8>> {
    let bytes = postcard::to_stdvec(entry).map_err(io::Error::other)?;
    if bytes.len() > usize::from(u16::MAX) * VALUE_BYTES_MAX {
        let size = bytes.len();
        return Err(io::Error::other(format!("a log entry of {size} bytes is too large to store")));
    }
    Ok(bytes)
}

/// An entry from its parts, joined. A missing part shows as an error.
pub fn decode_entry(joined: &[u8]) -> io::Result<Entry> {
    postcard::from_bytes(joined).map_err(|_| damaged("a log entry"))
}

/// An error about what has the right checksum and can't be read: a newer build wrote it.
pub fn newer(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{what} has a format that is not known"))
}

/// An error that says what could not be read.
pub fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} on disk is damaged"))
}
