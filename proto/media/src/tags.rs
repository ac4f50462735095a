//! What a file says about itself.

use std::path::Path;

use symphonia::core::formats::FormatReader;
use symphonia::core::meta::well_known::{
    METADATA_ID_APEV1, METADATA_ID_APEV2, METADATA_ID_ID3V1, METADATA_ID_ID3V2,
};
use symphonia::core::meta::{MetadataId, MetadataRevision, RawValue, StandardTag, Tag};

use crate::cover::Pictures;
use crate::demux::Demux;
use crate::{Refusal, file};

/// A song's tags, as far as Jam shows or sorts by them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Title.
    pub title: Option<String>,
    /// Artist.
    pub artist: Option<String>,
    /// Who made the album, where that is another than the artist of each song.
    pub album_artist: Option<String>,
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
    Some(clean(stem)).filter(|title| !title.is_empty()).unwrap_or_else(|| "Untitled".to_owned())
}

/// All that a file says about itself, and its pictures.
pub(crate) fn read(reader: &mut dyn FormatReader, around: &[MetadataRevision]) -> (Tags, Pictures) {
    let mut metadata = reader.metadata();
    // A later revision is of a tag that lies nearer to the sound; what is set first stays.
    let mut found: Vec<_> = std::iter::from_fn(|| metadata.pop()).collect();
    found.extend(metadata.current().cloned());
    found.extend_from_slice(around);
    found.sort_by_key(|revision| rank(revision.info.metadata));
    let mut tags = Tags::default();
    let mut pictures = Pictures::default();
    for revision in &found {
        tags.add(revision);
        pictures.look_at(revision);
    }
    if tags.artist.is_none() {
        tags.artist.clone_from(&tags.album_artist);
    }
    (tags, pictures)
}

/// The container's own tags and ID3v2 go first. Then comes APE. ID3v1 has 30 letters of one byte, and fills in what is still missing.
fn rank(kind: MetadataId) -> u8 {
    match kind {
        METADATA_ID_ID3V1 => 2,
        METADATA_ID_APEV1 | METADATA_ID_APEV2 => 1,
        _ => 0,
    }
}

impl Tags {
    /// A title that stands outside of all tags, for a song that has none.
    pub(crate) fn add_title(&mut self, title: Option<&str>) {
        if self.title.is_none() {
            self.title = title.map(clean).filter(|title| !title.is_empty());
        }
    }

    /// Adds what is not known yet. Several values of one field are all of one tag.
    fn add(&mut self, revision: &MetadataRevision) {
        let per_track = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
        let tags = || revision.media.tags.iter().chain(per_track.clone());
        let is_id3 = revision.info.metadata == METADATA_ID_ID3V2;
        let fields = [
            (Field::Title, &mut self.title),
            (Field::Artist, &mut self.artist),
            (Field::AlbumArtist, &mut self.album_artist),
            (Field::Album, &mut self.album),
        ];
        for (field, text) in fields {
            if text.is_none() {
                *text = field.joined(tags().flat_map(|tag| field.values(tag, is_id3)));
            }
        }
        for tag in tags() {
            match &tag.std {
                Some(StandardTag::TrackNumber(number)) => {
                    set_number(&mut self.track_number, *number)
                }
                Some(StandardTag::DiscNumber(number)) => set_number(&mut self.disc_number, *number),
                _ => {}
            }
            if self.gapless.is_none() {
                self.gapless = gapless(tag);
            }
        }
    }
}

/// A field of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Title,
    Artist,
    AlbumArtist,
    Album,
}

impl Field {
    /// What a tag says of it.
    fn values(self, tag: &Tag, is_id3: bool) -> Vec<String> {
        let unswapped = |text: &str| if is_id3 { unswapped(text) } else { text.to_owned() };
        let one = match (&tag.std, self) {
            (Some(StandardTag::TrackTitle(text)), Self::Title)
            | (Some(StandardTag::Artist(text)), Self::Artist)
            | (Some(StandardTag::AlbumArtist(text)), Self::AlbumArtist)
            | (Some(StandardTag::Album(text)), Self::Album) => Some(text),
            _ => None,
        };
        match (&tag.raw.value, one) {
            (_, Some(text)) => vec![clean(&unswapped(text))],
            // Symphonia gives several values a name only if they are tags of their own.
            (RawValue::StringList(list), None) if self.is_named(&tag.raw.key) => {
                list.iter().map(|text| clean(&unswapped(text))).collect()
            }
            // In Matroska that is the title of a whole, but many write it so.
            (RawValue::String(text), None)
                if self == Self::Album && tag.raw.key.rsplit('@').next() == Some("ALBUM") =>
            {
                vec![clean(text)]
            }
            _ => Vec::new(),
        }
    }

    /// By the names of ID3v2.2, 2.3 and APE.
    fn is_named(self, key: &str) -> bool {
        let names: &[&str] = match self {
            Self::Title => &["TIT2", "TT2", "Title"],
            Self::Artist => &["TPE1", "TP1", "Artist"],
            Self::AlbumArtist => &["TPE2", "TP2", "Album Artist"],
            Self::Album => &["TALB", "TAL", "Album"],
        };
        names.iter().any(|name| name.eq_ignore_ascii_case(key))
    }

    fn joined(self, values: impl Iterator<Item = String>) -> Option<String> {
        let mut all: Vec<String> = Vec::new();
        for value in values.filter(|value| !value.is_empty()) {
            if !all.contains(&value) {
                all.push(value);
            }
        }
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// Text from a stranger, without what would garble a line: control characters, and marks that turn its direction around
/// or end it ([Unicode Bidirectional Algorithm](https://www.unicode.org/reports/tr9/), 2).
pub fn clean(text: &str) -> String {
    let unfit = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if unfit(c) { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// UTF-16 without a byte order mark is read with the high byte first. Where the other order gives more letters that people
/// write, it was that.
fn unswapped(text: &str) -> String {
    let units: Vec<u16> = text.encode_utf16().map(u16::swap_bytes).collect();
    let Ok(swapped) = String::from_utf16(&units) else { return text.to_owned() };
    // Swapped Latin is Han: each of its letters speaks for Latin.
    let latin = |text: &str| text.chars().filter(|c| (' '..='\u{17f}').contains(c)).count();
    let common = |text: &str| text.chars().filter(|c| is_common(*c)).count();
    let plausible = |text: &str| (common(text), latin(text));
    if plausible(&swapped) > plausible(text) { swapped } else { text.to_owned() }
}

/// Latin, Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai, kana, Han and Hangul.
fn is_common(c: char) -> bool {
    matches!(c, ' '..='\u{17f}' | '\u{370}'..='\u{52f}' | '\u{590}'..='\u{6ff}' | '\u{900}'..='\u{97f}' | '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
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
        assert_eq!(title_from_file_name("a\u{202e}3pm.exe"), "a 3pm");
    }

    #[test]
    fn text_is_turned_the_right_way() {
        for text in ["Title", "夜に駆ける", "Кино", "Ünïcode — quotes “…”", "노래", ""]
        {
            assert_eq!(unswapped(text), text);
            // Half of all Hangul is Han the other way around: nobody can tell.
            if text == "노래" {
                continue;
            }
            let swapped: Vec<u16> = text.encode_utf16().map(u16::swap_bytes).collect();
            if let Ok(swapped) = String::from_utf16(&swapped) {
                assert_eq!(unswapped(&swapped), text);
            }
        }
    }
}
