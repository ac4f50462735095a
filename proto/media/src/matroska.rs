//! What symphonia does not tell of a WebM or Matroska file: how much of the last packet is padding, and whether all of the
//! file is there ([RFC 9559](https://www.rfc-editor.org/rfc/rfc9559), 5.1.3).

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as id;
use symphonia::core::io::MediaSource;

use crate::Source;

const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1f43_b675;
const BLOCK_GROUP: u64 = 0xa0;
const BLOCK: u64 = 0xa1;
const SIMPLE_BLOCK: u64 = 0xa3;
const DISCARD_PADDING: u64 = 0x75a2;
const INFO: u64 = 0x1549_a966;
const TITLE: u64 = 0x7ba9;
const TRACKS: u64 = 0x1654_ae6b;
const TRACK: u64 = 0xae;
const TRACK_NAME: u64 = 0x536e;
/// A longer title is none.
const TITLE_BYTES_MAX: u64 = 4096;
/// Elements that are looked at. Six hours of the shortest packets have 9 million.
const ELEMENTS_MAX: u64 = 20_000_000;
/// Tracks that are told apart.
const TRACKS_MAX: usize = 128;

/// What a file's elements say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Of the last packet of each track, in nanoseconds.
    discarded_ns: BTreeMap<u64, u64>,
    /// It ends before one of its elements does.
    pub(crate) is_cut: bool,
    title: Option<String>,
    track_name: Option<String>,
    tracks: u32,
}

impl Facts {
    /// What the whole is called, or its only track.
    pub(crate) fn title(&self) -> Option<&str> {
        let only = self.track_name.as_ref().filter(|_| self.tracks == 1);
        self.title.as_ref().or(only).map(String::as_str)
    }

    /// Nanoseconds at the end of a track's last packet that are not heard.
    pub(crate) fn discarded_ns(&self, track: u32) -> u64 {
        self.discarded_ns.get(&u64::from(track)).copied().unwrap_or(0)
    }
}

/// Whether a file begins so.
pub(crate) fn is_matroska(head: &[u8; 12]) -> bool {
    head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3])
}

/// What a file of this kind holds if that is not played.
pub(crate) fn foreign(codec: AudioCodecId) -> Option<&'static str> {
    Some(match codec {
        id::CODEC_ID_OPUS => return None,
        id::CODEC_ID_VORBIS => "Vorbis in a WebM or Matroska file",
        id::CODEC_ID_AAC => "AAC in a Matroska file",
        id::CODEC_ID_FLAC => "FLAC in a Matroska file",
        id::CODEC_ID_MP3 => "MP3 in a Matroska file",
        id::CODEC_ID_AC3 | id::CODEC_ID_EAC3 => "AC-3 in a Matroska file",
        _ => "a Matroska file whose sound is not Opus",
    })
}

/// A file that is cut, for a reader that would seek to what it lacks.
pub(crate) struct InOrder(pub(crate) Source);

impl Read for InOrder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for InOrder {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl MediaSource for InOrder {
    fn is_seekable(&self) -> bool {
        false
    }

    // An element that is larger than the file would be passed over.
    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// Walks the elements of a file of `length` bytes. Only the last of its clusters is looked into, unless they don't say where they end.
pub(crate) fn read(file: &mut (impl Read + Seek), length: u64) -> io::Result<Facts> {
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::with_capacity(1 << 16, file);
    let mut walk = Walk { file, at: 0, length, elements: 0, track: 0, facts: Facts::default() };
    let mut last = None;
    while let Some((kind, size)) = walk.element()? {
        match (kind, size) {
            (CLUSTER, Some(size)) => {
                last = Some((walk.at, size));
                walk.pass(size)?;
            }
            _ => walk.look_at(kind, size, &mut last)?,
        }
    }
    if let Some((from, size)) = last {
        walk.to(from)?;
        let end = from.saturating_add(size);
        while walk.at < end
            && let Some((kind, size)) = walk.element()?
        {
            walk.look_at(kind, size, &mut None)?;
        }
    }
    Ok(walk.facts)
}

struct Walk<F> {
    file: F,
    at: u64,
    length: u64,
    elements: u64,
    /// Of the last block.
    track: u64,
    facts: Facts,
}

impl<F: Read + Seek> Walk<BufReader<F>> {
    /// The next element's kind, and its size if that is known; none at the end, or where no element can be.
    fn element(&mut self) -> io::Result<Option<(u64, Option<u64>)>> {
        self.elements += 1;
        if self.at >= self.length || self.elements > ELEMENTS_MAX {
            return Ok(None);
        }
        let Some((kind, _)) = self.number(4, true)? else { return Ok(None) };
        let Some((size, is_unknown)) = self.number(8, false)? else { return Ok(None) };
        let is_whole = is_unknown || self.length - self.at >= size;
        self.facts.is_cut |= !is_whole;
        Ok(Some((kind, (!is_unknown).then_some(size))))
    }

    /// `last`: the last cluster that was passed over; a later block makes it the last no more.
    fn look_at(
        &mut self,
        kind: u64,
        size: Option<u64>,
        last: &mut Option<(u64, u64)>,
    ) -> io::Result<()> {
        match (kind, size) {
            (SEGMENT | INFO | TRACKS | CLUSTER | BLOCK_GROUP, _) => {}
            (TRACK, _) => self.facts.tracks = self.facts.tracks.saturating_add(1),
            (TITLE, Some(size @ 0..=TITLE_BYTES_MAX)) => self.facts.title = self.text(size)?,
            (TRACK_NAME, Some(size @ 0..=TITLE_BYTES_MAX)) => {
                self.facts.track_name = self.text(size)?;
            }
            (BLOCK | SIMPLE_BLOCK, Some(size)) => {
                *last = None;
                let from = self.at;
                if let Some((track, _)) = self.number(8, false)? {
                    self.track = track;
                    self.facts.discarded_ns.remove(&track);
                }
                self.pass((from + size).saturating_sub(self.at))?;
            }
            (DISCARD_PADDING, Some(size @ 1..=8)) => {
                let mut bytes = [0; 8];
                self.bytes(&mut bytes[8 - size as usize..])?;
                // What is below zero is to be dropped in front.
                let ns = i64::from_be_bytes(bytes) << (64 - size * 8) >> (64 - size * 8);
                if let Ok(ns) = u64::try_from(ns)
                    && self.facts.discarded_ns.len() < TRACKS_MAX
                {
                    self.facts.discarded_ns.insert(self.track, ns);
                }
            }
            (_, Some(size)) => self.pass(size)?,
            // Nothing else may be of an unknown size.
            (_, None) => self.at = self.length,
        }
        Ok(())
    }

    /// A number of as many bytes as its first one says, with or without the bits that say so; and whether all others are ones.
    fn number(&mut self, bytes_max: u32, marked: bool) -> io::Result<Option<(u64, bool)>> {
        let mut first = [0];
        self.bytes(&mut first)?;
        let more = first[0].leading_zeros();
        if more >= bytes_max || self.length - self.at < u64::from(more) {
            return Ok(None);
        }
        let mut rest = [0; 8];
        self.bytes(&mut rest[8 - more as usize..])?;
        let all = 1u64 << (7 * (more + 1));
        let number = u64::from(first[0]) << (8 * more) | u64::from_be_bytes(rest);
        let bare = number & (all - 1);
        Ok(Some((if marked { number } else { bare }, bare == all - 1)))
    }

    fn bytes(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let held = bytes.len().min(usize::try_from(self.length - self.at).unwrap_or(usize::MAX));
        self.file.read_exact(&mut bytes[..held])?;
        self.at += held as u64;
        Ok(())
    }

    fn text(&mut self, size: u64) -> io::Result<Option<String>> {
        let mut text = vec![0; size as usize];
        self.bytes(&mut text)?;
        Ok(String::from_utf8(text).ok())
    }

    fn pass(&mut self, size: u64) -> io::Result<()> {
        let size = size.min(self.length - self.at);
        self.file.seek_relative(i64::try_from(size).map_err(io::Error::other)?)?;
        self.at += size;
        Ok(())
    }

    fn to(&mut self, at: u64) -> io::Result<()> {
        self.at = self.file.seek(SeekFrom::Start(at))?;
        Ok(())
    }
}
