//! Songs from their files, decoded as nodes and players decode them.

use std::path::{Path, PathBuf};

use super::Song;

/// Longer songs than this are no test songs; in seconds.
const SECS_MAX: u64 = 3600;

/// Why a song can't serve as a reference.
#[derive(Debug, thiserror::Error)]
#[error("can't take {path} as a song: {why}")]
pub struct SongError {
    path: PathBuf,
    why: String,
}

/// Decodes the song in `path`.
pub fn read_song(path: &Path) -> Result<Song, SongError> {
    let error = |why: String| SongError { path: path.to_owned(), why };
    let bytes = std::fs::read(path).map_err(|e| error(e.to_string()))?;
    let source = || jam_media::file(path).map_err(|e| error(e.to_string()));
    let info = jam_media::inspect(source()?, jam_media::Limits { secs_max: SECS_MAX })
        .map_err(|refusal| error(refusal.to_string()))?;
    let mut decoder = jam_media::Decoder::open(source()?, info.frames, info.sample_rate)
        .map_err(|refusal| error(refusal.to_string()))?;
    let mut samples = Vec::new();
    let mut stereo = vec![0.0; 2 * 4096];
    loop {
        let frames = decoder.read(&mut stereo);
        if frames == 0 {
            break;
        }
        samples.extend(
            stereo[..2 * frames].chunks_exact(2).map(|frame| (frame[0] + frame[1]) * 16_384.0),
        );
    }
    Ok(Song {
        name: path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        track: blake3::hash(&bytes).to_hex().to_string(),
        sample_rate: info.sample_rate,
        samples,
    })
}
