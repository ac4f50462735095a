//! What is played of Core Audio files
//! ([Apple's specification](https://developer.apple.com/library/archive/documentation/MusicAudio/Reference/CAFSpec/)).

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3,
    CODEC_ID_OPUS,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::packet::Packet;

use crate::length;
use crate::segments::is_pcm;

/// What a file of this kind holds if that is not played.
pub(crate) fn foreign(codec: AudioCodecId) -> Option<&'static str> {
    Some(match codec {
        CODEC_ID_AAC | CODEC_ID_ALAC | CODEC_ID_OPUS => return None,
        codec if is_pcm(codec) => return None,
        CODEC_ID_FLAC => "FLAC in a Core Audio file (CAF)",
        CODEC_ID_MP1 | CODEC_ID_MP2 | CODEC_ID_MP3 => "MPEG sound in a Core Audio file (CAF)",
        _ => "a Core Audio file (CAF) whose sound is neither PCM, AAC, ALAC nor Opus",
    })
}

/// The frames of a packet. The packet table is not believed: encoders say there that the last one is as long as the others.
pub(crate) fn frames(params: &AudioCodecParameters, packet: &Packet) -> u64 {
    match params.codec {
        CODEC_ID_OPUS => length::opus(&packet.data),
        CODEC_ID_AAC => length::AAC,
        CODEC_ID_ALAC => length::alac(&packet.data).unwrap_or(packet.dur.get()),
        _ => {
            let channels = params.channels.as_ref().map_or(0, Channels::count) as u64;
            let bits = u64::from(params.bits_per_coded_sample.unwrap_or(0)) * channels;
            (packet.data.len() as u64 * 8).checked_div(bits).unwrap_or(0)
        }
    }
}
