//! The stated limits. A refusal names the one it met.

/// Bytes in a room's name.
pub const ROOM_NAME_BYTES_MAX: usize = 256;
/// Bytes in a user's name.
pub const USER_NAME_BYTES_MAX: usize = 64;
/// Bytes of a title, artist or album; longer tags are cut at a character.
pub const TAG_BYTES_MAX: usize = 300;
/// Bytes of a codec's name.
pub const CODEC_BYTES_MAX: usize = 64;
/// Entries in a queue, the current one included.
pub const QUEUE_ENTRIES_MAX: usize = 10_000;
/// Played entries that a room remembers.
pub const HISTORY_ENTRIES_MAX: usize = 100;
/// Bytes that all rooms and their entries may hold together, by the weights of [`crate::shard::weight`]: two million
/// entries.
pub const ROOMS_BYTES_MAX: u64 = 512 << 20;
/// Bytes of one room in a message: a full queue with the longest tags.
pub const ROOM_MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a snapshot of everything. All other limits together stay below it.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;
/// Rooms in a cluster.
pub const ROOMS_MAX: usize = 100_000;
/// Open sessions. When there are so many, opening another one closes one or is refused.
pub const SESSIONS_MAX: usize = 100_000;
/// Bytes of a key that a client may give instead of a session's id.
pub const SESSION_KEY_BYTES_MAX: usize = 64;
/// Seconds of shared time after which an unused session expires.
pub const SESSION_IDLE_SECS_MAX: i64 = 7 * 24 * 3600;
/// Seconds of shared time for which a session that was used is not closed to make room for another one.
pub const SESSION_PROTECTED_SECS: i64 = 10 * 60;
/// Tracks in a cluster.
pub const TRACKS_MAX: usize = 1_000_000;
/// What may be made of one track: its cover, its waveform, and renditions.
pub const DERIVED_MAX: usize = 16;
/// Bytes of the name of one of these.
pub const DERIVED_NAME_BYTES_MAX: usize = 32;
/// Bytes of one song's file.
pub const SONG_BYTES_MAX: u64 = 2 << 30;
/// Seconds of one song.
pub const SONG_SECS_MAX: u64 = 6 * 3600;
/// Bytes of one request other than an upload.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Bytes of one operation in the log: no request makes a larger one, and a track with all that is made of it has some 4 KiB.
pub const OPERATION_BYTES_MAX: usize = REQUEST_BYTES_MAX;
/// Bytes of one chunk of an upload or fetch.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Seconds that a past piece of a timeline is kept.
pub const PIECE_KEPT_SECS: i64 = 10;
/// Pieces of a timeline before its last one. People never fill it; a program that seeks without end
/// does, and then a piece lasts a twenty-fifth of a second on average.
pub const PIECES_MAX: usize = 256;
/// The highest `--id` of a jamd. Node ids above it are given out, each once, to replacements.
pub const PLACE_MAX: u64 = 99;
