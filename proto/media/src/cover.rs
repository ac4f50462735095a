//! A song's picture, as its file has it.

use std::path::Path;

use symphonia::core::meta::{MetadataRevision, StandardVisualKey, Visual};

use crate::demux::Demux;
use crate::types::picture_type;
use crate::{Refusal, file, picture};

/// A song's front cover, or the first picture that it has.
#[derive(Clone, PartialEq, Eq)]
pub struct Cover {
    /// What its first bytes are those of: `image/jpeg`, `image/png`, `image/webp` or `image/gif`. What the file says
    /// it is counts for nothing.
    pub media_type: &'static str,
    /// The picture's own file, or what it was scaled down to: at most [`COVER_BYTES_MAX`].
    pub bytes: Box<[u8]>,
}

impl std::fmt::Debug for Cover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cover({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

/// A larger picture is scaled down, and is then a JPEG: nobody's list of songs is worth waiting for that long. Those that
/// shops sell have 0.1 to 1 MB.
pub const COVER_BYTES_MAX: usize = 2 << 20;

/// Reads the cover of a file, without decoding its sound.
///
/// # Errors
/// If it is no song.
pub fn cover(path: &Path) -> Result<Option<Cover>, Refusal> {
    let source = file(path).map_err(|error| Refusal::Unreadable(error.to_string()))?;
    Ok(Demux::open(source)?.pictures.cover())
}

/// The best pictures that were found so far: of those that are small enough, and of the others.
#[derive(Default)]
pub(crate) struct Pictures {
    small: Option<Picture>,
    large: Option<Picture>,
}

struct Picture {
    is_front: bool,
    cover: Cover,
}

impl Pictures {
    pub(crate) fn look_at(&mut self, revision: &MetadataRevision) {
        let per_track = revision.per_track.iter().flat_map(|track| &track.metadata.visuals);
        for visual in revision.media.visuals.iter().chain(per_track) {
            self.consider(visual);
        }
    }

    /// The best one, scaled down if it has to be. A large one that can't be scaled leaves it to a small one.
    pub(crate) fn cover(self) -> Option<Cover> {
        let small = self.small;
        let is_better =
            |large: &Picture| small.as_ref().is_none_or(|small| large.is_front && !small.is_front);
        let scaled = self.large.filter(is_better).and_then(|large| {
            let bytes = picture::scaled(&large.cover.bytes, COVER_BYTES_MAX)?;
            Some(Cover { media_type: "image/jpeg", bytes })
        });
        scaled.or(small.map(|small| small.cover))
    }

    fn consider(&mut self, visual: &Visual) {
        let is_front = visual.usage == Some(StandardVisualKey::FrontCover);
        let is_large = visual.data.len() > COVER_BYTES_MAX;
        let best = if is_large { &mut self.large } else { &mut self.small };
        if best.as_ref().is_some_and(|best| best.is_front || !is_front) {
            return;
        }
        if let Some(media_type) = picture_type(&visual.data) {
            *best =
                Some(Picture { is_front, cover: Cover { media_type, bytes: visual.data.clone() } });
        }
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
        let mut found = Pictures::default();
        pictures.iter().for_each(|picture| found.consider(picture));
        found.cover()
    }

    #[test]
    fn what_is_no_picture_is_left_out() {
        let found = best(&[picture(None, b"GIF89a..")]).expect("it is one");
        assert_eq!((found.media_type, &*found.bytes), ("image/gif", &b"GIF89a.."[..]));
        assert_eq!(best(&[picture(None, b"<svg/>")]), None);
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
