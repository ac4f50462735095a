//! Songs in Opus, for listeners who can't or needn't fetch the original.
//!
//! [`render`] decodes a song once, and encodes and cuts it at each of the bitrates that are asked for. What comes
//! out are manifests and segments like those of [`cut`](crate::cut), at [`RENDITION_RATE`]:
//!
//! * **On the song's line.** A rendition's frame k is what is heard k/48000 s after the song's first frame. What the
//!   encoder puts before it is preroll of the first segment, as for any other song, and the
//!   resampler has no delay. So a player may go from one rung to another at any frame.
//! * **The same again.** One build of libopus makes the same bytes of the same song and bitrate, on processors of
//!   one kind. Elsewhere they may differ, so a rendition is known by its own manifest, and is not made
//!   twice to be compared.

mod at_48k;
mod rung;

use crate::segments::RATE_MAX;
use crate::{Decoder, Manifest, Refusal, SegmentInfo, Source};
use at_48k::At48k;
use rung::{PACKET_FRAMES, Rung};

/// The bitrates that songs are rendered at, in kbit/s: what even a poor connection carries, with all that is said
/// and sung to be understood; good; not to be told from the original by most in most music (Opus's own
/// recommendations, <https://wiki.xiph.org/Opus_Recommended_Settings>); and with room to spare.
pub const LADDER_KBPS: [u32; 4] = [24, 96, 160, 320];
/// Frames per second of each rendition: those that Opus decodes to.
pub const RENDITION_RATE: u32 = 48_000;

/// The frames that a rendition has: all that begin before the song's end.
pub fn rendition_frames(committed_frames: u64, sample_rate: u32) -> u64 {
    let scaled = u128::from(committed_frames) * u128::from(RENDITION_RATE);
    u64::try_from(scaled.div_ceil(u128::from(sample_rate.max(1)))).unwrap_or(u64::MAX)
}

/// Encodes a song that [`inspect`](crate::inspect()) took, of the length and rate that it found, in Opus at each of
/// these bitrates in kbit/s. Gives each segment and its bytes to `take`, with the place of its bitrate in `kbps`, in
/// order for each of them. Gives a manifest for each at the end.
///
/// Holds a decoder, the resampler's 150 KB, and for each bitrate an encoder, a segment and its preroll; 64
/// bytes for each segment that was cut. docs/decisions/0018 has how long it takes.
///
/// # Errors
/// Those of `take`. [`Refusal::Unreadable`] if reading fails on the way, which a player would hear as silence;
/// [`Refusal::Unsegmentable`] if the song is longer than 22 hours, or of more than 768,000 frames a second; others if
/// the bytes are not such a song.
///
/// # Panics
/// If a bitrate is none that Opus has: 6 to 510 kbit/s (RFC 6716, 2.1.1).
pub fn render<E: From<Refusal>>(
    source: Source,
    committed_frames: u64,
    sample_rate: u32,
    kbps: &[u32],
    mut take: impl FnMut(usize, &SegmentInfo, Vec<u8>) -> Result<(), E>,
) -> Result<Vec<Manifest>, E> {
    let decoder = Decoder::open(source, committed_frames, sample_rate)?;
    if sample_rate > RATE_MAX {
        let why = format!("it has {sample_rate} frames per second");
        return Err(Refusal::Unsegmentable(why).into());
    }
    if committed_frames == 0 {
        return Err(Refusal::NoSound.into());
    }
    let frames = rendition_frames(committed_frames, sample_rate);
    let rungs = kbps.iter().map(|kbps| Rung::new(*kbps, frames));
    let mut rungs = rungs.collect::<Result<Vec<_>, Refusal>>()?;
    let mut sound = At48k::of(decoder, sample_rate);
    let mut samples = [0.0; PACKET_FRAMES * 2];
    while rungs.iter().any(Rung::is_open) {
        sound.read(&mut samples)?;
        for (which, rung) in rungs.iter_mut().enumerate().filter(|(_, rung)| rung.is_open()) {
            if let Some((segment, bytes)) = rung.push(&samples)? {
                take(which, &segment, bytes)?;
            }
        }
    }
    let mut manifests = Vec::with_capacity(rungs.len());
    for (which, mut rung) in rungs.into_iter().enumerate() {
        if let Some((segment, bytes)) = rung.finish()? {
            take(which, &segment, bytes)?;
        }
        manifests.push(rung.manifest()?);
    }
    Ok(manifests)
}
