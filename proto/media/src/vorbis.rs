//! How much memory a Vorbis header asks for.
//!
//! A codebook of 20 bytes can stand for 16 MB of vectors, and a header may have 256 of them (Vorbis I, 3.2.1). Symphonia limits
//! each by itself, so what they come to is looked at before it makes any.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS;

use crate::Refusal;

/// Numbers in all codebooks, 4 bytes each. The largest headers that libvorbis makes have some 60,000.
const NUMBERS_MAX: u64 = 1 << 22;
/// An entry of a codebook without vectors takes about as much as this many numbers: its place in the tree.
const ENTRY_NUMBERS: u64 = 8;
/// What symphonia refuses to read; so they also tell a codebook from chance.
const DIMENSIONS_MAX: u64 = 32;
const ENTRIES_MAX: u64 = 128 << 10;
/// How a codebook begins: `BCV`, as bits from the lowest on.
const SYNC: u64 = 0x56_4342;

/// Whether a decoder for these parameters takes a sane amount of memory.
pub(crate) fn check(params: &AudioCodecParameters) -> Result<(), Refusal> {
    let headers = params.extra_data.as_deref().unwrap_or_default();
    if params.codec == CODEC_ID_VORBIS && numbers(headers) > NUMBERS_MAX {
        return Err(Refusal::OutOfBounds("codebooks of more than 16 MiB".to_owned()));
    }
    Ok(())
}

/// Codebooks begin at any bit, so each is tried. All that there are are found.
fn numbers(headers: &[u8]) -> u64 {
    const BITS: u64 = 24 + 16 + 24;
    // The last 64 bits, the oldest lowest.
    let mut window = 0u64;
    let mut sum = 0u64;
    for byte in headers {
        for bit in 0..8 {
            window = window >> 1 | u64::from(byte >> bit & 1) << (BITS - 1);
            if window & 0xff_ffff != SYNC {
                continue;
            }
            let (dimensions, entries) = (window >> 24 & 0xffff, window >> 40);
            if dimensions <= DIMENSIONS_MAX && entries <= ENTRIES_MAX {
                sum += entries * dimensions.max(ENTRY_NUMBERS);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits from the lowest on, behind `shift` others.
    fn codebook(shift: u32, dimensions: u128, entries: u128) -> Vec<u8> {
        let bits = u128::from(SYNC) | dimensions << 24 | entries << 40;
        (bits << shift).to_le_bytes().to_vec()
    }

    #[test]
    fn codebooks_are_found_at_any_bit() {
        for shift in 0..32 {
            assert_eq!(numbers(&codebook(shift, 16, 100)), 1600, "{shift}");
        }
        assert_eq!(numbers(&codebook(3, 1, 100)), 800);
        let many = codebook(5, 32, 128 << 10).repeat(3);
        assert_eq!(numbers(&many), 3 * (32 * (128 << 10)));
        assert_eq!(numbers(&codebook(0, 33, 100)), 0, "nobody reads that");
        assert_eq!(numbers(b"\x05vorbis"), 0);
    }
}
