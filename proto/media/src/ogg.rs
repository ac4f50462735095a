//! Ogg files whose last page is cut: what it promised, and the packets of it that are whole
//! (RFC 3533, 6).

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor;

use crate::Source;
use crate::part::Part;
use crate::patch::Patch;

/// A page has at most 65,307 bytes: so many hold the last one and the one before it.
const TAIL_BYTES: u64 = 3 << 16;
const HEADER_BYTES: usize = 27;
/// Its granule position says where the stream ends.
const LAST_PAGE: u8 = 4;

/// A last page that is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Frames that it promised.
    pub(crate) frames: u64,
    /// Its packets that are whole.
    pub(crate) packets: usize,
}

/// Whether a file begins so.
pub(crate) fn is_ogg(head: &[u8; 12]) -> bool {
    head.starts_with(b"OggS\0")
}

/// Ends a file of `length` bytes behind its last whole packet, and says what its last page promised.
pub(crate) fn open(mut source: Source, length: u64) -> io::Result<(Source, Cut)> {
    let from = length.saturating_sub(TAIL_BYTES);
    let mut tail = Vec::new();
    source.seek(SeekFrom::Start(from))?;
    source.by_ref().take(length - from).read_to_end(&mut tail)?;
    source.seek(SeekFrom::Start(0))?;
    let Some((page, cut)) = cut_in(&tail) else { return Ok((source, Cut::default())) };
    let (bytes, packets) = whole_packets(&tail[page.at..]);
    let cut = Cut { packets, ..cut };
    if packets == 0 {
        return Ok((source, cut));
    }
    let at = from + page.at as u64;
    let end = at + bytes.len() as u64;
    Ok((Part::of(Patch { at, bytes }.over(source), 0, end), cut))
}

struct Page {
    at: usize,
    granule: i64,
    serial: u32,
    /// One past its last byte.
    end: usize,
}

fn cut_in(tail: &[u8]) -> Option<(Page, Cut)> {
    let starts = (0..tail.len()).filter(|at| tail[*at..].starts_with(b"OggS\0"));
    let mut pages: Vec<Page> = starts.filter_map(|at| page(tail, at)).collect();
    let last = pages.pop().filter(|last| last.end > tail.len())?;
    let before = pages.iter().rev();
    let before = before.filter(|page| page.serial == last.serial && page.granule >= 0);
    let before = before.map(|page| page.granule).next()?;
    let frames = u64::try_from(last.granule.saturating_sub(before)).unwrap_or(0);
    Some((last, Cut { frames, packets: 0 }))
}

fn page(tail: &[u8], at: usize) -> Option<Page> {
    let header = tail.get(at..at + HEADER_BYTES)?;
    let granule = i64::from_le_bytes(header[6..14].try_into().ok()?);
    let serial = u32::from_le_bytes(header[14..18].try_into().ok()?);
    let segments = usize::from(header[26]);
    let body_at = at + HEADER_BYTES + segments;
    let table = tail.get(at + HEADER_BYTES..body_at)?;
    let body: usize = table.iter().map(|length| usize::from(*length)).sum();
    Some(Page { at, granule, serial, end: body_at + body })
}

/// A page of those packets of a cut one that are whole, and their number. Its granule position stays: it is too far, so nothing is
/// taken for padding.
fn whole_packets(cut: &[u8]) -> (Vec<u8>, usize) {
    let segments = usize::from(cut[HEADER_BYTES - 1]);
    let (head, body) = cut.split_at(HEADER_BYTES + segments);
    let (mut kept, mut kept_bytes, mut packets, mut bytes) = (0, 0, 0, 0);
    for (n, length) in head[HEADER_BYTES..].iter().enumerate() {
        bytes += usize::from(*length);
        if bytes > body.len() {
            break;
        }
        // A packet ends with a segment of less than 255 bytes.
        if *length < 255 {
            (kept, kept_bytes, packets) = (n + 1, bytes, packets + 1);
        }
    }
    let mut page = [&head[..HEADER_BYTES + kept], &body[..kept_bytes]].concat();
    page[5] &= !LAST_PAGE;
    page[26] = kept as u8;
    page[22..26].fill(0);
    let mut crc = Crc32::new(0);
    crc.process_buf_bytes(&page);
    page[22..26].copy_from_slice(&crc.crc().to_le_bytes());
    (page, packets)
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
        let missing_in = |tail: &[u8]| cut_in(tail).map_or(0, |(_, cut)| cut.frames);
        let whole = [page_of(1000, 1, 90), page_of(5, 2, 10), page_of(1900, 1, 200)].concat();
        assert_eq!(missing_in(&whole), 0);
        assert_eq!(missing_in(&whole[..whole.len() - 1]), 900);
        assert_eq!(missing_in(&whole[..whole.len() - 200]), 900, "no byte of its body is there");
        assert_eq!(missing_in(&whole[..whole.len() - 210]), 0, "its header is cut too");
        assert_eq!(missing_in(&page_of(1900, 1, 200)[..100]), 0, "nothing to compare with");
        assert_eq!(missing_in(b""), 0);
    }

    #[test]
    fn whole_packets_are_kept() {
        // Of 3, 300 and 4 bytes; the last one goes on in a page that never came.
        let mut page = page_of(1900, 1, 0);
        page.truncate(26);
        page[5] = LAST_PAGE;
        page.extend([5, 3, 255, 45, 4, 255]);
        page.extend([7; 562]);
        let kept = |bytes: usize| {
            let (kept, packets) = whole_packets(&page[..32 + bytes]);
            assert_eq!(kept[5], 0);
            (kept[26], kept.len() - HEADER_BYTES - usize::from(kept[26]), packets)
        };
        assert_eq!(kept(561), (4, 307, 3));
        assert_eq!(kept(306), (3, 303, 2));
        assert_eq!(kept(302), (1, 3, 1));
        assert_eq!(kept(2), (0, 0, 0));
    }
}
