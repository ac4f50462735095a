//! Decoders, made from a codec's parameters: a container's, or a manifest's.

use std::sync::LazyLock;

use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia_adapter_libopus::OpusDecoder;

use crate::{Refusal, vorbis};

/// A decoder at the start of a stream.
pub(crate) fn decoder(params: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, Refusal> {
    vorbis::check(params)?;
    let mut params = params.clone();
    without_pre_skip(&mut params);
    registry()
        .make_audio_decoder(&params, &AudioDecoderOptions::default().gapless(false))
        .map_err(|error| Refusal::UnsupportedCodec(error.to_string()))
}

/// Takes the pre-skip out of an Opus header: the line is trimmed elsewhere, so that a seek doesn't trim
/// twice or not at all.
pub(crate) fn without_pre_skip(params: &mut AudioCodecParameters) {
    if params.codec == CODEC_ID_OPUS
        && let Some(bytes) = params.extra_data.as_mut().and_then(|head| head.get_mut(10..12))
    {
        bytes.fill(0);
    }
}

/// The encoder's delay that an Opus header tells of (RFC 7845, 5.1), in frames.
pub(crate) fn pre_skip(params: &AudioCodecParameters) -> u64 {
    let head = params.extra_data.as_deref().unwrap_or_default();
    match (params.codec, head.get(10..12)) {
        (CODEC_ID_OPUS, Some(&[low, high])) if head.starts_with(b"OpusHead") => {
            u64::from(u16::from_le_bytes([low, high]))
        }
        _ => 0,
    }
}

/// What an Opus header says about loudness: the output gain (RFC 7845, 5.1), which must be applied.
pub(crate) fn gain(params: &AudioCodecParameters) -> f32 {
    let head = params.extra_data.as_deref().unwrap_or_default();
    match (params.codec, head.get(16..18)) {
        (CODEC_ID_OPUS, Some(&[low, high])) if head.starts_with(b"OpusHead") => {
            10f32.powf(f32::from(i16::from_le_bytes([low, high])) / (20.0 * 256.0))
        }
        _ => 1.0,
    }
}

fn registry() -> &'static CodecRegistry {
    static REGISTRY: LazyLock<CodecRegistry> = LazyLock::new(|| {
        let mut registry = CodecRegistry::new();
        symphonia::default::register_enabled_codecs(&mut registry);
        registry.register_audio_decoder::<OpusDecoder>();
        registry
    });
    &REGISTRY
}
