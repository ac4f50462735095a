//! Tags that programs put behind the sound: ID3v1, APE and Lyrics3, whatever the container is.
//!
//! None of them is a part of the container, and demuxers take them for sound, or for a file that is cut off. So they are
//! read here, and the demuxer gets what lies before them.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use symphonia::core::formats::probe::ProbeableMetadata;
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::{MetadataOptions, MetadataRevision};
use symphonia::default::meta::{ApeReader, Id3v1Reader};

use crate::Source;

const ID3V1_BYTES: u64 = 128;
/// `TAG+`, an extension of ID3v1 that stands before it.
const ID3V1_PLUS_BYTES: u64 = 227;
const APE_FOOTER_BYTES: u64 = 32;
const LYRICS_FOOTER_BYTES: u64 = 15;
/// Larger APE tags are passed over: the pictures in one take less by far.
const APE_BYTES_MAX: u64 = 16 << 20;

/// Where the file's own bytes end, and the tags behind them, the nearest to the end first.
pub(crate) fn read(source: &mut Source, length: u64) -> io::Result<(u64, Vec<MetadataRevision>)> {
    let (mut end, mut found) = (length, Vec::new());
    loop {
        let before = end;
        if at::<3>(source, end, ID3V1_BYTES)? == Some(*b"TAG") {
            end -= ID3V1_BYTES;
            found.extend(parsed::<Id3v1Reader<'_>>(bytes(source, end, ID3V1_BYTES)?, 0));
            if at::<4>(source, end, ID3V1_PLUS_BYTES)? == Some(*b"TAG+") {
                end -= ID3V1_PLUS_BYTES;
            }
        }
        if let Some(footer) = at::<32>(source, end, APE_FOOTER_BYTES)?
            && let Some(size) = ape_bytes(&footer).filter(|size| *size <= end)
        {
            end -= size;
            if size <= APE_BYTES_MAX {
                let footer_at = size - APE_FOOTER_BYTES;
                found.extend(parsed::<ApeReader<'_>>(bytes(source, end, size)?, footer_at));
            }
        }
        if let Some(footer) = at::<15>(source, end, LYRICS_FOOTER_BYTES)?
            && let Some(size) = lyrics_bytes(&footer).filter(|size| *size <= end)
        {
            end -= size;
        }
        if end == before {
            return Ok((end, found));
        }
    }
}

/// <https://wiki.hydrogenaudio.org/index.php?title=APE_Tags_Header>: the size is that of the items and the footer.
fn ape_bytes(footer: &[u8; 32]) -> Option<u64> {
    let word = |at: usize| {
        u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]])
    };
    let header = if word(20) & 1 << 31 != 0 { APE_FOOTER_BYTES } else { 0 };
    let size = u64::from(word(12));
    (footer.starts_with(b"APETAGEX") && size >= APE_FOOTER_BYTES).then_some(size + header)
}

/// <https://id3.org/Lyrics3v2>: six digits and a mark; the size leaves out both.
fn lyrics_bytes(footer: &[u8; 15]) -> Option<u64> {
    let digits = footer.strip_suffix(b"LYRICS200")?;
    let size = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
    Some(size + LYRICS_FOOTER_BYTES)
}

/// What a tag says; `from`: where its reader begins.
fn parsed<R: for<'s> ProbeableMetadata<'s>>(tag: Vec<u8>, from: u64) -> Option<MetadataRevision> {
    let options = MediaSourceStreamOptions::default();
    let mut stream = MediaSourceStream::new(Box::new(Cursor::new(tag)), options);
    stream.seek(SeekFrom::Start(from)).ok()?;
    let mut reader = R::try_probe_new(stream, MetadataOptions::default()).ok()?;
    reader.read_all().ok().map(|read| read.revision)
}

/// The first bytes of what lies `back` bytes before `end`; none: there are not so many.
fn at<const N: usize>(source: &mut Source, end: u64, back: u64) -> io::Result<Option<[u8; N]>> {
    let Some(from) = end.checked_sub(back) else { return Ok(None) };
    let mut bytes = [0; N];
    source.seek(SeekFrom::Start(from))?;
    source.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

fn bytes(source: &mut Source, from: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?];
    source.seek(SeekFrom::Start(from))?;
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}
