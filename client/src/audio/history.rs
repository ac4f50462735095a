//! What was rendered lately: what sounds now, and what may still be taken back.

use std::collections::VecDeque;

use jam_proto::room::Room;

use super::PlayerState;
use super::link::{Block, CHANNELS};
use super::plan::{Due, Playhead};

/// One block that was rendered in one go.
pub struct Piece {
    /// Its device frames and their sound.
    pub block: Block,
    /// The playhead at its first frame.
    pub playhead: Playhead,
    /// Flicks on the room's time line for each device frame.
    pub step: f64,
    /// What was due.
    pub due: Due,
    /// What became of it.
    pub state: PlayerState,
    /// The quality of what sounds.
    pub kbps: Option<u32>,
}

impl Piece {
    /// The playhead at a device frame in it.
    pub fn playhead_at(&self, frame: u64) -> Playhead {
        self.playhead.after((frame as i64 - self.block.start as i64) as f64 * self.step)
    }

    /// Whether it is silent for want of a song.
    pub fn wants_song(&self) -> bool {
        self.due.sounding().is_some() && self.state != PlayerState::Playing
    }

    /// Whether it is what the room says now.
    pub fn fits(&self, room: &Room) -> bool {
        let (due, until) = Due::at(room, self.playhead.time());
        let last = self.playhead_at(self.block.end() - 1);
        due == self.due && until.is_none_or(|until| last.since(until) < 0.0)
    }
}

/// Pieces in order, without overlap.
#[derive(Default)]
pub struct History {
    pieces: VecDeque<Piece>,
}

impl History {
    /// Adds the latest piece.
    pub fn push(&mut self, piece: Piece) {
        self.pieces.push_back(piece);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.pieces.clear();
    }

    /// The latest piece.
    pub fn last(&self) -> Option<&Piece> {
        self.pieces.back()
    }

    /// The piece that a device frame lies in.
    pub fn at(&self, frame: u64) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.block.end() <= frame);
        self.pieces.get(after).filter(|piece| piece.block.start <= frame)
    }

    /// Pieces that sound at `frame` or later.
    pub fn from(&self, frame: u64) -> impl Iterator<Item = &Piece> {
        let after = self.pieces.partition_point(|piece| piece.block.end() <= frame);
        self.pieces.range(after..)
    }

    /// Forgets what ended before `frame`.
    pub fn forget_before(&mut self, frame: u64) {
        while self.pieces.front().is_some_and(|piece| piece.block.end() <= frame) {
            self.pieces.pop_front();
        }
    }

    /// Takes back everything from `frame` on. The sound of its first frames goes to `tail`, as
    /// many as fit.
    pub fn take_back(&mut self, frame: u64, tail: &mut [f32]) {
        tail.fill(0.0);
        let tail_frames = (tail.len() / CHANNELS) as u64;
        for piece in self.from(frame) {
            let from = piece.block.start.max(frame);
            let to = piece.block.end().min(frame + tail_frames);
            if from >= to {
                break;
            }
            let samples = |start: u64, end: u64, base: u64| {
                (start - base) as usize * CHANNELS..(end - base) as usize * CHANNELS
            };
            tail[samples(from, to, frame)]
                .copy_from_slice(&piece.block.audio[samples(from, to, piece.block.start)]);
        }
        while let Some(last) = self.pieces.back_mut() {
            if last.block.start >= frame {
                self.pieces.pop_back();
                continue;
            }
            let keep = last.block.end().min(frame) - last.block.start;
            last.block.frames = keep as u16;
            break;
        }
    }
}
