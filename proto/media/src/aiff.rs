//! AIFF files that end before their sizes say: symphonia's reader takes none. It gets sizes that are true.

use std::io::{self, Read, Seek, SeekFrom};

use crate::Source;
use crate::part::Part;

/// Chunks before the sound. Real files have a few.
const CHUNKS_MAX: usize = 1000;
/// Bytes before the sound.
const HEAD_BYTES_MAX: u64 = 1 << 20;

/// Whether a file begins so.
pub(crate) fn is_aiff(head: &[u8; 12]) -> bool {
    &head[..4] == b"FORM" && matches!(&head[8..], b"AIFF" | b"AIFC")
}

/// Puts an AIFF of `length` bytes right, and says how many frames are missing. Whatever is not one that can be is given back as
/// it is.
pub(crate) fn open(mut source: Source, length: u64) -> io::Result<(Source, u64)> {
    let mut at = 12;
    let mut frame = 1;
    for _ in 0..CHUNKS_MAX {
        if at + 8 > length.min(HEAD_BYTES_MAX) {
            break;
        }
        let mut head = [0; 8];
        source.seek(SeekFrom::Start(at))?;
        source.read_exact(&mut head)?;
        let size = u64::from(u32::from_be_bytes([head[4], head[5], head[6], head[7]]));
        match &head[..4] {
            b"COMM" if at + 16 <= length => {
                let mut body = [0; 8];
                source.read_exact(&mut body)?;
                let (channels, bits) = ([body[0], body[1]], [body[6], body[7]]);
                let bytes = u64::from(u16::from_be_bytes(bits)).div_ceil(8);
                frame = (u64::from(u16::from_be_bytes(channels)) * bytes).max(1);
            }
            b"SSND" if at + 8 + size > length => {
                let missing = (at + 8 + size - length).div_ceil(frame);
                return Ok((shortened(source, at, length)?, missing));
            }
            _ => {}
        }
        at += 8 + size + (size & 1);
    }
    source.seek(SeekFrom::Start(0))?;
    Ok((source, 0))
}

/// As if the sound, whose chunk is at `at`, were meant to end with the file.
fn shortened(mut source: Source, at: u64, length: u64) -> io::Result<Source> {
    let body = at + 8;
    let mut head = vec![0; body as usize];
    source.seek(SeekFrom::Start(0))?;
    source.read_exact(&mut head)?;
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    head[4..8].copy_from_slice(&size(length - 8));
    head[at as usize + 4..].copy_from_slice(&size(length - body));
    Ok(Part::behind(head, source, body, length - body))
}
