//! What a decoder must be told before the first packet.

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, well_known as id};

use super::wire::{Fault, Reader, put_number};
use super::{EXTRA_BYTES_MAX, RATE_MAX};
use crate::{Refusal, codec};

/// A codec and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    pub(super) codec: &'static str,
    pub(super) sample_rate: u32,
    pub(super) channels: u32,
    layout: Layout,
    /// Of a sample as it is decoded, and as it is coded; 0: not told.
    bits: u8,
    coded_bits: u8,
    /// The codec's own headers; empty: none.
    pub(super) extra_data: Box<[u8]>,
}

/// Which channels there are, where the packets don't tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Unknown,
    /// Loudspeakers, a bit each.
    Positioned(u64),
    Discrete(u16),
    Ambisonic(u8),
}

/// Codecs by the names that manifests have for them: numbers of symphonia's may change.
const CODECS: &[(&str, AudioCodecId)] = &[
    ("mp3", id::CODEC_ID_MP3),
    ("mp2", id::CODEC_ID_MP2),
    ("aac", id::CODEC_ID_AAC),
    ("vorbis", id::CODEC_ID_VORBIS),
    ("opus", id::CODEC_ID_OPUS),
    ("flac", id::CODEC_ID_FLAC),
    ("alac", id::CODEC_ID_ALAC),
    ("pcm_s8", id::CODEC_ID_PCM_S8),
    ("pcm_s16le", id::CODEC_ID_PCM_S16LE),
    ("pcm_s16be", id::CODEC_ID_PCM_S16BE),
    ("pcm_s24le", id::CODEC_ID_PCM_S24LE),
    ("pcm_s24be", id::CODEC_ID_PCM_S24BE),
    ("pcm_s32le", id::CODEC_ID_PCM_S32LE),
    ("pcm_s32be", id::CODEC_ID_PCM_S32BE),
    ("pcm_u8", id::CODEC_ID_PCM_U8),
    ("pcm_u16le", id::CODEC_ID_PCM_U16LE),
    ("pcm_u16be", id::CODEC_ID_PCM_U16BE),
    ("pcm_u24le", id::CODEC_ID_PCM_U24LE),
    ("pcm_u24be", id::CODEC_ID_PCM_U24BE),
    ("pcm_u32le", id::CODEC_ID_PCM_U32LE),
    ("pcm_u32be", id::CODEC_ID_PCM_U32BE),
    ("pcm_f32le", id::CODEC_ID_PCM_F32LE),
    ("pcm_f32be", id::CODEC_ID_PCM_F32BE),
    ("pcm_f64le", id::CODEC_ID_PCM_F64LE),
    ("pcm_f64be", id::CODEC_ID_PCM_F64BE),
    ("pcm_alaw", id::CODEC_ID_PCM_ALAW),
    ("pcm_mulaw", id::CODEC_ID_PCM_MULAW),
];

/// Whether it is uncompressed, of a kind that manifests know.
pub(crate) fn is_pcm(codec: AudioCodecId) -> bool {
    CODECS.iter().any(|(name, known)| *known == codec && name.starts_with("pcm"))
}

/// Bits of the widest sample.
const BITS_MAX: u64 = 64;

impl Sound {
    /// Of a container's track. Whatever it leaves out here no decoder needs: one is made to see.
    pub(crate) fn of(params: &AudioCodecParameters, sample_rate: u32) -> Result<Self, Refusal> {
        let codec = CODECS.iter().find(|(_, id)| *id == params.codec);
        let (codec, _) =
            codec.ok_or_else(|| Refusal::UnsupportedCodec(format!("{:?}", params.codec)))?;
        let mut params = params.clone();
        codec::without_pre_skip(&mut params);
        let bits = |bits: Option<u32>| bits.and_then(|bits| u8::try_from(bits).ok()).unwrap_or(0);
        let mut sound = Self {
            codec,
            sample_rate,
            channels: 0,
            layout: Layout::of(params.channels.as_ref()),
            bits: bits(params.bits_per_sample),
            coded_bits: bits(params.bits_per_coded_sample),
            extra_data: params.extra_data.unwrap_or_default(),
        };
        if sample_rate > RATE_MAX {
            return Err(Refusal::Unsegmentable(format!("it has {sample_rate} frames per second")));
        }
        if sound.extra_data.len() > EXTRA_BYTES_MAX {
            let bytes = sound.extra_data.len();
            return Err(Refusal::Unsegmentable(format!("its headers have {bytes} bytes")));
        }
        let decoder = codec::decoder(&sound.params())?;
        let channels = decoder.codec_params().channels.as_ref().map_or(0, Channels::count);
        sound.channels = u32::try_from(channels).unwrap_or(u32::MAX);
        Ok(sound)
    }

    /// What a decoder is made from.
    pub(super) fn params(&self) -> AudioCodecParameters {
        let known = CODECS.iter().find(|(name, _)| *name == self.codec);
        let (_, id) = known.expect("only names from the table are kept");
        let some = |bits: u8| (bits > 0).then_some(u32::from(bits));
        let mut params = AudioCodecParameters::new();
        params.for_codec(*id).with_sample_rate(self.sample_rate);
        params.channels = self.layout.channels();
        params.bits_per_sample = some(self.bits);
        params.bits_per_coded_sample = some(self.coded_bits);
        params.extra_data = (!self.extra_data.is_empty()).then(|| self.extra_data.clone());
        params
    }

    pub(super) fn put(&self, to: &mut Vec<u8>) {
        put_number(to, self.codec.len() as u64);
        to.extend_from_slice(self.codec.as_bytes());
        put_number(to, u64::from(self.sample_rate));
        put_number(to, u64::from(self.channels));
        let (kind, value) = match self.layout {
            Layout::Unknown => (0, 0),
            Layout::Positioned(positions) => (1, positions),
            Layout::Discrete(count) => (2, u64::from(count)),
            Layout::Ambisonic(order) => (3, u64::from(order)),
        };
        to.push(kind);
        put_number(to, value);
        put_number(to, u64::from(self.bits));
        put_number(to, u64::from(self.coded_bits));
        put_number(to, self.extra_data.len() as u64);
        to.extend_from_slice(&self.extra_data);
    }

    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        const UNKNOWN: Fault = "its codec is not known here";
        let length = from.size_to(32, UNKNOWN)?;
        let name = from.bytes(length)?;
        let known = CODECS.iter().find(|(known, _)| known.as_bytes() == name);
        let (codec, _) = known.ok_or(UNKNOWN)?;
        let rate = from.number_to(u64::from(RATE_MAX), "its sample rate is too high")?;
        let sample_rate = u32::try_from(rate).ok().filter(|rate| *rate > 0);
        let sample_rate = sample_rate.ok_or("it has no sample rate")?;
        let channels = from.number_32()?;
        let layout = Layout::take(from)?;
        let mut bits = || from.number_to(BITS_MAX, "its samples are too wide");
        let (bits, coded_bits) = (bits()? as u8, bits()? as u8);
        let length = from.size_to(EXTRA_BYTES_MAX, "its codec's headers are too long")?;
        let extra_data = from.bytes(length)?.into();
        Ok(Self { codec, sample_rate, channels, layout, bits, coded_bits, extra_data })
    }
}

impl Layout {
    fn of(channels: Option<&Channels>) -> Self {
        match channels {
            Some(Channels::Positioned(positions)) => Self::Positioned(positions.bits()),
            Some(Channels::Discrete(count)) => Self::Discrete(*count),
            Some(Channels::Ambisonic(order)) => Self::Ambisonic(*order),
            _ => Self::Unknown,
        }
    }

    fn channels(self) -> Option<Channels> {
        match self {
            Self::Unknown => None,
            Self::Positioned(positions) => {
                Some(Channels::Positioned(Position::from_bits_retain(positions)))
            }
            Self::Discrete(count) => Some(Channels::Discrete(count)),
            Self::Ambisonic(order) => Some(Channels::Ambisonic(order)),
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        const FAULT: Fault = "it has channels that there can't be";
        match (from.byte()?, from.number()?) {
            (0, 0) => Ok(Self::Unknown),
            (1, bits) => Position::from_bits(bits).map(|_| Self::Positioned(bits)).ok_or(FAULT),
            (2, count) => u16::try_from(count).map(Self::Discrete).map_err(|_| FAULT),
            (3, order) => u8::try_from(order).map(Self::Ambisonic).map_err(|_| FAULT),
            _ => Err(FAULT),
        }
    }
}
