//! How many packets before a frame a decoder must be given for that frame to come out right.

use std::collections::VecDeque;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_MP2, CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_VORBIS,
};

use crate::demux::Placed;

/// What a codec carries over from packet to packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preroll {
    /// Nothing.
    None,
    /// The tail of this many packets.
    Packets(usize),
    /// Two packets, and the bit reservoir of them: a frame of MP3 may begin in up to 511 bytes of the ones
    /// before it (ISO 11172-3, 2.4.2.7), or 255 at the low rates of MPEG-2 (ISO 13818-3, 2.4.2.7).
    Reservoir,
    /// This many frames.
    Frames(u64),
}

impl Preroll {
    /// For a codec.
    pub(crate) fn of(codec: AudioCodecId) -> Self {
        match codec {
            CODEC_ID_MP3 => Self::Reservoir,
            // Its overlap: all that the next one needs, to the last bit.
            CODEC_ID_AAC | CODEC_ID_VORBIS => Self::Packets(1),
            // Its filter bank: 512 samples of which a packet has 1152.
            CODEC_ID_MP2 => Self::Packets(1),
            // RFC 7845, 4.6, asks for at least 80 ms. Noise was still off by a third of full scale then (the
            // prediction of its bands' energies forgets half each 20 ms), by 0.0015 after 240 ms.
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
                // The two newest fill the overlap and the filter bank, so the reservoir of both must be there too.
                let mut before = packets.rev().skip(2).peekable();
                let reach = before.peek().map_or(0, |placed| reservoir(&placed.packet.data).0);
                before.map(|placed| reservoir(&placed.packet.data).1).sum::<usize>() >= reach.max(1)
            }
            Self::Frames(needed) => packets.map(|placed| placed.frames).sum::<u64>() >= needed,
        }
    }
}

/// How far a frame like this one may reach back, and how many bytes of it others may reach back into: neither
/// its header nor its checksum nor its side information.
fn reservoir(packet: &[u8]) -> (usize, usize) {
    let Some(&[_, version, _, mode]) = packet.first_chunk::<4>() else { return (511, 0) };
    let (reach, side) = match (version & 0x08 != 0, mode >> 6 == 3) {
        (true, false) => (511, 32),
        (true, true) => (511, 17),
        (false, false) => (255, 17),
        (false, true) => (255, 9),
    };
    let checksum = if version & 1 == 0 { 2 } else { 0 };
    (reach, packet.len().saturating_sub(4 + checksum + side))
}
