//! What a file says about itself.

use std::path::Path;

use symphonia::core::formats::FormatReader;
use symphonia::core::meta::{MetadataRevision, RawValue, StandardTag, Tag};

use crate::cover::{self, Cover};
use crate::demux::Demux;
use crate::{Refusal, file};

/// A song's tags, as far as Jam shows or sorts by them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Title.
    pub title: Option<String>,
    /// Artist.
    pub artist: Option<String>,
    /// Album.
    pub album: Option<String>,
    /// Number of the track on its disc.
    pub track_number: Option<u32>,
    /// Number of the disc.
    pub disc_number: Option<u32>,
    pub(crate) gapless: Option<Gapless>,
}

/// What iTunes notes about the encoder's delay, in a comment of its own named `iTunSMPB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gapless {
    pub(crate) delay: u64,
    /// The song's own frames.
    pub(crate) frames: u64,
}

/// Reads the tags of a file, without decoding it: cheap enough to sort a folder by them.
pub fn tags(path: &Path) -> Result<Tags, Refusal> {
    let source = file(path).map_err(|error| Refusal::Unreadable(error.to_string()))?;
    Ok(Demux::open(source)?.tags)
}

/// A title for a file without tags: its name without folders and extension.
pub fn title_from_file_name(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let stem = match base.rfind('.') {
        Some(dot) if dot > 0 => &base[..dot],
        _ => base,
    };
    let clean: String = stem.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match clean.trim() {
        "" => "Untitled".to_owned(),
        title => title.to_owned(),
    }
}

/// All that a file says about itself, and its picture.
pub(crate) fn read(reader: &mut dyn FormatReader) -> (Tags, Option<Cover>) {
    let mut tags = Tags::default();
    let mut picture = cover::Search::default();
    let mut metadata = reader.metadata();
    // A later revision is of a tag that lies nearer to the sound; what is set first stays.
    while let Some(revision) = metadata.pop() {
        tags.add(&revision);
        picture.look_at(&revision);
    }
    if let Some(revision) = metadata.current() {
        tags.add(revision);
        picture.look_at(revision);
    }
    (tags, picture.found())
}

impl Tags {
    fn add(&mut self, revision: &MetadataRevision) {
        let per_track = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
        for tag in revision.media.tags.iter().chain(per_track) {
            self.add_tag(tag);
        }
    }

    fn add_tag(&mut self, tag: &Tag) {
        match &tag.std {
            Some(StandardTag::TrackTitle(text)) => set_text(&mut self.title, text),
            Some(StandardTag::Artist(text)) => set_text(&mut self.artist, text),
            Some(StandardTag::AlbumArtist(text)) if self.artist.is_none() => {
                set_text(&mut self.artist, text)
            }
            Some(StandardTag::Album(text)) => set_text(&mut self.album, text),
            Some(StandardTag::TrackNumber(number)) => set_number(&mut self.track_number, *number),
            Some(StandardTag::DiscNumber(number)) => set_number(&mut self.disc_number, *number),
            _ => {}
        }
        if self.gapless.is_none() {
            self.gapless = gapless(tag);
        }
    }
}

fn set_text(field: &mut Option<String>, text: &str) {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    if field.is_none() && !clean.is_empty() {
        *field = Some(clean.to_owned());
    }
}

fn set_number(field: &mut Option<u32>, number: u64) {
    if field.is_none() {
        *field = u32::try_from(number).ok().filter(|number| *number > 0);
    }
}

/// ` 00000000 00000840 000001C0 00000000000A1234 …`: nothing, delay, padding, frames, in hex.
fn gapless(tag: &Tag) -> Option<Gapless> {
    let named = tag.raw.key.ends_with("iTunSMPB")
        || tag.raw.sub_fields.iter().flatten().any(|field| match &field.value {
            RawValue::String(text) => text.as_str() == "iTunSMPB",
            _ => false,
        });
    let RawValue::String(text) = &tag.raw.value else { return None };
    let mut fields = text.split_ascii_whitespace().skip(1);
    let mut next = || fields.next().and_then(|field| u64::from_str_radix(field, 16).ok());
    let (delay, _padding, frames) = (next()?, next()?, next()?);
    // A second of delay would be an error, or made to trip us.
    (named && frames > 0 && delay < 48_000).then_some(Gapless { delay, frames })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_makes_a_title() {
        assert_eq!(title_from_file_name("music/01 Morning.flac"), "01 Morning");
        assert_eq!(title_from_file_name("C:\\songs\\a.b.mp3"), "a.b");
        assert_eq!(title_from_file_name(".hidden"), ".hidden");
        assert_eq!(title_from_file_name(""), "Untitled");
    }
}
