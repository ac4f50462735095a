//! Any part of a song as samples, to the frame.

use std::collections::VecDeque;

use symphonia::core::errors::Error;

use crate::cover::Pictures;
use crate::demux::{Demux, Placed};
use crate::preroll::Preroll;
use crate::voice::Voice;
use crate::{Refusal, Source};

/// Decodes a committed song: always stereo, always of exactly its committed length.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut song = jam_media::Decoder::open(jam_media::file("song.mp3".as_ref())?, 441_000, 44_100)?;
/// song.seek(220_500);
/// let mut samples = [0.0; 2 * 1024];
/// let frames = song.read(&mut samples);
/// assert_eq!(song.position(), 220_500 + frames as u64);
/// # Ok(())
/// # }
/// ```
pub struct Decoder {
    demux: Demux,
    voice: Voice,
    preroll: Preroll,
    committed: u64,
    position: u64,
    /// Decoded sound, interleaved, from raw frame `sound_from` on.
    sound: Vec<f32>,
    sound_from: u64,
    ended: bool,
    failure: Option<String>,
}

/// A jump ahead of less than this many frames is decoded through.
const NEAR_FRAMES: u64 = 8192;

impl Decoder {
    /// Opens a song that was committed with this length and rate.
    ///
    /// # Errors
    /// If the bytes are not such a song. What was refused at ingest is refused here too, as far as the headers
    /// tell; what is broken further on is silence.
    pub fn open(source: Source, committed_frames: u64, sample_rate: u32) -> Result<Self, Refusal> {
        let mut demux = Demux::open(source)?;
        // Megabytes that nobody looks at while it plays.
        demux.pictures = Pictures::default();
        let found = demux.sample_rate();
        if found != sample_rate {
            return Err(Refusal::OtherRate { found, committed: sample_rate });
        }
        let voice = Voice::new(&demux.params)?;
        Ok(Self {
            preroll: Preroll::of(demux.params.codec),
            demux,
            voice,
            committed: committed_frames,
            position: 0,
            sound: Vec::new(),
            sound_from: 0,
            ended: false,
            failure: None,
        })
    }

    /// The song's frame that [`Decoder::read`] gives next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The committed length.
    pub fn frames(&self) -> u64 {
        self.committed
    }

    /// Why the rest of the song is silence, if reading it failed.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Fills `out` with interleaved stereo frames and returns how many: all that fit, or all up to the
    /// song's end. 0 only there. What can't be read or decoded is silence.
    pub fn read(&mut self, out: &mut [f32]) -> usize {
        let left = usize::try_from(self.committed - self.position).unwrap_or(usize::MAX);
        let want = left.min(out.len() / 2);
        let mut done = 0;
        while done < want {
            let raw = self.demux.delay + self.position;
            let to = &mut out[done * 2..want * 2];
            let given = if raw < self.sound_from {
                // Lost by the container: as long as it says.
                let gap = usize::try_from(self.sound_from - raw).unwrap_or(usize::MAX);
                let gap = gap.min(to.len() / 2);
                to[..gap * 2].fill(0.0);
                gap
            } else if let Some(held) = self.held_from(raw) {
                let count = held.len().min(to.len());
                to[..count].copy_from_slice(&held[..count]);
                count / 2
            } else if self.ended {
                to.fill(0.0);
                to.len() / 2
            } else {
                self.decode_next();
                0
            };
            done += given;
            self.position += given as u64;
        }
        want
    }

    /// Goes to a frame: what is read there is what reading from the start gives there. Past the end
    /// is the end.
    pub fn seek(&mut self, frame: u64) {
        self.position = frame.min(self.committed);
        let target = self.demux.delay + self.position;
        let ahead = self.demux.next_frame();
        let near = (ahead..ahead + NEAR_FRAMES).contains(&target) && !self.ended;
        if self.held_from(target).is_some() || near {
            return;
        }
        if let Err(refusal) = self.go_to(target) {
            self.failure = Some(refusal.to_string());
            self.ended = true;
        }
    }

    fn go_to(&mut self, target: u64) -> Result<(), Refusal> {
        let jumped = self.preroll == Preroll::None && self.demux.jump(target);
        if !jumped && (self.ended || target < self.demux.next_frame()) {
            self.demux.rewind()?;
        }
        let mut before = self.packets_before(target);
        if jumped && before.front().is_none_or(|first| first.start > target) {
            // The container's own search missed. Counting from the start never does.
            self.demux.rewind()?;
            before = self.packets_before(target);
        }
        self.voice.reset();
        self.sound.clear();
        self.sound_from = 0;
        for placed in &before {
            self.decode(placed);
        }
        Ok(())
    }

    /// The packet that holds `target` and those before it that the decoder needs.
    fn packets_before(&mut self, target: u64) -> VecDeque<Placed> {
        let mut packets = VecDeque::new();
        self.ended = false;
        while let Some(placed) = self.next_packet() {
            let reached = placed.start + placed.frames > target;
            if !reached || placed.start <= target {
                self.preroll.trim(&mut packets);
            }
            packets.push_back(placed);
            if reached {
                break;
            }
        }
        packets
    }

    fn decode_next(&mut self) {
        if let Some(placed) = self.next_packet() {
            self.decode(&placed);
        }
    }

    fn decode(&mut self, placed: &Placed) {
        self.sound.clear();
        self.sound_from = placed.start;
        self.voice.decode(placed, &mut self.sound);
    }

    fn next_packet(&mut self) -> Option<Placed> {
        match self.demux.next() {
            Ok(Some(placed)) => return Some(placed),
            Ok(None) => {}
            Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) => self.failure = Some(error.to_string()),
        }
        self.ended = true;
        None
    }

    fn held_from(&self, raw: u64) -> Option<&[f32]> {
        let from = usize::try_from(raw.checked_sub(self.sound_from)?).ok()?.checked_mul(2)?;
        self.sound.get(from..).filter(|held| !held.is_empty())
    }
}
