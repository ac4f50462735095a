//! What an Ogg file whose last page is cut promised: the page's granule position says how far the song should go
//! (RFC 3533, 6).

use std::io::{self, Read, Seek, SeekFrom};

use crate::Source;

/// A page has at most 65,307 bytes: so many hold the last one and the one before it.
const TAIL_BYTES: u64 = 3 << 16;
const HEADER_BYTES: usize = 27;

/// Whether a file begins so.
pub(crate) fn is_ogg(head: &[u8; 12]) -> bool {
    head.starts_with(b"OggS\0")
}

/// Frames that the last page of a file of `length` bytes promises, if it is not whole.
pub(crate) fn missing_frames(source: &mut Source, length: u64) -> io::Result<u64> {
    let from = length.saturating_sub(TAIL_BYTES);
    let mut tail = Vec::new();
    source.seek(SeekFrom::Start(from))?;
    source.take(length - from).read_to_end(&mut tail)?;
    source.seek(SeekFrom::Start(0))?;
    Ok(missing_in(&tail))
}

struct Page {
    granule: i64,
    serial: u32,
    /// One past its last byte.
    end: usize,
}

fn missing_in(tail: &[u8]) -> u64 {
    let starts = (0..tail.len()).filter(|at| tail[*at..].starts_with(b"OggS\0"));
    let pages: Vec<Page> = starts.filter_map(|at| page(tail, at)).collect();
    let Some(last) = pages.last().filter(|last| last.end > tail.len()) else { return 0 };
    let before = pages[..pages.len() - 1].iter().rev();
    let before = before.filter(|page| page.serial == last.serial && page.granule >= 0);
    let Some(before) = before.map(|page| page.granule).next() else { return 0 };
    u64::try_from(last.granule.saturating_sub(before)).unwrap_or(0)
}

fn page(tail: &[u8], at: usize) -> Option<Page> {
    let header = tail.get(at..at + HEADER_BYTES)?;
    let granule = i64::from_le_bytes(header[6..14].try_into().ok()?);
    let serial = u32::from_le_bytes(header[14..18].try_into().ok()?);
    let segments = usize::from(header[26]);
    let body_at = at + HEADER_BYTES + segments;
    let table = tail.get(at + HEADER_BYTES..body_at)?;
    let body: usize = table.iter().map(|length| usize::from(*length)).sum();
    Some(Page { granule, serial, end: body_at + body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(granule: i64, serial: u32, body: usize) -> Vec<u8> {
        let mut page = b"OggS\0\0".to_vec();
        page.extend(granule.to_le_bytes());
        page.extend(serial.to_le_bytes());
        page.extend([0; 8]);
        page.extend([1, body as u8]);
        page.resize(page.len() + body, 7);
        page
    }

    #[test]
    fn a_cut_page_says_how_much_it_held() {
        let whole = [page_of(1000, 1, 90), page_of(5, 2, 10), page_of(1900, 1, 200)].concat();
        assert_eq!(missing_in(&whole), 0);
        assert_eq!(missing_in(&whole[..whole.len() - 1]), 900);
        assert_eq!(missing_in(&whole[..whole.len() - 200]), 900, "no byte of its body is there");
        assert_eq!(missing_in(&whole[..whole.len() - 210]), 0, "its header is cut too");
        assert_eq!(missing_in(&page_of(1900, 1, 200)[..100]), 0, "nothing to compare with");
        assert_eq!(missing_in(b""), 0);
    }
}
