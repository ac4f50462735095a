//! How many packets before a frame a decoder must be given for that frame to come out right.

use std::collections::VecDeque;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_VORBIS,
};

use crate::demux::Placed;

/// What a codec carries over from packet to packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preroll {
    /// Nothing.
    None,
    /// The tail of this many packets.
    Packets(usize),
    /// This many bytes of packets, then as many whole ones as `Packets` says: a frame of MP3 may
    /// begin in up to 511 bytes of the ones before it, its bit reservoir (ISO 11172-3, 2.4.2.7).
    Reservoir,
    /// This many frames.
    Frames(u64),
}

impl Preroll {
    /// For a codec.
    pub(crate) fn of(codec: AudioCodecId) -> Self {
        match codec {
            CODEC_ID_MP3 => Self::Reservoir,
            // The overlap of one packet; one more costs nothing.
            CODEC_ID_AAC | CODEC_ID_VORBIS => Self::Packets(2),
            // RFC 7845, 4.6, asks for at least 80 ms, after which the decoder has converged to what
            // can't be told apart by ear; 240 ms bring it close to the last bit.
            CODEC_ID_OPUS => Self::Frames(48 * 240),
            _ => Self::None,
        }
    }

    /// Drops from the front what is not needed for the packet that follows `before`.
    pub(crate) fn trim(self, before: &mut VecDeque<Placed>) {
        while before.len() > 1 && self.is_enough(before.iter().skip(1)) {
            before.pop_front();
        }
        if self == Self::None {
            before.clear();
        }
    }

    fn is_enough<'a>(self, packets: impl DoubleEndedIterator<Item = &'a Placed> + Clone) -> bool {
        match self {
            Self::None => true,
            Self::Packets(needed) => packets.count() >= needed,
            Self::Reservoir => {
                // Headers and side information (at most 38 bytes) are not part of the reservoir. The two
                // oldest packets fill the overlap and the filter bank.
                let bytes =
                    packets.skip(2).map(|placed| placed.packet.data.len().saturating_sub(38));
                bytes.sum::<usize>() >= 511
            }
            Self::Frames(needed) => packets.map(|placed| placed.frames).sum::<u64>() >= needed,
        }
    }
}
