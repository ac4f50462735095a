//! The song's line: its packets in order, each with the frames of it that are heard.

use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use crate::Refusal;
use crate::demux::{Demux, Placed};
use crate::inspect::cut_short;

/// A packet, and what of it is the song.
pub(super) struct Piece {
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

/// Walks a container, and ends at the committed length. What the container lost, or does not have up to
/// there, is holes: packets without bytes, as [`Decoder`](crate::Decoder) has silence there.
pub(super) struct Line {
    demux: Demux,
    /// On the raw line: as far as it was walked, and where the song ends.
    laid: u64,
    end: u64,
    /// A packet behind a hole.
    held: Option<Placed>,
    /// The longest hole.
    hole_max: u64,
}

impl Line {
    pub(super) fn of(demux: Demux, frames: u64) -> Self {
        let end = demux.delay.saturating_add(frames);
        let hole_max = u64::from(demux.sample_rate());
        Self { demux, laid: 0, end, held: None, hole_max }
    }

    pub(super) fn next(&mut self) -> Result<Option<Piece>, Refusal> {
        if self.laid >= self.end {
            return Ok(None);
        }
        let placed = match self.held.take() {
            Some(placed) => Some(placed),
            None => self.demux.next().map_err(cut_short)?,
        };
        let placed = match placed {
            Some(placed) if placed.start <= self.laid => placed,
            late => {
                let until = late.as_ref().map_or(self.end, |placed| placed.start.min(self.end));
                self.held = late;
                self.hole((until - self.laid).min(self.hole_max))
            }
        };
        // Where two overlap the first one is heard.
        let from = self.laid.max(self.demux.delay);
        let to = (placed.start + placed.frames).min(self.end);
        let own = to.saturating_sub(from);
        let lead = if own > 0 { placed.skip + (from - placed.start) } else { 0 };
        self.laid = self.laid.max(placed.start + placed.frames);
        Ok(Some(Piece { placed, lead, own }))
    }

    fn hole(&self, frames: u64) -> Placed {
        let data: Box<[u8]> = Box::default();
        let packet = Packet::new(self.demux.track.id, Timestamp::ZERO, Duration::new(frames), data);
        Placed { packet, start: self.laid, frames, skip: 0, decoded: frames }
    }
}
