//! One bitrate of a song: an encoder, and a cutter for its packets.

use opusic_c::{Application, Bitrate, Channels, Encoder, ErrorCode, SampleRate, Signal};
use symphonia::core::audio::layouts::CHANNEL_LAYOUT_STEREO;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::RENDITION_RATE;
use crate::demux::Placed;
use crate::preroll::Preroll;
use crate::segments::{Cutter, Ruler, Segment, Sound};
use crate::{Manifest, Refusal};

/// Frames of a packet: 20 ms, what libopus is tuned for. Longer ones are no better in music, shorter ones cost more.
pub(super) const PACKET_FRAMES: usize = 960;
/// Bytes of a packet of 20 ms at most (RFC 6716, 3.2.1), its first one included.
const PACKET_BYTES_MAX: usize = 1276;
/// What Opus has (RFC 6716, 2.1.1).
const KBPS: std::ops::RangeInclusive<u32> = 6..=510;
/// How hard the encoder tries, 0 to 10. Half of it would be up to twice as fast, for 0.6 to 1.2 dB less; a song is
/// rendered once and heard often.
const COMPLEXITY: u8 = 10;

pub(super) struct Rung {
    encoder: Encoder,
    ruler: Ruler,
    cutter: Cutter,
    /// Frames of the rendition, and those that were encoded, the encoder's delay included.
    frames: u64,
    encoded: u64,
}

impl Rung {
    /// For a rendition of so many frames.
    pub(super) fn new(kbps: u32, frames: u64) -> Result<Self, Refusal> {
        assert!(KBPS.contains(&kbps), "Opus has 6 to 510 kbit/s, and not {kbps}");
        let mut encoder = encoder(kbps).map_err(failed)?;
        let delay = encoder.get_look_ahead().map_err(failed)?;
        Ok(Self {
            encoder,
            ruler: Ruler::new(u64::from(delay), frames),
            cutter: Cutter::new(Preroll::of(CODEC_ID_OPUS), RENDITION_RATE),
            frames,
            encoded: 0,
        })
    }

    /// Whether more sound is needed. It may be silence past the song's end, since what went in comes out late.
    pub(super) fn is_open(&self) -> bool {
        self.ruler.left().is_some()
    }

    /// Encodes a packet's frames, and gives a segment if one got whole.
    pub(super) fn push(
        &mut self,
        samples: &[f32; PACKET_FRAMES * 2],
    ) -> Result<Option<Segment>, Refusal> {
        let mut data = [0; PACKET_BYTES_MAX];
        let length = self.encoder.encode_float_to_slice(samples, &mut data).map_err(failed)?;
        let frames = PACKET_FRAMES as u64;
        let data: Box<[u8]> = data[..length].into();
        let packet = Packet::new(0, Timestamp::ZERO, Duration::new(frames), data);
        let placed = Placed { packet, start: self.encoded, frames, skip: 0, decoded: frames };
        self.encoded += frames;
        self.cutter.push(self.ruler.lay(placed))
    }

    /// The last segment.
    pub(super) fn finish(&mut self) -> Result<Option<Segment>, Refusal> {
        self.cutter.finish()
    }

    /// The list of all segments.
    pub(super) fn manifest(self) -> Result<Manifest, Refusal> {
        let sound = Sound::of(&params(), RENDITION_RATE)?;
        Ok(self.cutter.manifest(sound, self.frames))
    }
}

fn encoder(kbps: u32) -> Result<Encoder, ErrorCode> {
    let mut encoder = Encoder::new(Channels::Stereo, SampleRate::Hz48000, Application::Audio)?;
    encoder.set_bitrate(Bitrate::Value(kbps * 1000))?;
    encoder.set_vbr(true)?;
    encoder.set_vbr_constraint(false)?;
    encoder.set_complexity(COMPLEXITY)?;
    // For speech at 24 kbit/s libopus would take its other codec, SILK, which comes out 1.3 to 2 frames early, and go to
    // and fro between the two. Taken for music, all is in place.
    encoder.set_signal(Signal::Music)?;
    Ok(encoder)
}

/// Of the song there is nothing that could make it fail.
fn failed(error: ErrorCode) -> Refusal {
    Refusal::Unreadable(format!("libopus did not encode it: {}", error.message()))
}

/// What a decoder must be told: the header of RFC 7845, 5.1, with no pre-skip, since only the manifest trims.
fn params() -> AudioCodecParameters {
    let mut head = b"OpusHead\x01\x02\0\0".to_vec();
    head.extend_from_slice(&RENDITION_RATE.to_le_bytes());
    head.extend_from_slice(&[0; 3]);
    let mut params = AudioCodecParameters::new();
    params
        .for_codec(CODEC_ID_OPUS)
        .with_sample_rate(RENDITION_RATE)
        .with_channels(CHANNEL_LAYOUT_STEREO)
        .with_extra_data(head.into());
    params
}
