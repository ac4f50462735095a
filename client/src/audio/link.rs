//! Between the renderer and the device's callback: lock-free, and addressed by device frame.
//!
//! Blocks of sound say at which device frame they begin. So a late block loses exactly what is
//! late, a missing one is a hole of exactly its length, and what sounds afterwards is still in its
//! place. The renderer can take back what it sent ([`Line::cut`]): from a frame on, blocks of the
//! former generation count for nothing. Each cut lies after the one before it has been passed, so
//! no block is older than that.
//!
//! [`Feed`] is what runs in the callback: no lock, no allocation, no logging, and bounded work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

/// Frames in a block at most: 2.7 ms at 48 kHz.
pub const BLOCK_FRAMES: usize = 128;
/// Stereo.
pub const CHANNELS: usize = 2;
/// Blocks in the ring at up to 48 kHz: what is rendered ahead, and room for as much again that was taken back.
const BLOCKS: usize = 384;
const BLOCKS_RATE: u32 = 48_000;
const STAMPS: usize = 1024;

/// Rendered sound for device frames `start..start + frames`.
#[derive(Clone, Copy)]
pub struct Block {
    /// Its first device frame.
    pub start: u64,
    /// How many frames it holds.
    pub frames: u16,
    /// The generation that it belongs to, which [`Line::push`] sets.
    generation: u16,
    /// Interleaved stereo.
    pub audio: [f32; BLOCK_FRAMES * CHANNELS],
}

impl Block {
    /// Silence of no frames at `start`.
    pub const fn empty(start: u64) -> Self {
        Self { start, frames: 0, generation: 0, audio: [0.0; BLOCK_FRAMES * CHANNELS] }
    }

    /// One past its last frame.
    pub fn end(&self) -> u64 {
        self.start + u64::from(self.frames)
    }
}

/// One callback: the device asked for `frames` frames from `frame` on, the first of which sounds
/// at `at_ns` by the device's clock.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// First frame asked for.
    pub frame: u64,
    /// How many were.
    pub frames: u32,
    /// When the first one sounds, by the device's clock.
    pub at_ns: i64,
    /// How often the device had run out of sound until then; after that its frames sound later
    /// than before.
    pub xruns: u64,
    /// Frames until then that were played without any sound of ours: none was there yet, or the device went on without us.
    pub empty: u64,
    /// How often its sound had gone to another output until then: a line of stamps of its own, but no hole.
    pub moves: u64,
}

#[derive(Default)]
struct Shared {
    /// Generation in the upper 16 bits; below, the device frame from which on older blocks count
    /// for nothing.
    cut: AtomicU64,
    /// Frames that were asked for and not there, since the renderer said that it feeds.
    missing: AtomicU64,
    feeding: AtomicBool,
    xruns: AtomicU64,
    moves: AtomicU64,
    /// f32 bits.
    gain: AtomicU32,
}

const FRAME_BITS: u32 = 48;

/// The renderer's end.
pub struct Line {
    blocks: Producer<Block>,
    stamps: Consumer<Stamp>,
    shared: Arc<Shared>,
    generation: u16,
}

/// The callback's end.
pub struct Feed {
    blocks: Consumer<Block>,
    stamps: Producer<Stamp>,
    shared: Arc<Shared>,
    next: u64,
    /// Frames so far that had no sound.
    empty: u64,
    gain: f32,
    gain_step: f32,
}

/// Lets a device's error callback say what happened to its sound.
#[derive(Clone)]
pub struct Mishaps(Arc<Shared>);

/// Full scale in 20 ms: quick to the ear, without a click.
const GAIN_RAMP_S: f32 = 0.02;

/// A new link for a device of `rate` frames a second, with `gain` to begin with.
pub fn link(rate: u32, gain: f32) -> (Line, Feed) {
    let (to_feed, blocks) = RingBuffer::new(BLOCKS * rate.div_ceil(BLOCKS_RATE).max(1) as usize);
    let (to_line, stamps) = RingBuffer::new(STAMPS);
    let shared = Arc::new(Shared { gain: AtomicU32::new(gain.to_bits()), ..Shared::default() });
    let line = Line { blocks: to_feed, stamps, shared: Arc::clone(&shared), generation: 0 };
    let gain_step = 1.0 / (GAIN_RAMP_S * rate as f32);
    (line, Feed { blocks, stamps: to_line, shared, next: 0, empty: 0, gain, gain_step })
}

impl Line {
    /// Whether another block fits.
    pub fn has_room(&self) -> bool {
        !self.blocks.is_full()
    }

    /// Sends a block; it is lost if there is no room.
    pub fn push(&mut self, block: &Block) {
        let block = Block { generation: self.generation, ..*block };
        // Full only if the device stands still, which the next stamps will tell.
        let _ = self.blocks.push(block);
    }

    /// What is sent from now on is of a new generation, to replace what was sent before from the
    /// next [`Line::cut`] on.
    pub fn take_back(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// From `frame` on only the latest generation counts. Not again before the device has passed
    /// that frame.
    pub fn cut(&mut self, frame: u64) {
        let cut = u64::from(self.generation) << FRAME_BITS | frame;
        self.shared.cut.store(cut, Ordering::Release);
    }

    /// The next stamp, oldest first.
    pub fn stamp(&mut self) -> Option<Stamp> {
        self.stamps.pop().ok()
    }

    /// Says whether frames without sound are holes (or just nothing to play).
    pub fn set_feeding(&self, feeding: bool) {
        self.shared.feeding.store(feeding, Ordering::Relaxed);
    }

    /// Frames of all holes so far.
    pub fn missing(&self) -> u64 {
        self.shared.missing.load(Ordering::Relaxed)
    }

    /// The volume to move to.
    pub fn set_gain(&self, gain: f32) {
        self.shared.gain.store(gain.to_bits(), Ordering::Relaxed);
    }
}

impl Feed {
    /// For the error callback.
    pub fn mishaps(&self) -> Mishaps {
        Mishaps(Arc::clone(&self.shared))
    }

    /// The next device frame.
    pub fn next_frame(&self) -> u64 {
        self.next
    }

    /// The device went on to `frame` without us.
    pub fn skip_to(&mut self, frame: u64) {
        self.miss(frame.saturating_sub(self.next));
        self.next = self.next.max(frame);
    }

    /// The device asks for `frames` frames, of which the first sounds at `at_ns` by its clock.
    pub fn stamp(&mut self, frames: usize, at_ns: i64) {
        let xruns = self.shared.xruns.load(Ordering::Relaxed);
        let moves = self.shared.moves.load(Ordering::Relaxed);
        // A full ring means that the renderer has been asleep for long; it can do without these
        // stamps.
        let (frame, frames) = (self.next, frames as u32);
        let _ = self.stamps.push(Stamp { frame, frames, at_ns, xruns, empty: self.empty, moves });
    }

    /// Fills interleaved stereo, with silence where nothing is there.
    pub fn fill(&mut self, out: &mut [f32]) {
        let cut = self.shared.cut.load(Ordering::Acquire);
        let (generation, cut_at) = ((cut >> FRAME_BITS) as u16, cut & ((1 << FRAME_BITS) - 1));
        let mut done = 0;
        let frames = out.len() / CHANNELS;
        let mut missing = 0;
        while done < frames {
            let at = self.next + done as u64;
            let left = frames - done;
            // Every turn drops a block or fills frames.
            let Ok(block) = self.blocks.peek() else {
                out[done * CHANNELS..].fill(0.0);
                missing += left;
                break;
            };
            // The one before the latest cut ends there; one that is newer is about to be cut in.
            let outdated = block.generation == generation.wrapping_sub(1);
            let end = if outdated { block.end().min(cut_at) } else { block.end() };
            if end <= at {
                let _ = self.blocks.pop();
                continue;
            }
            if block.start > at {
                let silent = left.min((block.start - at) as usize);
                out[done * CHANNELS..(done + silent) * CHANNELS].fill(0.0);
                missing += silent;
                done += silent;
                continue;
            }
            let take = left.min((end - at) as usize);
            let from = (at - block.start) as usize * CHANNELS;
            out[done * CHANNELS..(done + take) * CHANNELS]
                .copy_from_slice(&block.audio[from..from + take * CHANNELS]);
            done += take;
        }
        self.next += frames as u64;
        self.miss(missing as u64);
        self.apply_gain(out);
    }

    fn miss(&mut self, frames: u64) {
        self.empty += frames;
        if frames > 0 && self.shared.feeding.load(Ordering::Relaxed) {
            self.shared.missing.fetch_add(frames, Ordering::Relaxed);
        }
    }

    fn apply_gain(&mut self, out: &mut [f32]) {
        let wanted = f32::from_bits(self.shared.gain.load(Ordering::Relaxed));
        if self.gain == wanted {
            if wanted != 1.0 {
                out.iter_mut().for_each(|sample| *sample *= wanted);
            }
            return;
        }
        for frame in out.chunks_exact_mut(CHANNELS) {
            self.gain += (wanted - self.gain).clamp(-self.gain_step, self.gain_step);
            frame.iter_mut().for_each(|sample| *sample *= self.gain);
        }
    }
}

impl Mishaps {
    /// The device ran out of sound.
    pub fn ran_out(&self) {
        self.0.xruns.fetch_add(1, Ordering::Relaxed);
    }

    /// The sound goes to another output from now on.
    pub fn moved(&self) {
        self.0.moves.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(start: u64, frames: u16, value: f32) -> Block {
        Block { start, frames, generation: 0, audio: [value; BLOCK_FRAMES * CHANNELS] }
    }

    fn left(feed: &mut Feed, frames: usize) -> Vec<f32> {
        let mut out = vec![9.0; frames * CHANNELS];
        feed.fill(&mut out);
        out.chunks(CHANNELS).map(|frame| frame[0]).collect()
    }

    #[test]
    fn blocks_sound_at_their_frames() {
        let (mut line, mut feed) = link(48_000, 1.0);
        line.set_feeding(true);
        line.push(&block(0, 2, 0.1));
        line.push(&block(3, 2, 0.2));
        assert_eq!(left(&mut feed, 6), [0.1, 0.1, 0.0, 0.2, 0.2, 0.0]);
        assert_eq!(line.missing(), 2);
    }

    #[test]
    fn late_sound_is_dropped_to_the_frame() {
        let (mut line, mut feed) = link(48_000, 1.0);
        line.set_feeding(true);
        assert_eq!(left(&mut feed, 3), [0.0; 3]);
        line.push(&block(0, 2, 0.1));
        line.push(&block(2, 3, 0.2));
        assert_eq!(left(&mut feed, 2), [0.2, 0.2]);
        feed.skip_to(7);
        line.push(&block(5, 4, 0.3));
        assert_eq!(left(&mut feed, 2), [0.3, 0.3]);
        assert_eq!(line.missing(), 5);
    }

    #[test]
    fn what_was_taken_back_does_not_sound() {
        let (mut line, mut feed) = link(48_000, 1.0);
        line.push(&block(0, 4, 0.1));
        line.push(&block(4, 4, 0.2));
        line.take_back();
        line.push(&block(2, 3, 0.5));
        line.cut(2);
        assert_eq!(left(&mut feed, 6), [0.1, 0.1, 0.5, 0.5, 0.5, 0.0]);
    }

    #[test]
    fn the_volume_moves_without_a_step() {
        let (mut line, mut feed) = link(1000, 1.0);
        line.push(&block(0, 100, 1.0));
        line.set_gain(0.0);
        let sound = left(&mut feed, 40);
        assert!(sound.windows(2).all(|pair| pair[0] - pair[1] <= 0.051), "{sound:?}");
        assert_eq!(sound[30], 0.0);
    }

    #[test]
    fn stamps_name_the_frames() {
        let (mut line, mut feed) = link(48_000, 1.0);
        feed.stamp(3, 1000);
        left(&mut feed, 3);
        feed.mishaps().ran_out();
        feed.mishaps().moved();
        feed.stamp(5, 2000);
        let first = line.stamp().expect("a stamp");
        assert_eq!((first.frame, first.frames, first.at_ns, first.xruns), (0, 3, 1000, 0));
        let second = line.stamp().expect("a stamp");
        assert_eq!((second.frame, second.xruns, second.moves), (3, 1, 1));
        assert_eq!((first.empty, second.empty), (0, 3), "nothing was there to play");
        assert!(line.stamp().is_none());
    }
}
