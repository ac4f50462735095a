//! Packets to stereo samples, each packet to exactly the frames it has on the line.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder};

use crate::demux::Placed;
use crate::downmix::Downmix;
use crate::{Refusal, codec};

/// A decoder and what its sound is like.
pub(crate) struct Voice {
    decoder: Box<dyn AudioDecoder>,
    gain: f32,
    spec: Option<Spec>,
    samples: Vec<f32>,
}

/// What a song sounds like all the way.
#[derive(Clone, Debug, PartialEq)]
struct Spec {
    rate: u32,
    channels: Channels,
    downmix: Downmix,
}

/// How a packet came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Whole.
    Whole,
    /// Not, or not whole: silence fills it up.
    Failed,
    /// As sound of another rate or number of channels than the song's; silence stands for it.
    Changed(String),
}

impl Voice {
    /// A voice for a track, as at its start.
    pub(crate) fn new(params: &AudioCodecParameters) -> Result<Self, Refusal> {
        let (decoder, gain) = (codec::decoder(params)?, codec::gain(params));
        Ok(Self { decoder, gain, spec: None, samples: Vec::new() })
    }

    /// Frames per second and channels, once a packet has been decoded.
    pub(crate) fn spec(&self) -> Option<(u32, usize)> {
        self.spec.as_ref().map(|spec| (spec.rate, spec.channels.count()))
    }

    /// Which codec it is.
    pub(crate) fn codec_info(&self) -> &CodecInfo {
        self.decoder.codec_info()
    }

    /// Forgets what it heard before.
    pub(crate) fn reset(&mut self) {
        self.decoder.reset();
    }

    /// Decodes a packet and appends its frames, exactly as many as it has, to `out`.
    pub(crate) fn decode(&mut self, placed: &Placed, out: &mut Vec<f32>) -> Outcome {
        let frames = usize::try_from(placed.frames).expect("a packet fits into memory");
        let end = out.len() + frames * 2;
        let outcome = self.decode_some(placed, frames, out);
        out.resize(end, 0.0);
        outcome
    }

    fn decode_some(&mut self, placed: &Placed, frames: usize, out: &mut Vec<f32>) -> Outcome {
        // A decoder would guess what was in it.
        if placed.packet.data.is_empty() {
            return Outcome::Failed;
        }
        let Ok(sound) = self.decoder.decode(&placed.packet) else { return Outcome::Failed };
        let (rate, channels) = (sound.spec().rate(), sound.spec().channels());
        let held = sound.frames();
        // A decoder that has nothing to say yet does not say what it will sound like either.
        if held > 0 {
            let spec = self.spec.get_or_insert_with(|| Spec {
                rate,
                channels: channels.clone(),
                downmix: Downmix::new(channels, self.gain),
            });
            if (spec.rate, &spec.channels) != (rate, channels) {
                let (had, has) = (spec.channels.count(), channels.count());
                return Outcome::Changed(format!(
                    "{} Hz, {had} channels, then {rate} Hz, {has}",
                    spec.rate
                ));
            }
            sound.copy_to_vec_interleaved(&mut self.samples);
            let from = usize::try_from(placed.skip).map_or(held, |skip| skip.min(held));
            let to = held.min(from + frames);
            let width = channels.count();
            spec.downmix.mix(&self.samples[from * width..to * width], out);
        }
        if held as u64 == placed.decoded || placed.frames == 0 {
            Outcome::Whole
        } else {
            Outcome::Failed
        }
    }
}
