//! What sounds at which instant.
//!
//! A timeline is a short list of pieces. Each says: from this instant on, this entry, from this
//! position, with the clock running or not. What sounds at an instant is arithmetic on the piece
//! that holds it. Song lengths are exact, so the last piece also tells when its song ends, and
//! the queue tells what comes after it: the end of a song needs no message.

use std::collections::VecDeque;

use crate::event::Entry;
use crate::ids::EntryId;
use crate::limits;
use crate::room::queue::Queue;
use crate::time::{Flicks, SharedTime};

/// One stretch of a room's past, present or announced future.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// When it begins. It ends where the next piece begins.
    pub from: SharedTime,
    /// What is current; `None`: nothing is queued.
    pub entry: Option<Entry>,
    /// Where in the entry it begins.
    pub position: Flicks,
    /// Whether the clock runs.
    pub playing: bool,
}

impl Piece {
    /// When its song ends if nobody does anything.
    pub fn end(&self) -> Option<SharedTime> {
        let entry = self.entry.as_ref().filter(|_| self.playing)?;
        Some(self.from + (entry.length() - self.position))
    }
}

/// The pieces of a room, by `from`, without two at the same instant: what lasted no time was never heard.
/// They are few, however many commands come: each snapshot holds them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    past: VecDeque<Piece>,
    last: Piece,
}

impl Timeline {
    /// A timeline begins with one piece; before it there was silence.
    pub fn new(first: Piece) -> Self {
        Self { past: VecDeque::new(), last: first }
    }

    /// The piece that nothing known follows. It says what is current once all is in effect.
    pub fn last(&self) -> &Piece {
        &self.last
    }

    /// Every piece, by `from`.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.past.iter().chain([&self.last])
    }

    /// Goes on with another piece. One that begins where the last one did takes its place.
    pub fn push(&mut self, piece: Piece) {
        let before = std::mem::replace(&mut self.last, piece);
        if before.from < self.last.from {
            self.past.push_back(before);
            if self.past.len() > limits::PIECES_MAX {
                self.drop_shortest();
            }
        }
    }

    /// Drops the past piece that lasts the shortest, so that the one before it lasts on in its place:
    /// of those whose song lasts so long. What sounds once all is in effect is the last piece's, and stays.
    fn drop_shortest(&mut self) {
        let ends = |index: usize| self.piece(index + 1).map(|next| next.from);
        let lasts_on =
            |index: usize| self.past[index - 1].end().is_none_or(|end| Some(end) >= ends(index));
        let droppable = (1..self.past.len()).filter(|index| lasts_on(*index));
        let shortest =
            droppable.min_by_key(|index| ends(*index).map(|end| end.since(self.past[*index].from)));
        // Songs of a few frames each: then nothing may last on, and the oldest piece goes.
        self.past.remove(shortest.unwrap_or(0));
    }

    /// Forgets what ended long before `stamp`: no clock in the cluster is that far behind.
    pub fn prune(&mut self, stamp: SharedTime) {
        let kept_from = stamp - Flicks::from_secs(limits::PIECE_KEPT_SECS);
        while !self.past.is_empty() && self.piece(1).is_some_and(|next| next.from <= kept_from) {
            self.past.pop_front();
        }
    }

    /// Whether, on the pieces that are kept, another entry took the place of `entry` before its end.
    pub fn was_cut_short(&self, entry: EntryId) -> bool {
        let is = |piece: &Piece| piece.entry.as_ref().is_some_and(|its| its.id == entry);
        let pairs = self.pieces().zip(self.pieces().skip(1));
        pairs
            .filter(|(piece, next)| is(piece) && !is(next))
            .any(|(piece, next)| piece.end().is_none_or(|end| next.from < end))
    }

    fn piece(&self, index: usize) -> Option<&Piece> {
        self.past.get(index).or((index == self.past.len()).then_some(&self.last))
    }

    /// All that sounds from `time` on, `queue` following the last piece.
    pub fn spans<'a>(&'a self, queue: &'a Queue, time: SharedTime) -> Spans<'a> {
        let begun = self.past.partition_point(|piece| piece.from <= time)
            + usize::from(self.last.from <= time);
        let at = begun.checked_sub(1).map_or(At::Before, At::Piece);
        let mut spans = Spans { timeline: self, queue, at };
        // Songs that ended by themselves before `time` are passed over.
        let last = begun == self.past.len() + 1;
        if let Some(end) = self.last.end().filter(|end| last && *end <= time) {
            let (index, begin) = queue.sounding(time.since(end));
            spans.at = At::Queue { from: end + begin, index };
        }
        spans
    }
}

/// A stretch of time in which one entry sounds without a jump, or stands still, or nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it begins.
    pub from: SharedTime,
    /// When it ends by what is known now; `None`: it does not.
    pub until: Option<SharedTime>,
    /// What is current; `None`: nothing is.
    pub entry: Option<Entry>,
    /// The position in it at `from`.
    pub position: Flicks,
    /// Whether the clock runs.
    pub playing: bool,
}

impl Span {
    /// The position at an instant of this span.
    pub fn position_at(&self, time: SharedTime) -> Flicks {
        if self.playing && self.entry.is_some() {
            self.position + time.since(self.from)
        } else {
            self.position
        }
    }
}

/// The spans of a room from some instant on, in order. Each begins where the one before it ends.
#[derive(Clone, Debug)]
pub struct Spans<'a> {
    timeline: &'a Timeline,
    queue: &'a Queue,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Before the first piece.
    Before,
    /// In the piece of this index.
    Piece(usize),
    /// After the last piece's song ended: in the queue's song of this index, or past them all.
    Queue { from: SharedTime, index: usize },
    /// After what lasts for ever.
    End,
}

impl Spans<'_> {
    /// How many of the queue's entries have begun by the span that comes next: with the last
    /// piece's song, as many songs have ended by themselves.
    pub(crate) fn begun(&self) -> usize {
        match self.at {
            At::Queue { index, .. } => index + 1,
            At::Before | At::Piece(_) | At::End => 0,
        }
    }
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let span = match self.at {
            At::Before => {
                let first = self.timeline.piece(0).map(|piece| piece.from);
                Span {
                    from: SharedTime(i64::MIN),
                    until: first,
                    entry: None,
                    position: Flicks::ZERO,
                    playing: false,
                }
            }
            At::Piece(index) => {
                let piece = self.timeline.piece(index)?;
                let until = match self.timeline.piece(index + 1) {
                    Some(next) => Some(next.from),
                    None => piece.end(),
                };
                let Piece { from, position, playing, .. } = *piece;
                Span { from, until, entry: piece.entry.clone(), position, playing }
            }
            At::Queue { from, index } => {
                let entry = self.queue.get(index);
                Span {
                    from,
                    until: entry.as_ref().map(|entry| from + entry.length()),
                    entry,
                    position: Flicks::ZERO,
                    playing: true,
                }
            }
            At::End => return None,
        };
        self.at = match (self.at, span.until) {
            (_, None) => At::End,
            (At::Before, _) => At::Piece(0),
            (At::Piece(index), _) if index < self.timeline.past.len() => At::Piece(index + 1),
            (At::Queue { index, .. }, Some(end)) => At::Queue { from: end, index: index + 1 },
            (_, Some(end)) => At::Queue { from: end, index: 0 },
        };
        Some(span)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::event::Song;
    use crate::ids::TrackId;
    use crate::loudness::Gain;
    use crate::wire::v1::Track;

    fn entry(frames: u64) -> Entry {
        let track = Track { frames, sample_rate: 48_000, ..Default::default() };
        let song = Arc::new(Song::of(TrackId([0; 32]), &track));
        Entry { id: EntryId(frames), song, added_by: "".into(), gain: Gain(0) }
    }

    /// Seeks and pauses from 1 ms to 100 ms apart, in songs of 5 s and of 2 ms.
    fn piece() -> impl Strategy<Value = (i64, bool, i64, bool)> {
        (1..100i64, prop::bool::weighted(0.9), 0..5000i64, prop::bool::weighted(0.9))
    }

    fn sounding(timeline: &Timeline, time: SharedTime) -> Option<(Option<EntryId>, Flicks, bool)> {
        let queue = Queue::default();
        let span = timeline.spans(&queue, time).next()?;
        Some((span.entry.as_ref().map(|entry| entry.id), span.position_at(time), span.playing))
    }

    proptest! {
        #[test]
        fn a_burst_leaves_few_pieces_and_what_sounds_after_it(
            pieces in prop::collection::vec(piece(), 0..900),
            later in prop::collection::vec(0..8000i64, 4),
        ) {
            let silence = Piece { from: SharedTime(0), entry: None, position: Flicks::ZERO, playing: false };
            let mut timeline = Timeline::new(silence.clone());
            let mut all = vec![silence];
            let (long, short) = (entry(5 * 48_000), entry(96));
            for (wait, is_long, position, playing) in pieces {
                let last = timeline.last();
                // As a room plays on: a song ends where it ends.
                let next = last.from + Flicks::from_millis(wait);
                let from = last.end().map_or(next, |end| end.min(next));
                let (entry, position) =
                    if is_long { (&long, Flicks::from_millis(position)) } else { (&short, Flicks::ZERO) };
                let piece = Piece { from, entry: Some(entry.clone()), position, playing };
                timeline.push(piece.clone());
                all.push(piece);

                prop_assert!(timeline.past.len() <= limits::PIECES_MAX);
                prop_assert!(timeline.pieces().is_sorted_by(|one, next| one.from < next.from));
            }
            let last = all.last().expect("there is the silence");
            for later in later {
                let time = last.from + Flicks::from_millis(later);
                prop_assert_eq!(sounding(&timeline, time), sounding(&Timeline::new(last.clone()), time));
            }
            for (piece, next) in timeline.pieces().zip(timeline.pieces().skip(1)) {
                prop_assert!(all.contains(piece));
                prop_assert!(piece.end().is_none_or(|end| end >= next.from), "a song sounds past its end");
            }
        }
    }
}
