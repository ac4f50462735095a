//! WAV files as they are found: with tags behind the sound, sizes that a pipe left open, and 64-bit sizes.
//!
//! Symphonia's reader wants every size to be right, knows no RF64, and loses the tags. So the chunks are walked here; it
//! gets a header with true sizes, and the sound behind it.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use symphonia::core::formats::probe::ProbeableMetadata;
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::well_known::METADATA_ID_WAVE;
use symphonia::core::meta::{
    MetadataBuilder, MetadataInfo, MetadataOptions, MetadataRevision, RawTag, StandardTag, Tag,
};
use symphonia::default::meta::Id3v2Reader;

use crate::part::Part;
use crate::{Source, foreign};

const INFO: MetadataInfo =
    MetadataInfo { metadata: METADATA_ID_WAVE, short_name: "wave", long_name: "RIFF INFO" };
/// Chunks in a file. Those of broadcasters have a dozen.
const CHUNKS_MAX: usize = 10_000;
/// A larger chunk of tags or of the format is passed over.
const CHUNK_BYTES_MAX: u64 = 16 << 20;
/// What a writer that can't go back leaves as a size.
const UNKNOWN: u64 = u32::MAX as u64;

/// The numbers of formats that are an MP2 or MP3 file in a chunk (RFC 2361).
const MPEG: [u16; 2] = [0x0050, 0x0055];

/// A WAV file, put right.
pub(crate) struct Wave {
    /// What the demuxer gets.
    pub(crate) source: Source,
    /// The tags, the ones that count most first.
    pub(crate) tags: Vec<MetadataRevision>,
    /// Frames that its sizes promise and that are not there.
    pub(crate) missing_frames: u64,
    /// What it holds that is not played.
    pub(crate) foreign: Option<&'static str>,
}

/// What the chunks say.
#[derive(Default)]
struct Chunks {
    format: Vec<u8>,
    /// The sound's first byte, and its length as stated; `None`: to the end.
    data: Option<(u64, Option<u64>)>,
    /// The length of the sound in an RF64's `ds64`.
    data_64: Option<u64>,
    info: Vec<MetadataRevision>,
    id3: Vec<MetadataRevision>,
}

/// Whether a file begins so.
pub(crate) fn is_wave(head: &[u8; 12]) -> bool {
    matches!(&head[..4], b"RIFF" | b"RF64" | b"BW64") && &head[8..] == b"WAVE"
}

/// Puts a WAV of `length` bytes right. Whatever is not one that can be is given back as it is.
pub(crate) fn open(mut source: Source, length: u64) -> io::Result<Wave> {
    let chunks = walk(&mut source, length)?;
    let as_it_is = |source| Ok(Wave { source, tags: Vec::new(), missing_frames: 0, foreign: None });
    let (Some((first, stated)), true) = (chunks.data, chunks.format.len() >= 16) else {
        source.seek(SeekFrom::Start(0))?;
        return as_it_is(source);
    };
    let format = &chunks.format;
    let format_tag = u16::from_le_bytes([format[0], format[1]]);
    let frame = u64::from(u16::from_le_bytes([format[12], format[13]])).max(1);
    let there = length - first;
    let stated = stated.unwrap_or(there);
    let mut tags = chunks.id3;
    tags.extend(chunks.info);
    if MPEG.contains(&format_tag) {
        let source = Part::of(source, first, stated.min(there));
        return Ok(Wave { source, tags, missing_frames: 0, foreign: None });
    }
    let held = stated.min(there) / frame * frame;
    let mut head = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    head.extend((format.len() as u32).to_le_bytes());
    head.extend(format);
    head.resize(head.len().next_multiple_of(2), 0);
    head.extend(b"data");
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    head.extend(size(held));
    let all = size(held + head.len() as u64 - 8);
    head[4..8].copy_from_slice(&all);
    Ok(Wave {
        source: Part::behind(head, source, first, held),
        tags,
        foreign: foreign::in_wave(format_tag),
        missing_frames: stated.saturating_sub(there).div_ceil(frame),
    })
}

fn walk(source: &mut Source, length: u64) -> io::Result<Chunks> {
    let mut chunks = Chunks::default();
    let mut at = 12;
    for _ in 0..CHUNKS_MAX {
        // A 64-bit size may be any number.
        let fits = length.checked_sub(8).is_some_and(|last| at <= last);
        if !fits {
            break;
        }
        let mut head = [0; 8];
        source.seek(SeekFrom::Start(at))?;
        source.read_exact(&mut head)?;
        let size = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        let body = at + 8;
        let next = match &head[..4] {
            b"data" if chunks.data.is_none() => {
                let stated = chunks.stated(size, next_chunk(source, body, length)?);
                chunks.data = Some((body, stated));
                body.saturating_add(stated.unwrap_or(length - body))
            }
            kind => {
                let read = size.min(length - body).min(CHUNK_BYTES_MAX);
                chunks.take(kind, || {
                    let mut bytes = vec![0; read as usize];
                    source.read_exact(&mut bytes).map(|()| bytes)
                })?;
                body + size
            }
        };
        at = next.saturating_add(next & 1);
    }
    Ok(chunks)
}

/// Whether a chunk or nothing at all begins at `at`.
fn next_chunk(source: &mut Source, at: u64, length: u64) -> io::Result<bool> {
    let mut head = [0; 8];
    if at + 8 > length {
        return Ok(true);
    }
    source.read_exact(&mut head)?;
    let size = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
    let is_name = head[..4].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ');
    Ok(is_name && at + 8 + size <= length)
}

impl Chunks {
    /// The length of the sound. Nothing promised (all ones, or 0 and what follows is no chunk) is no promise.
    fn stated(&self, size: u64, ends_here: bool) -> Option<u64> {
        match (size, self.data_64) {
            (UNKNOWN, Some(size)) if size != 0 && size != u64::MAX => Some(size),
            (UNKNOWN, _) => None,
            (0, _) if !ends_here => None,
            (size, _) => Some(size),
        }
    }

    fn take(&mut self, kind: &[u8], body: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<()> {
        match kind {
            b"fmt " if self.format.is_empty() => self.format = body()?,
            b"ds64" => {
                let field = body()?.get(8..16).map(<[u8]>::to_vec).unwrap_or_default();
                self.data_64 = field.try_into().ok().map(u64::from_le_bytes);
            }
            b"LIST" => self.info.extend(info(&body()?)),
            b"id3 " | b"ID3 " => self.id3.extend(id3(body()?)),
            _ => {}
        }
        Ok(())
    }
}

/// A list of INFO, which is a chunk for each tag.
fn info(list: &[u8]) -> Option<MetadataRevision> {
    let mut rest = list.strip_prefix(b"INFO")?;
    let mut builder = MetadataBuilder::new(INFO);
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let text = text(&behind[..size.min(behind.len())]);
        let number = || text.split('/').next().and_then(|text| text.trim().parse().ok());
        let value = std::sync::Arc::new(text.clone());
        let tag = match &head[..4] {
            b"INAM" | b"TITL" => Some(StandardTag::TrackTitle(value)),
            b"IART" => Some(StandardTag::Artist(value)),
            b"IPRD" => Some(StandardTag::Album(value)),
            b"IPRT" | b"ITRK" | b"TRCK" => number().map(StandardTag::TrackNumber),
            _ => None,
        };
        if let Some(tag) = tag {
            let name = String::from_utf8_lossy(&head[..4]).into_owned();
            builder.add_tag(Tag::new_std(RawTag::new(name, text), tag));
        }
        rest = behind.get(size.saturating_add(size & 1)..).unwrap_or_default();
    }
    Some(builder.build())
}

/// UTF-8 where it is that, else Latin-1: the chunk does not say.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let bytes = &bytes[..end];
    std::str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

fn id3(tag: Vec<u8>) -> Option<MetadataRevision> {
    let options = MediaSourceStreamOptions::default();
    let stream = MediaSourceStream::new(Box::new(Cursor::new(tag)), options);
    let mut reader = Id3v2Reader::try_probe_new(stream, MetadataOptions::default()).ok()?;
    reader.read_all().ok().map(|read| read.revision)
}
