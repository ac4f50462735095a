//! A segment's frames as samples.

use std::sync::Arc;

use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::framing::{self, Packets, Place};
use super::wire::Fault;
use super::{Manifest, SegmentInfo, frames_max};
use crate::Refusal;
use crate::demux::Placed;
use crate::voice::Voice;

/// Decodes a song's segments, one at a time, in any order: always stereo, exactly the frames that the manifest
/// says.
///
/// What is read of a segment that was taken up by itself depends on its bytes and the manifest alone. One
/// that is taken up when the one before it was read to its end goes on with the decoder's state, as if the
/// song had never been cut.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (manifest, fetch) = (std::sync::Arc::new(jam_media::Manifest::decode(&[])?), |_| Vec::new());
/// let from = 220_500;
/// let index = manifest.segment_at(from).ok_or("past the end")?;
/// let mut song = jam_media::SegmentDecoder::new(manifest)?;
/// song.take(index, fetch(index))?;
/// song.seek(from);
/// let mut samples = [0.0; 2 * 1024];
/// let frames = song.read(&mut samples);
/// assert_eq!(song.position(), from + frames as u64);
/// # Ok(())
/// # }
/// ```
pub struct SegmentDecoder {
    manifest: Arc<Manifest>,
    voice: Voice,
    taken: Option<Taken>,
    /// The song's frame that is read next.
    position: u64,
    /// What a packet decoded to, interleaved.
    sound: Vec<f32>,
}

struct Taken {
    index: usize,
    info: SegmentInfo,
    bytes: Vec<u8>,
    /// The packet that is decoded next.
    next: Place,
    /// Frames of `sound`'s end, on the segment's own line: preroll first.
    decoded: u64,
}

/// Why bytes are not a certain segment of a song.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The song has fewer.
    #[error("the song has no segment {index}, only {segments}")]
    NoSuchSegment {
        /// Which was meant, from 0 on.
        index: usize,
        /// How many there are.
        segments: usize,
    },
    /// Cut off, or another one.
    #[error("segment {index} has {found} bytes, but {expected} by the manifest; fetch it again")]
    WrongSize {
        /// Which was meant.
        index: usize,
        /// Bytes that were given.
        found: usize,
        /// Bytes that it has.
        expected: u32,
    },
    /// Damaged, or another one.
    #[error("segment {index} is not what the manifest says; fetch it again")]
    WrongHash {
        /// Which was meant.
        index: usize,
    },
    /// It is what the manifest says, and makes no sense: a faulty node made both.
    #[error("segment {index} can't be read: {why}")]
    Damaged {
        /// Which was meant.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Manifest {
    /// Whether bytes are a segment of this song: by size and hash, and by their shape.
    pub fn check(&self, index: usize, bytes: &[u8]) -> Result<&SegmentInfo, SegmentError> {
        let segments = self.segments.len();
        let info =
            self.segments.get(index).ok_or(SegmentError::NoSuchSegment { index, segments })?;
        let (found, expected) = (bytes.len(), info.bytes);
        if found as u64 != u64::from(expected) {
            return Err(SegmentError::WrongSize { index, found, expected });
        }
        if blake3::hash(bytes) != info.hash {
            return Err(SegmentError::WrongHash { index });
        }
        let frames = info.preroll_frames + info.frames;
        framing::check(bytes, frames, frames_max(self.sample_rate()))
            .map_err(|why: Fault| SegmentError::Damaged { index, why })?;
        Ok(info)
    }
}

impl SegmentDecoder {
    /// A decoder for a song's segments; it has none yet.
    ///
    /// # Errors
    /// If there is no decoder for the manifest's codec and headers.
    pub fn new(manifest: Arc<Manifest>) -> Result<Self, Refusal> {
        let voice = Voice::new(&manifest.sound.params())?;
        Ok(Self { manifest, voice, taken: None, position: 0, sound: Vec::new() })
    }

    /// Takes up a segment. What is read next is its first frame.
    ///
    /// # Errors
    /// If the bytes are not that segment. The decoder stays where it was.
    pub fn take(&mut self, index: usize, bytes: Vec<u8>) -> Result<(), SegmentError> {
        let info = *self.manifest.check(index, &bytes)?;
        let goes_on = self.taken.as_ref().is_some_and(|before| {
            before.index.checked_add(1) == Some(index) && self.position == before.info.end()
        });
        // Packets without frames may be left, which the next one needs.
        while goes_on && self.decode_next() {}
        let mut taken = Taken { index, info, bytes, next: Place::default(), decoded: 0 };
        taken.next = taken.packets().place(&taken.bytes);
        if goes_on {
            taken.pass_preroll();
        } else {
            self.voice = fresh(&self.manifest);
        }
        self.taken = Some(taken);
        self.position = info.first_frame;
        self.sound.clear();
        Ok(())
    }

    /// The song's frame that [`SegmentDecoder::read`] gives next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to a frame of the song within the segment, or to its nearest end. Decodes all that is in between.
    pub fn seek(&mut self, frame: u64) {
        let Some(taken) = &mut self.taken else { return };
        let frame = frame.clamp(taken.info.first_frame, taken.info.end());
        if frame < self.position {
            (taken.next, taken.decoded) = (Place::default(), 0);
            taken.next = taken.packets().place(&taken.bytes);
            self.voice = fresh(&self.manifest);
            self.sound.clear();
        }
        self.position = frame;
    }

    /// Fills `out` with interleaved stereo frames and returns how many: all that fit, or all up to the
    /// segment's end. 0 only there. What does not decode is silence.
    pub fn read(&mut self, out: &mut [f32]) -> usize {
        let Some(info) = self.taken.as_ref().map(|taken| taken.info) else { return 0 };
        let left = usize::try_from(info.end() - self.position).unwrap_or(usize::MAX);
        let want = left.min(out.len() / 2);
        let mut done = 0;
        while done < want {
            let to = &mut out[done * 2..want * 2];
            let held = self.held(&info);
            let count = held.len().min(to.len());
            to[..count].copy_from_slice(&held[..count]);
            done += count / 2;
            self.position += count as u64 / 2;
            if count == 0 && !self.decode_next() {
                unreachable!("a segment that was checked has all its frames");
            }
        }
        want
    }

    /// Samples that are there already, from the position on.
    fn held(&self, info: &SegmentInfo) -> &[f32] {
        let Some(taken) = &self.taken else { return &[] };
        let at = info.preroll_frames + (self.position - info.first_frame);
        let left = taken.decoded.saturating_sub(at);
        let from =
            usize::try_from(left).ok().and_then(|left| self.sound.len().checked_sub(left * 2));
        from.map_or(&[], |from| &self.sound[from..])
    }

    /// Decodes a packet; `false` if there is none.
    fn decode_next(&mut self) -> bool {
        let Some(taken) = &mut self.taken else { return false };
        let mut packets = Packets::from(&taken.bytes, taken.next);
        let Ok(Some(packet)) = packets.next() else { return false };
        let frames = packet.frames;
        let data = Packet::new(0, Timestamp::ZERO, Duration::new(frames), packet.data);
        taken.next = packets.place(&taken.bytes);
        taken.decoded += frames;
        self.sound.clear();
        let placed = Placed { packet: data, start: 0, frames, skip: 0, decoded: frames };
        self.voice.decode(&placed, &mut self.sound);
        true
    }
}

/// A voice that has heard nothing. One that was reset may have: AAC's noise goes on.
fn fresh(manifest: &Manifest) -> Voice {
    Voice::new(&manifest.sound.params()).expect("one was made before")
}

impl Taken {
    fn packets(&self) -> Packets<'_> {
        Packets::of(&self.bytes).expect("the segment was checked")
    }

    /// Leaves out the packets that were decoded as the end of the segment before.
    fn pass_preroll(&mut self) {
        let mut packets = self.packets();
        let (mut next, mut decoded) = (self.next, 0);
        while let Ok(Some(packet)) = packets.next() {
            if decoded + packet.frames > self.info.preroll_frames {
                break;
            }
            decoded += packet.frames;
            next = packets.place(&self.bytes);
        }
        (self.next, self.decoded) = (next, decoded);
    }
}
