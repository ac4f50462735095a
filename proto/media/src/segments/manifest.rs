//! The list of a song's segments, and what their decoder must be told.

use super::sound::Sound;
use super::wire::{Fault, Reader, put_number};
use super::{MANIFEST_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENTER, SEGMENTS_MAX, frames_max};

const VERSION: u8 = 1;
/// What a segment takes in a manifest at least: its hash, and three numbers.
const ENTRY_BYTES_MIN: usize = 32 + 3;

/// What a song's segments are: enough to fetch, check and decode any of them by itself.
///
/// Its wire form has one shape only, so it can be named by its hash: a version (1), the segmenter, the
/// codec (name, sample rate, channels, layout, bits, headers), the song's frames, the number of segments,
/// and of each its hash, bytes, frames and preroll. That is 40 bytes a segment: 59 KB for two hours, 300 KB if
/// they are 192 kHz and 24 bits, and never more than 1 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub(super) segmenter: u32,
    pub(super) sound: Sound,
    pub(super) frames: u64,
    pub(super) segments: Vec<SegmentInfo>,
}

/// A segment, as its manifest has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
    /// Its size.
    pub bytes: u32,
    /// The first frame of it, on the song's line: 0 is the first one that is heard.
    pub first_frame: u64,
    /// How many it has.
    pub frames: u64,
    /// How many its decoder puts out before the first of them, to be dropped.
    pub preroll_frames: u64,
}

impl SegmentInfo {
    /// The frame after its last one.
    pub fn end(&self) -> u64 {
        self.first_frame + self.frames
    }
}

/// Why bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Of a later Jam, most likely.
    #[error("this manifest is of version {0}, which is not known here; update jam")]
    UnknownVersion(u8),
    /// Not what was made.
    #[error("this is no manifest: {0}; fetch it again")]
    Damaged(&'static str),
}

impl From<Fault> for ManifestError {
    fn from(fault: Fault) -> Self {
        Self::Damaged(fault)
    }
}

impl Manifest {
    /// Which [`SEGMENTER`] cut it.
    pub fn segmenter(&self) -> u32 {
        self.segmenter
    }

    /// Whether this build would cut the song in the same way.
    pub fn is_current(&self) -> bool {
        self.segmenter == SEGMENTER
    }

    /// The codec: `mp3`, `mp2`, `aac`, `vorbis`, `opus`, `flac`, `alac`, or `pcm_` and how its samples are written.
    pub fn codec(&self) -> &'static str {
        self.sound.codec
    }

    /// Frames per second.
    pub fn sample_rate(&self) -> u32 {
        self.sound.sample_rate
    }

    /// Channels of the original. Decoded it is always stereo.
    pub fn channels(&self) -> u32 {
        self.sound.channels
    }

    /// The codec's own headers, as Matroska and MP4 have them; an Opus header's pre-skip is 0.
    pub fn extra_data(&self) -> &[u8] {
        &self.sound.extra_data
    }

    /// The song's exact length, trimmed.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that were decoded before the song's first one when the original was, as far as they matter: the
    /// first segment's preroll.
    pub fn leading_trim(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.preroll_frames)
    }

    /// All segments, in order: they leave no frame out, and none is in two of them.
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// Which segment holds a frame; `None` past the end.
    pub fn segment_at(&self, frame: u64) -> Option<usize> {
        let index = self.segments.partition_point(|segment| segment.end() <= frame);
        (index < self.segments.len()).then_some(index)
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = vec![VERSION];
        put_number(&mut to, u64::from(self.segmenter));
        self.sound.put(&mut to);
        put_number(&mut to, self.frames);
        put_number(&mut to, self.segments.len() as u64);
        for segment in &self.segments {
            to.extend_from_slice(&segment.hash);
            put_number(&mut to, u64::from(segment.bytes));
            put_number(&mut to, segment.frames);
            put_number(&mut to, segment.preroll_frames);
        }
        to
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// If the bytes are not exactly what [`Manifest::encode`] gives for some manifest.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::Damaged("it is too large"));
        }
        let mut from = Reader(bytes);
        match from.byte()? {
            VERSION => Ok(Self::take(&mut from)?),
            version => Err(ManifestError::UnknownVersion(version)),
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        let segmenter = from.number_32()?;
        let sound = Sound::take(from)?;
        let frames = from.number()?;
        // Each of them is there, so room for all is made on no one's word.
        let max = SEGMENTS_MAX.min(from.0.len() / ENTRY_BYTES_MIN);
        let count = from.size_to(max, "it has too many segments")?;
        let mut segments = Vec::with_capacity(count);
        let mut first_frame = 0;
        for _ in 0..count {
            let segment = SegmentInfo::take(from, first_frame, frames_max(sound.sample_rate))?;
            first_frame = segment.end();
            segments.push(segment);
        }
        if first_frame != frames || frames == 0 {
            return Err("its segments are not the song");
        }
        if !from.is_empty() {
            return Err("something follows it");
        }
        Ok(Self { segmenter, sound, frames, segments })
    }
}

impl SegmentInfo {
    fn take(from: &mut Reader<'_>, first_frame: u64, frames_max: u64) -> Result<Self, Fault> {
        let hash = from.bytes(32)?.try_into().map_err(|_| "it ends too early")?;
        let bytes = from.size_to(SEGMENT_BYTES_MAX, "a segment is too large")? as u32;
        let frames = from.number_to(frames_max, "a segment is too long")?;
        let preroll_frames = from.number_to(frames_max, "a preroll is too long")?;
        if frames == 0 {
            return Err("a segment is empty");
        }
        Ok(Self { hash, bytes, first_frame, frames, preroll_frames })
    }
}
