//! The node's doors: one file for each gRPC service, and what they share.

mod access_log;
pub mod admission;
pub mod auth;
pub mod browsers;
pub mod clocks;
pub mod cluster;
pub mod encodings;
pub mod large;
mod level;
mod lost;
mod origin;
pub mod peer;
pub mod reading;
mod replace;
pub mod rooms;
mod session;
pub mod songs;
pub mod time;
pub mod watching;

use std::time::Duration;

/// A client that names no deadline.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);
/// Whoever asks for more gets this.
const DEADLINE_MAX: Duration = Duration::from_secs(30);

/// Between nodes, a room's status holds its whole queue: 10,000 entries with all their tags. And who listens.
const MESSAGE_BYTES_MAX: usize = jam_proto::limits::ROOM_MESSAGE_BYTES_MAX + (4 << 20);

/// The deadline of an edit, from a request's `deadline_ms`.
fn deadline(deadline_ms: u32) -> Duration {
    match deadline_ms {
        0 => DEADLINE_DEFAULT,
        ms => Duration::from_millis(ms.into()).min(DEADLINE_MAX),
    }
}
