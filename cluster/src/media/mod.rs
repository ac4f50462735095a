//! What a node does once with each new song: it finds out what it is, or why it can't be taken.
//!
//! Its segments are cut by `segments`, and its renditions made by `rendering`.

use std::sync::Arc;

use jam_media::{Limits, Refusal, SongInfo, inspect, title_from_file_name};
use jam_proto::ids::TrackId;
use jam_proto::limits::{SONG_SECS_MAX, TAG_BYTES_MAX};
use jam_proto::wire::v1::{self as wire, Track};
use jam_world::{Cursor, File};

use crate::blobs::Found;

/// Inspects a whole file: what it is, and what was found in it. Decodes all of it: blocks for seconds per hour of music.
pub(crate) fn ingest(
    file: Arc<dyn File>,
    id: TrackId,
    bytes: u64,
    file_name: &str,
) -> Result<(Track, Found), Refusal> {
    let mut info =
        inspect(jam_media::source(Cursor::new(file), bytes), Limits { secs_max: SONG_SECS_MAX })?;
    if info.missing_frames > 0 {
        let ms = info.missing_frames * 1000 / u64::from(info.sample_rate.max(1));
        tracing::info!(track = %id, "the last {ms} ms of this song are missing, and the rest is kept");
    }
    let found = Found::take(&mut info);
    Ok((track(info, id, bytes, file_name), found))
}

fn track(info: SongInfo, id: TrackId, bytes: u64, file_name: &str) -> Track {
    let title = info.tags.title.unwrap_or_else(|| title_from_file_name(file_name));
    Track {
        id: id.to_wire(),
        title: cut(title),
        artist: cut(info.tags.artist.unwrap_or_default()),
        album: cut(info.tags.album.unwrap_or_default()),
        frames: info.frames,
        sample_rate: info.sample_rate,
        channels: info.channels,
        codec: info.codec,
        bytes,
        loudness: info.loudness.map(|loudness| wire::Loudness {
            integrated: loudness.integrated,
            true_peak: loudness.true_peak,
        }),
        derived: Vec::new(),
        rendered: false,
    }
}

/// To the limit, at a character.
fn cut(mut text: String) -> String {
    let end = (0..=TAG_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tags_are_cut_at_a_character() {
        assert_eq!(cut("ä".repeat(400)).len(), TAG_BYTES_MAX);
        assert_eq!(cut("日".repeat(101)).len(), 300);
        assert_eq!(cut("short".to_owned()), "short");
    }
}
