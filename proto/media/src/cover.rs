//! A song's picture, as its file has it.

use std::path::Path;

use symphonia::core::meta::{MetadataRevision, StandardVisualKey, Visual};

use crate::demux::Demux;
use crate::{Refusal, file};

/// A song's front cover, or the first picture that it has.
#[derive(Clone, PartialEq, Eq)]
pub struct Cover {
    /// What its first bytes are those of: `image/jpeg`, `image/png`, `image/webp` or `image/gif`. What the file says
    /// it is counts for nothing.
    pub media_type: &'static str,
    /// The picture's own file, at most [`COVER_BYTES_MAX`].
    pub bytes: Box<[u8]>,
}

impl std::fmt::Debug for Cover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cover({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

/// A larger picture is left out: nobody's list of songs is worth waiting for that long. Those that shops sell have
/// 0.1 to 1 MB.
pub const COVER_BYTES_MAX: usize = 2 << 20;

/// Reads the cover of a file, without decoding it.
///
/// # Errors
/// If it is no song.
pub fn cover(path: &Path) -> Result<Option<Cover>, Refusal> {
    let source = file(path).map_err(|error| Refusal::Unreadable(error.to_string()))?;
    Ok(Demux::open(source)?.cover)
}

/// The best picture that was found so far.
#[derive(Default)]
pub(crate) struct Search {
    found: Option<Cover>,
    is_front: bool,
}

impl Search {
    pub(crate) fn look_at(&mut self, revision: &MetadataRevision) {
        let per_track = revision.per_track.iter().flat_map(|track| &track.metadata.visuals);
        for visual in revision.media.visuals.iter().chain(per_track) {
            self.consider(visual);
        }
    }

    pub(crate) fn found(self) -> Option<Cover> {
        self.found
    }

    fn consider(&mut self, visual: &Visual) {
        let is_front = visual.usage == Some(StandardVisualKey::FrontCover);
        if self.found.is_some() && (self.is_front || !is_front) {
            return;
        }
        if visual.data.len() > COVER_BYTES_MAX {
            return;
        }
        let Some(media_type) = media_type(&visual.data) else { return };
        self.found = Some(Cover { media_type, bytes: visual.data.clone() });
        self.is_front = is_front;
    }
}

/// By the signatures of <https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern>.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', b'V', b'P', ..] => {
            Some("image/webp")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(usage: Option<StandardVisualKey>, data: &[u8]) -> Visual {
        Visual {
            media_type: Some("image/svg+xml".to_owned()),
            dimensions: None,
            color_mode: None,
            usage,
            tags: Vec::new(),
            data: data.into(),
        }
    }

    fn best(pictures: &[Visual]) -> Option<Cover> {
        let mut search = Search::default();
        pictures.iter().for_each(|picture| search.consider(picture));
        search.found()
    }

    #[test]
    fn the_first_bytes_say_what_it_is() {
        let known: &[(&[u8], &str)] = &[
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"\x89PNG\r\n\x1a\nIHDR", "image/png"),
            (b"GIF87a..", "image/gif"),
            (b"GIF89a..", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        ];
        for (bytes, media_type) in known {
            let found = best(&[picture(None, bytes)]).expect("it is known");
            assert_eq!((found.media_type, &*found.bytes), (*media_type, *bytes));
        }
        for unknown in
            [&b""[..], b"\xff\xd8", b"<svg/>", b"BM", b"RIFF\0\0\0\0WAVEfmt ", b"http://x"]
        {
            assert_eq!(best(&[picture(None, unknown)]), None);
        }
    }

    #[test]
    fn the_front_goes_first() {
        let front = Some(StandardVisualKey::FrontCover);
        let back = picture(Some(StandardVisualKey::BackCover), b"GIF89a back");
        let first = picture(front, b"GIF89a front");
        let second = picture(front, b"GIF89a another");
        let large =
            picture(front, &[b"GIF89a"[..].to_vec(), vec![0; COVER_BYTES_MAX - 5]].concat());
        let found = |pictures: &[Visual]| best(pictures).map(|cover| cover.bytes);
        assert_eq!(found(&[back.clone(), first.clone(), second]), Some(first.data.clone()));
        assert_eq!(found(&[large.clone(), back.clone()]), Some(back.data));
        assert_eq!(found(std::slice::from_ref(&large)), None);
        let fitting = picture(front, &large.data[..COVER_BYTES_MAX]);
        assert_eq!(found(&[fitting]).map(|bytes| bytes.len()), Some(COVER_BYTES_MAX));
    }
}
