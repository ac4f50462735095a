//! What lies around the sound and is no part of its container.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::meta::MetadataRevision;

use crate::matroska::{self, InOrder};
use crate::part::Part;
use crate::riff::{self, Wave};
use crate::{Source, aiff, id3, ogg, trailer};

/// A file without that.
pub(crate) struct Unwrapped {
    /// What the demuxer gets.
    pub(crate) source: Source,
    /// The tags that were found, which the demuxer does not see.
    pub(crate) tags: Vec<MetadataRevision>,
    /// Frames that sizes promise and that are not there.
    pub(crate) missing_frames: u64,
    /// What a WAV holds that is not played.
    pub(crate) foreign: Option<&'static str>,
    /// The last page of an Ogg file, if it is cut.
    pub(crate) cut_page: ogg::Cut,
    /// What the elements of a Matroska file say.
    pub(crate) matroska: Option<matroska::Facts>,
}

/// Takes off tags at both ends, and puts the header of a WAV or AIFF right.
pub(crate) fn unwrap(source: Source) -> io::Result<Unwrapped> {
    let mut source = id3::without_huge_tags(source)?;
    let length = source.seek(SeekFrom::End(0))?;
    let (end, mut tags) = trailer::read(&mut source, length)?;
    let mut head = [0; 12];
    source.seek(SeekFrom::Start(0))?;
    if end >= head.len() as u64 {
        source.read_exact(&mut head)?;
    }
    if riff::is_wave(&head) {
        let Wave { source, tags: within, missing_frames, foreign } = riff::open(source, end)?;
        tags.extend(within);
        let cut_page = ogg::Cut::default();
        return Ok(Unwrapped { source, tags, missing_frames, foreign, cut_page, matroska: None });
    }
    let mut source = if end < length { Part::of(source, 0, end) } else { source };
    let (mut missing_frames, mut matroska, mut cut_page) = (0, None, ogg::Cut::default());
    if aiff::is_aiff(&head) {
        (source, missing_frames) = aiff::open(source, end)?;
    } else if ogg::is_ogg(&head) {
        (source, cut_page) = ogg::open(source, end)?;
    } else if matroska::is_matroska(&head) {
        let facts = matroska::read(&mut source, end)?;
        source.seek(SeekFrom::Start(0))?;
        if facts.is_cut {
            source = Box::new(InOrder(source));
        }
        matroska = Some(facts);
    }
    Ok(Unwrapped { source, tags, missing_frames, foreign: None, matroska, cut_page })
}
