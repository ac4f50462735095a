//! Finds HE-AAC, however it is announced.
//!
//! HE-AAC is AAC-LC at half the rate and, beside it, data from which a decoder that knows how makes
//! the upper half of the sound (SBR, ISO 14496-3, 4.6.18). A decoder that doesn't know plays a dull
//! song, without any error. It is announced in the codec's configuration, or not at all: then only
//! the packets tell.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;

/// Sample rates by their index in an AudioSpecificConfig (ISO 14496-3, table 1.18).
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

const OBJECT_SBR: u32 = 5;
const OBJECT_PS: u32 = 29;

/// Whether an AudioSpecificConfig announces SBR or parametric stereo.
pub(crate) fn announced(config: &[u8]) -> bool {
    let bits = Bits(config);
    if matches!(bits.at(0, 5), Some(OBJECT_SBR | OBJECT_PS)) {
        return true;
    }
    // Announced in a way that old decoders skip: after the rest, sync word 0x2b7, object type 5, a set bit.
    (16..config.len() * 8).any(|at| {
        bits.at(at, 11) == Some(0x2b7)
            && bits.at(at + 11, 5) == Some(OBJECT_SBR)
            && bits.at(at + 16, 1) == Some(1)
    })
}

/// The frames per second that an AAC track's configuration states; the header of the container around
/// it has no room for some rates.
pub(crate) fn rate_of(params: &AudioCodecParameters) -> Option<u32> {
    let config = params.extra_data.as_deref().filter(|_| params.codec == CODEC_ID_AAC)?;
    let bits = Bits(config);
    if bits.at(0, 5)? == 31 {
        return None;
    }
    match bits.at(5, 4)? {
        15 => bits.at(9, 24),
        index => RATES.get(index as usize).copied(),
    }
}

/// Watches the packets of an AAC track for SBR data that nothing announced.
///
/// Where the elements of a packet begin is known only to who decodes them, so each bit near the end is
/// tried: from there to the packet's end there must be nothing but fill and data elements, one with
/// SBR data, and the end mark. Chance does that about once in ten packets, an encoder in each.
#[derive(Default)]
pub(crate) struct Watch {
    packets: u32,
    with_sbr: u32,
}

impl Watch {
    /// Packets to look at: enough that chance is out of the question.
    const ENOUGH: u32 = 64;

    /// Takes a packet.
    pub(crate) fn see(&mut self, packet: &[u8]) {
        if self.packets < Self::ENOUGH && packet.len() > 8 {
            self.packets += 1;
            self.with_sbr += u32::from(has_sbr(packet));
        }
    }

    /// Whether this is HE-AAC.
    pub(crate) fn found(&self) -> bool {
        self.packets >= 4 && self.with_sbr * 10 >= self.packets * 9
    }
}

/// Bytes of a fill element at most: 14 + 255 of payload, and some more of padding after it.
const TAIL_BYTES: usize = 300;

fn has_sbr(packet: &[u8]) -> bool {
    let bits = Bits(packet);
    let end = packet.len() * 8;
    (end.saturating_sub(TAIL_BYTES * 8)..end).any(|at| elements_to_end(bits, at, end))
}

/// Whether from `at` on there is an SBR fill element, then only such as may follow it, then the end.
fn elements_to_end(bits: Bits<'_>, mut at: usize, end: usize) -> bool {
    const FILL: u32 = 6;
    const END: u32 = 7;
    let mut sbr = false;
    // An encoder puts one or two fill elements there; a longer chain of them is chance.
    for _ in 0..4 {
        match bits.at(at, 3) {
            Some(END) => {
                let rest = end - (at + 3);
                return sbr && rest < 8 && bits.at(at + 3, rest) == Some(0);
            }
            Some(FILL) => {
                let Some(mut count) = bits.at(at + 3, 4) else { return false };
                at += 7;
                if count == 15 {
                    let Some(more) = bits.at(at, 8) else { return false };
                    count += more.saturating_sub(1);
                    at += 8;
                }
                if !sbr {
                    // EXT_SBR_DATA and EXT_SBR_DATA_CRC.
                    if count == 0 || !matches!(bits.at(at, 4), Some(13 | 14)) {
                        return false;
                    }
                    sbr = true;
                }
                at += count as usize * 8;
            }
            _ => return false,
        }
    }
    false
}

#[derive(Clone, Copy)]
struct Bits<'a>(&'a [u8]);

impl Bits<'_> {
    /// `count` (at most 32) bits from bit `at` on.
    fn at(self, at: usize, count: usize) -> Option<u32> {
        if at + count > self.0.len() * 8 {
            return None;
        }
        let bit = |n: usize| u32::from(self.0[n / 8] >> (7 - n % 8) & 1);
        Some((at..at + count).fold(0, |value, n| value << 1 | bit(n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_told_apart() {
        // AAC-LC 44.1 kHz stereo; HE-AAC 22.05 kHz; the same announced for old decoders; HE-AAC v2.
        assert!(!announced(&[0x12, 0x10]));
        assert!(announced(&[0x2b, 0x92, 0x08, 0x00]));
        assert!(announced(&[0x13, 0x90, 0x56, 0xe5, 0xa0]));
        assert!(announced(&[0xeb, 0x8a, 0x08, 0x00]));
        // Announced as absent.
        assert!(!announced(&[0x13, 0x90, 0x56, 0xe5, 0x00]));
    }
}
