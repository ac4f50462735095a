//! Makes the tunes that Jam brings along, from nothing but arithmetic.
//!
//! They are this project's own work. The files in `docs/tunes` are what this makes and ffmpeg packs:
//!
//! ```sh
//! cargo run -p jam-chaos --example tunes -- docs/tunes
//! ```
//!
//! Two formats and two sample rates, so that whoever plays them one after the other has gone through
//! most of what a player must get right.

mod instruments;
mod room;
mod score;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use room::reverberate;
use score::{Piece, lantern_street, slow_tide};

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("name the folder to write to")?);
    pack(
        &lantern_street(44_100),
        &folder.join("lantern-street.mp3"),
        &["-c:a", "libmp3lame", "-q:a", "5"],
    )?;
    pack(&slow_tide(48_000), &folder.join("slow-tide.opus"), &["-c:a", "libopus", "-b:a", "96k"])
}

/// Puts the piece into a room, levels it, and has ffmpeg write it.
fn pack(piece: &Piece, path: &Path, codec: &[&str]) -> anyhow::Result<()> {
    let mut sound = reverberate(&piece.dry, &piece.wet, piece.sample_rate);
    finish(&mut sound, piece.sample_rate);
    let plain = path.with_extension("wav");
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: piece.sample_rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&plain, spec)?;
    for sample in sound.iter().flatten() {
        wav.write_sample((sample * 32_767.0).round() as i16)?;
    }
    wav.finalize()?;
    let tag = |name: &str, value: &str| format!("{name}={value}");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-i"])
        .arg(&plain)
        .args(["-map_metadata", "-1", "-fflags", "+bitexact"])
        .args(["-metadata", &tag("title", piece.title), "-metadata", "artist=Jam"])
        .args(["-metadata", "album=House Tunes", "-metadata", &tag("track", piece.number)])
        .args(codec)
        .arg(path)
        .status()
        .context("ffmpeg packs the tunes; install it")?;
    ensure!(status.success(), "ffmpeg could not write {}", path.display());
    std::fs::remove_file(&plain)?;
    Ok(())
}

/// Brings the loudest sample to -1 dB, softly, and fades the last seconds to silence.
fn finish(sound: &mut [[f32; 2]], sample_rate: u32) {
    // The loudest peaks are rounded off, so that the rest need not be quiet because of them.
    let square: f32 = sound.iter().flatten().map(|s| s * s).sum::<f32>() / (2 * sound.len()) as f32;
    let drive = 0.17 / square.sqrt();
    let fade = 4 * sample_rate as usize;
    let len = sound.len();
    for (n, frame) in sound.iter_mut().enumerate() {
        let left = ((len - n) as f32 / fade as f32).min(1.0);
        for sample in frame {
            *sample = 0.89 * (*sample * drive).tanh() * left * left;
        }
    }
}
