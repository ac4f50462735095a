//! Keeps ID3v2 tags from taking more memory than a song is worth.
//!
//! Symphonia 0.6 reads each tag in front of the sound as a whole, each picture of it twice, and its options for limits
//! are not looked at by any reader. A tag may have 256 MiB, and there may be several.

use std::io::{self, Read, Seek, SeekFrom};

use crate::Source;
use crate::part::Part;

/// Larger tags are not read. Title and cover take less by far; at the limit reading one takes twice as much.
const TAG_BYTES_MAX: u64 = 16 << 20;
const HEAD_BYTES: u64 = 10;

/// The same song, without its ID3v2 tags if these are huge.
pub(crate) fn without_huge_tags(mut source: Source) -> io::Result<Source> {
    let length = source.seek(SeekFrom::End(0))?;
    let mut end = 0;
    while end + HEAD_BYTES <= length {
        source.seek(SeekFrom::Start(end))?;
        let mut head = [0; HEAD_BYTES as usize];
        source.read_exact(&mut head)?;
        let Some(bytes) = tag_bytes(&head) else { break };
        end += bytes;
    }
    source.seek(SeekFrom::Start(0))?;
    if end <= TAG_BYTES_MAX || end >= length {
        return Ok(source);
    }
    Ok(Part::of(source, end, length - end))
}

/// The size of a tag with such a header (<https://id3.org/id3v2.4.0-structure>, 3.1): four times seven bits, and
/// perhaps a footer.
fn tag_bytes(head: &[u8; 10]) -> Option<u64> {
    let [b'I', b'D', b'3', version, _, flags, size @ ..] = head else { return None };
    if *version == 0xff || size.iter().any(|byte| *byte >= 0x80) {
        return None;
    }
    let size = size.iter().fold(0, |size, byte| size << 7 | u64::from(*byte));
    let footer = if flags & 0x10 != 0 { HEAD_BYTES } else { 0 };
    Some(HEAD_BYTES + size + footer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn tag(size: u32, footer: bool) -> Vec<u8> {
        let mut tag = vec![b'I', b'D', b'3', 4, 0, if footer { 0x10 } else { 0 }];
        tag.extend([21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8));
        tag.resize(tag.len() + size as usize + if footer { 10 } else { 0 }, 1);
        tag
    }

    fn what_is_left(bytes: Vec<u8>) -> Vec<u8> {
        let length = bytes.len() as u64;
        let source = crate::source(Cursor::new(bytes), length);
        let mut source = without_huge_tags(source).expect("memory can be read");
        let mut left = Vec::new();
        source.read_to_end(&mut left).expect("memory can be read");
        assert_eq!(source.byte_len(), Some(left.len() as u64));
        assert_eq!(source.seek(SeekFrom::End(-2)).ok(), (left.len() as u64).checked_sub(2));
        assert_eq!(source.seek(SeekFrom::Start(1)).ok(), Some(1));
        left
    }

    #[test]
    fn only_huge_tags_are_hidden() {
        let half = (TAG_BYTES_MAX / 2) as u32;
        let small = [tag(1000, false), b"sound".to_vec()].concat();
        assert_eq!(what_is_left(small.clone()), small);
        let exact = [tag(half * 2 - 10, false), b"sound".to_vec()].concat();
        assert_eq!(what_is_left(exact.clone()), exact);
        let huge = [tag(half * 2 - 10, true), b"sound".to_vec()].concat();
        assert_eq!(what_is_left(huge), b"sound");
        let two = [tag(half, false), tag(half, false), b"sound".to_vec()].concat();
        assert_eq!(what_is_left(two), b"sound");
        // One that claims more than there is: nothing would be left of the song.
        let lie = tag(half * 2, false)[..half as usize].to_vec();
        assert_eq!(what_is_left(lie.clone()), lie);
    }
}
