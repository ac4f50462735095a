//! What anybody can ask of a room.

use std::collections::BTreeSet;

use super::{LastAction, Room, Sounding, Spans};
use crate::event::Entry;
use crate::ids::{EntryId, Revision, RoomCode};
use crate::time::{Flicks, SharedTime};

impl Room {
    /// What sounds at `time`, also in the future (by what is known) and up to 10 s back.
    pub fn at(&self, time: SharedTime) -> Sounding {
        match self.spans(time).next() {
            Some(span) => Sounding {
                position: span.position_at(time),
                entry: span.entry,
                playing: span.playing,
                until: span.until,
            },
            None => Sounding { entry: None, position: Flicks::ZERO, playing: false, until: None },
        }
    }

    /// All that sounds from `time` on by what is known, in order: the span that holds `time`, and what follows it.
    pub fn spans(&self, time: SharedTime) -> Spans<'_> {
        self.timeline.spans(&self.upcoming, time)
    }

    /// What follows the current song at `time`, in order: at most `count` entries with the instants
    /// at which they start (`None` while paused).
    pub fn next_after(&self, time: SharedTime, count: usize) -> Vec<(Option<SharedTime>, Entry)> {
        let mut spans = self.spans(time);
        let mut before = spans.next().and_then(|span| span.entry).map(|entry| entry.id);
        let mut starts: Vec<(Option<SharedTime>, Entry)> = Vec::new();
        for span in spans {
            let start = span.playing.then_some(span.from);
            let id = span.entry.as_ref().map(|entry| entry.id);
            match (span.entry, starts.last_mut()) {
                // It was announced standing still, and this is where its clock starts.
                (Some(entry), Some(listed)) if listed.1.id == entry.id && listed.0.is_none() => {
                    listed.0 = start
                }
                (Some(entry), _) if id != before => {
                    if starts.len() == count {
                        return starts;
                    }
                    starts.push((start, entry));
                }
                _ => {}
            }
            before = id;
        }
        if !self.is_playing() {
            // Where the clock stands, the queue waits.
            let left = count.saturating_sub(starts.len());
            starts.extend(self.upcoming.iter().take(left).map(|entry| (None, entry)));
        }
        starts
    }

    /// The queue at `time`, the current entry first.
    pub fn queue_at(&self, time: SharedTime) -> Vec<Entry> {
        let mut listed = BTreeSet::new();
        let following = self.next_after(time, usize::MAX).into_iter().map(|(_, entry)| entry);
        // An announced `back` can bring up an entry twice.
        self.at(time)
            .entry
            .into_iter()
            .chain(following)
            .filter(|entry| listed.insert(entry.id))
            .collect()
    }

    /// How many entries the queue has at `time`, the current one included; before the last event takes effect, how many it
    /// will have then.
    pub fn queue_len_at(&self, time: SharedTime) -> usize {
        let standing = self.standing(time);
        standing.waiting() + usize::from(standing.current_id().is_some())
    }

    /// An entry that is queued, played or leaving.
    pub fn entry(&self, id: EntryId) -> Option<Entry> {
        let pieces = self.timeline.pieces().filter_map(|piece| piece.entry.as_ref());
        let upcoming = self.upcoming.index_of(id).and_then(|index| self.upcoming.get(index));
        upcoming.or_else(|| pieces.chain(&self.history).find(|entry| entry.id == id).cloned())
    }

    /// What was played, oldest first, as of the last event.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.history.iter()
    }

    /// Its code.
    pub fn code(&self) -> &RoomCode {
        &self.code
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who made it.
    pub fn created_by(&self) -> &str {
        &self.created_by
    }

    /// How many events it had.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// From when on its last event can be heard. Never falls.
    pub fn last_effective(&self) -> SharedTime {
        self.last_effective
    }

    /// Whether the clock runs once all events are in effect. A dry room can be playing: the next song starts at once.
    pub fn is_playing(&self) -> bool {
        self.timeline.last().playing
    }

    /// Current and upcoming entries as of the last event; songs that ended since are still counted.
    pub fn entries(&self) -> usize {
        self.upcoming.len() + usize::from(self.timeline.last().entry.is_some())
    }

    /// All entries that it keeps: queued, current, remembered, or only with a place on the timeline. What it takes is about in
    /// proportion.
    pub fn entries_kept(&self) -> usize {
        self.entries() + self.history.len() + self.leaving().count()
    }

    /// Who last changed what sounds, and how.
    pub fn last_action(&self) -> Option<&LastAction> {
        self.last_action.as_ref()
    }

    /// While the clock stands: who stopped it. `None` in a room that was never played.
    pub fn stopped(&self) -> Option<&LastAction> {
        self.stopped.as_ref()
    }
}
