//! What a song's bytes mean: its exact length, its tags and picture, and its samples, the same on every
//! node and in every player.
//!
//! Symphonia demuxes and decodes. What it leaves open is decided here, once, since a node that
//! counts a song's frames and a player that plays them must agree to the frame:
//!
//! * **One line of frames.** The packets of a song, in order, each of a length that is known
//!   without decoding it, make the *raw line*. The encoder's delay is dropped at its start, and the
//!   committed length ends it. A packet that does not decode is silence of its length.
//! * **One reading.** [`inspect()`] counts by walking that line to its end; [`Decoder`] walks the
//!   very same line. So a length can't disagree with what is played.
//! * **One cut.** [`cut`] takes segments from that line, and [`SegmentDecoder`] decodes each by itself.
//! * **Any rung of it.** [`render`] makes Opus of it, which lies on the same line.
//! * **The bytes alone decide.** File names and extensions are never looked at, since a player
//!   knows a song by its hash only.
//!
//! Nothing here touches the network or a clock. Bytes come from a [`Source`], which is a file
//! today; whatever can read and seek may take its place.

mod aiff;
mod allowance;
mod caf;
mod codec;
mod cover;
mod decoder;
mod demux;
mod downmix;
mod elementary;
mod ending;
mod filter;
mod foreign;
mod id3;
mod inspect;
mod length;
mod loudness;
mod matroska;
mod measure;
mod mp4;
mod ogg;
mod part;
mod patch;
mod picture;
mod preroll;
mod probe;
mod refusal;
mod render;
mod riff;
mod sbr;
mod segments;
mod tags;
mod trailer;
mod true_peak;
mod types;
mod unwrap;
mod voice;
mod vorbis;
mod waveform;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

pub use cover::{COVER_BYTES_MAX, Cover, cover};
pub use decoder::Decoder;
pub use filter::Filter;
pub use inspect::{Limits, SongInfo, inspect};
pub use loudness::Loudness;
pub use refusal::Refusal;
pub use render::{LADDER_KBPS, RENDITION_RATE, render, rendition_frames};
pub use segments::{
    Manifest, ManifestError, SEGMENT_BYTES_MAX, SEGMENT_SECS_MAX, SEGMENTER, SegmentDecoder,
    SegmentError, SegmentInfo, cut,
};
pub use symphonia::core::io::MediaSource;
pub use tags::{Tags, clean, tags, title_from_file_name};
pub use types::{HEAD_BYTES, picture_type, song_type};

/// Where a song's bytes come from.
pub type Source = Box<dyn MediaSource>;

/// So many bytes of whatever can be read and sought in.
pub fn source(bytes: impl Read + Seek + Send + Sync + 'static, length: u64) -> Source {
    Box::new(Sized { bytes, length })
}

struct Sized<B> {
    bytes: B,
    length: u64,
}

impl<B: Read> Read for Sized<B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

impl<B: Seek> Seek for Sized<B> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

impl<B: Read + Seek + Send + Sync> MediaSource for Sized<B> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

/// The bytes of a file.
pub fn file(path: &Path) -> io::Result<Source> {
    Ok(Box::new(File::open(path)?))
}
