//! The song's line: its packets in order, each with the frames of it that are heard.

use std::ops::Range;

use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use crate::Refusal;
use crate::demux::{Demux, Placed};
use crate::inspect::cut_short;

/// A packet, and what of it is the song.
pub(crate) struct Piece {
    pub(super) placed: Placed,
    /// Frames that its decoder puts out before the song's.
    pub(super) lead: u64,
    /// The song's.
    pub(super) own: u64,
}

/// Frames that a packet's decoder puts out, as far as any of them may count.
pub(super) fn decoded(placed: &Placed) -> u64 {
    placed.skip + placed.frames
}

/// Where on the raw line the song lies, and how far packets were laid on it.
pub(crate) struct Ruler {
    song: Range<u64>,
    laid: u64,
}

impl Ruler {
    /// For a song of `frames` whose decoder puts out `delay` frames before it.
    pub(crate) fn new(delay: u64, frames: u64) -> Self {
        Self { song: delay..delay.saturating_add(frames), laid: 0 }
    }

    /// The end of the song, if packets were not laid up to it yet; else nothing.
    pub(crate) fn left(&self) -> Option<u64> {
        (self.laid < self.song.end).then_some(self.song.end)
    }

    /// Lays a packet that leaves no gap. Where two overlap the first one is heard.
    pub(crate) fn lay(&mut self, placed: Placed) -> Piece {
        let end = placed.start + placed.frames;
        let from = self.laid.max(self.song.start);
        let own = end.min(self.song.end).saturating_sub(from);
        let lead = if own > 0 { placed.skip + (from - placed.start) } else { 0 };
        self.laid = self.laid.max(end);
        Piece { placed, lead, own }
    }
}

/// Walks a container, and ends at the committed length. What the container lost, or does not have up to
/// there, is holes: packets without bytes, as [`Decoder`](crate::Decoder) has silence there.
pub(super) struct Line {
    demux: Demux,
    ruler: Ruler,
    /// A packet behind a hole.
    held: Option<Placed>,
    /// The longest hole.
    hole_max: u64,
}

impl Line {
    pub(super) fn of(demux: Demux, frames: u64) -> Self {
        let ruler = Ruler::new(demux.delay, frames);
        let hole_max = u64::from(demux.sample_rate());
        Self { demux, ruler, held: None, hole_max }
    }

    pub(super) fn next(&mut self) -> Result<Option<Piece>, Refusal> {
        let Some(end) = self.ruler.left() else { return Ok(None) };
        let placed = match self.held.take() {
            Some(placed) => Some(placed),
            None => self.demux.next().map_err(cut_short)?,
        };
        let placed = match placed {
            Some(placed) if placed.start <= self.ruler.laid => placed,
            late => {
                let until = late.as_ref().map_or(end, |placed| placed.start.min(end));
                self.held = late;
                self.hole((until - self.ruler.laid).min(self.hole_max))
            }
        };
        Ok(Some(self.ruler.lay(placed)))
    }

    fn hole(&self, frames: u64) -> Placed {
        let data: Box<[u8]> = Box::default();
        let packet = Packet::new(self.demux.track.id, Timestamp::ZERO, Duration::new(frames), data);
        Placed { packet, start: self.ruler.laid, frames, skip: 0, decoded: frames }
    }
}
