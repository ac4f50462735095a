//! Songs in pieces that can be fetched, checked and decoded one by one.
//!
//! [`cut`] makes a [`Manifest`] and segments of an original. A segment is a run of the codec's own packets,
//! with those before it that its decoder must hear first (the *preroll*). [`SegmentDecoder`] turns a
//! segment into the frames that the manifest names, from nothing but the two.
//!
//! * **The same everywhere.** The same bytes, committed length and [`SEGMENTER`] give the same
//!   segments and the same manifest, byte for byte. Whatever changes one of them must change that number.
//! * **Only the manifest trims.** A segment's decoder drops the segment's preroll and stops after its
//!   frames. The encoder's delay is preroll of the first segment; padding is what lies past the last frame.
//! * **Bounded.** [`SEGMENT_SECS_MAX`], [`SEGMENT_BYTES_MAX`]; 16,384 segments and 1 MiB to a manifest.
//!   What does not fit is refused as [`Refusal::Unsegmentable`](crate::Refusal::Unsegmentable).
//!
//! A segment's bytes: a version (1), then packets to the end. A packet: its length in bytes, doubled, plus 1 if
//! it has as many frames as the packet before; else that number; the bytes. Numbers are LEB128, in
//! their shortest form. So many of the decoder's frames count, from the first one on; what is missing
//! of them is silence. A packet without bytes is a hole: silence.

mod cut;
mod decoder;
mod framing;
mod line;
mod manifest;
mod sound;
mod wire;

pub(crate) use cut::{Cutter, Segment};
pub(crate) use line::Ruler;
pub(crate) use sound::{Sound, is_pcm};

pub use cut::cut;
pub use decoder::{SegmentDecoder, SegmentError};
pub use manifest::{Manifest, ManifestError, SegmentInfo};

/// Which way of cutting this is: manifests and segments of another one differ.
pub const SEGMENTER: u32 = 1;
/// Seconds of a segment's own frames at most: what a late joiner waits for must be small. The preroll may be as
/// long again, which only the slowest MP3s come near.
pub const SEGMENT_SECS_MAX: u32 = 5;
/// Bytes of a segment at most, preroll included. Reached by uncompressed and hi-res songs only.
pub const SEGMENT_BYTES_MAX: usize = 1 << 20;
/// Segments of a song: twice what six hours in 2 GiB can need.
const SEGMENTS_MAX: usize = 16_384;
/// Bytes of a manifest: all the segments that there may be, at most 43 bytes each, and the codec's headers.
const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Bytes of a codec's headers. Vorbis has the largest, 3 to 8 KiB of codebooks.
const EXTRA_BYTES_MAX: usize = 64 << 10;
/// Frames per second. The highest rate that converters have is 768 kHz.
pub(crate) const RATE_MAX: u32 = 768_000;

/// Frames that neither a segment nor its preroll nor a packet of it exceeds.
fn frames_max(sample_rate: u32) -> u64 {
    u64::from(SEGMENT_SECS_MAX) * u64::from(sample_rate)
}
