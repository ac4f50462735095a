//! What a segment of a song is asked for by, for a load generator that can neither hash nor cut.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;
use jam_client::songs;
use jam_media::Limits;
use jam_proto::limits::SONG_SECS_MAX;
use serde_json::json;

/// Which one.
#[derive(clap::Args)]
pub struct Segment {
    /// The song.
    song: PathBuf,
    /// The segment's number, from 0 on.
    #[arg(long, default_value_t = 1)]
    index: usize,
}

impl Segment {
    /// Cuts the song as a node would, and prints the segment's names and length as JSON.
    ///
    /// # Errors
    /// If the song can't be read or cut, or has no such segment.
    pub fn run(&self) -> anyhow::Result<()> {
        let open = || File::open(&self.song).with_context(|| self.song.display().to_string());
        let (track, _) = songs::hash(open()?)?;
        let limits = Limits { secs_max: SONG_SECS_MAX };
        let info = jam_media::inspect(jam_media::file(&self.song)?, limits)?;
        let source = jam_media::file(&self.song)?;
        let manifest = jam_media::cut(source, info.frames, info.sample_rate, |_, _| {
            Ok::<_, jam_media::Refusal>(())
        })?;
        let segment =
            manifest.segments().get(self.index).context("the song has no such segment")?;
        println!(
            "{}",
            json!({
                "track": track.to_string(),
                "index": self.index,
                "hash": blake3::Hash::from(segment.hash).to_string(),
                "bytes": segment.bytes,
            })
        );
        Ok(())
    }
}
