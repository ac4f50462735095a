//! A room: a pure function of its events and of time.
//!
//! A node judges a command against its copy ([`Room::judge`]), makes an event of what it allows,
//! and folds that event ([`Room::fold`]). A client folds the very same events with the very same
//! code, so both hold equal rooms, and both work out by arithmetic what sounds when
//! ([`Room::at`], [`Room::spans`]).
//!
//! Songs end by themselves. A room takes note of it when the next event is folded: it then *plays
//! on* to the event's `effective_at`, moving ended songs to the history, before it changes what the
//! event says. Whether it had played on in several steps before makes no difference.

mod judge;
mod level;
mod look;
mod parts;
pub(crate) mod queue;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;

use crate::event::{Entry, Event, EventKind};
use crate::ids::{EntryId, Revision, RoomCode, TrackId};
use crate::limits;
use crate::time::{Flicks, SharedTime};
use crate::timeline::{Piece, Timeline};
pub use crate::timeline::{Span, Spans};
pub use parts::Parts;
use queue::Queue;

/// One room. Nodes and clients hold the same type and fold the same events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    code: RoomCode,
    name: String,
    created_by: String,
    revision: Revision,
    last_effective: SharedTime,
    next_entry: u64,
    /// Its last piece says what is current and whether the clock runs.
    timeline: Timeline,
    upcoming: Queue,
    /// Oldest first.
    history: VecDeque<Entry>,
    last_action: Option<LastAction>,
    stopped: Option<LastAction>,
}

/// Who last changed what sounds or clears the way for it, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAction {
    /// Who; empty: the cluster itself.
    pub by: String,
    /// What they did.
    pub what: Action,
    /// From when on it could be heard.
    pub at: SharedTime,
}

/// What someone did to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Started the clock.
    Played,
    /// Stopped it.
    Paused,
    /// The cluster stopped it: nobody had listened for a minute.
    PausedNobodyListening,
    /// Ended a song early.
    Skipped,
    /// Moved within a song.
    Sought,
    /// Went to the song before.
    WentBack,
    /// Took an entry out.
    Removed,
    /// Took all upcoming entries out.
    Cleared,
}

/// What sounds at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sounding {
    /// The current entry; `None`: the queue is dry.
    pub entry: Option<Entry>,
    /// The position in it; below its length.
    pub position: Flicks,
    /// Whether the clock runs.
    pub playing: bool,
    /// Until when this stays true by what is known now (end of song, next piece); `None`: for ever.
    pub until: Option<SharedTime>,
}

/// An event that does not fit on the room as known: one was missed or came twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {got:?} does not follow revision {have:?}")]
pub struct OutOfOrder {
    /// The room's revision.
    pub have: Revision,
    /// The event's.
    pub got: Revision,
}

impl Room {
    /// The room that a `Created` event begins, dry and paused; `None` for any other event.
    pub fn begin(event: &Event) -> Option<Self> {
        let EventKind::Created { code, name } = &event.kind else { return None };
        let silence =
            Piece { from: event.effective_at, entry: None, position: Flicks::ZERO, playing: false };
        Some(Self {
            code: code.clone(),
            name: name.clone(),
            created_by: event.by.clone(),
            revision: event.revision,
            last_effective: event.effective_at,
            next_entry: 1,
            timeline: Timeline::new(silence),
            upcoming: Queue::default(),
            history: VecDeque::new(),
            last_action: None,
            stopped: None,
        })
    }

    /// Folds one event: plays on to its `effective_at`, then changes what it says.
    ///
    /// An event that names what is not there (only a faulty node could send one) counts, but changes nothing else.
    pub fn fold(&mut self, event: &Event) -> Result<(), OutOfOrder> {
        self.fold_and_tell(event, &mut Vec::new())
    }

    /// As [`Room::fold`]; adds to `gone` the tracks of entries that are now neither queued nor remembered, one for each entry.
    pub(crate) fn fold_and_tell(
        &mut self,
        event: &Event,
        gone: &mut Vec<TrackId>,
    ) -> Result<(), OutOfOrder> {
        if event.revision.0.checked_sub(1) != Some(self.revision.0) {
            return Err(OutOfOrder { have: self.revision, got: event.revision });
        }
        let at = event.effective_at.max(self.last_effective);
        if let EventKind::EpochBumped { floor, .. } = event.kind {
            self.resume(floor.clamp(self.last_effective, at), at, gone);
        }
        self.play_on(at, gone);
        let action = self.change(&event.kind, at, gone).map(|what| LastAction {
            by: event.by.clone(),
            what,
            at,
        });
        match action.as_ref().map(|action| action.what) {
            Some(Action::Played) => self.stopped = None,
            Some(Action::Paused | Action::PausedNobodyListening) => self.stopped = action.clone(),
            _ => {}
        }
        self.last_action = action.or(self.last_action.take());
        self.revision = event.revision;
        self.last_effective = at;
        self.timeline.prune(event.stamp);
        Ok(())
    }

    /// Moves the songs that ended by `time` to the history.
    fn play_on(&mut self, time: SharedTime, gone: &mut Vec<TrackId>) {
        // Each turn takes an entry from the queue, so this ends whatever their lengths are.
        while let Some(end) = self.timeline.last().end().filter(|end| *end <= time) {
            let next = self.upcoming.pop_front();
            self.retire_current(gone);
            self.continue_with(end, next);
        }
    }

    /// Time stood still from `floor` to `at`: what played goes on where it was.
    fn resume(&mut self, floor: SharedTime, at: SharedTime, gone: &mut Vec<TrackId>) {
        self.play_on(floor, gone);
        let Piece { entry, playing, .. } = self.timeline.last().clone();
        if playing && entry.is_some() {
            let position = self.at(floor).position;
            self.timeline.push(Piece {
                from: floor,
                entry: entry.clone(),
                position,
                playing: false,
            });
            self.timeline.push(Piece { from: at, entry, position, playing });
        }
    }

    /// What `kind` changes at `at`, up to which the room has played on.
    fn change(
        &mut self,
        kind: &EventKind,
        at: SharedTime,
        gone: &mut Vec<TrackId>,
    ) -> Option<Action> {
        match kind {
            EventKind::Created { .. } | EventKind::EpochBumped { .. } => None,
            EventKind::Renamed { name } => {
                self.name.clone_from(name);
                None
            }
            EventKind::Enqueued { entry, before } => {
                self.enqueue(entry.clone(), *before, at);
                None
            }
            EventKind::Removed { entry } => {
                if let Some(current) = self.current().filter(|current| current.id == *entry) {
                    gone.push(current.track);
                    let next = self.upcoming.pop_front();
                    self.continue_with(at, next);
                } else {
                    let (at, removed) = self.upcoming.remove(*entry)?;
                    gone.push(removed.track);
                    self.level_around(at);
                }
                Some(Action::Removed)
            }
            EventKind::Moved { entry, before } => {
                let (from, moved) = self.upcoming.remove(*entry)?;
                self.level_around(from);
                let to = self.upcoming.insert(moved, *before)?;
                self.level_around(to);
                None
            }
            EventKind::Cleared => {
                gone.extend(self.upcoming.iter().map(|entry| entry.track));
                self.upcoming.clear();
                Some(Action::Cleared)
            }
            EventKind::Played => {
                self.set_clock(at, true);
                Some(Action::Played)
            }
            EventKind::Paused { nobody_listening } => {
                self.set_clock(at, false);
                Some(if *nobody_listening { Action::PausedNobodyListening } else { Action::Paused })
            }
            EventKind::Sought { entry, position } => {
                let Piece { entry: current, playing, .. } = self.timeline.last().clone();
                let current = current
                    .filter(|current| current.id == *entry && *position < current.length())?;
                self.timeline.push(Piece {
                    from: at,
                    entry: Some(current),
                    position: *position,
                    playing,
                });
                Some(Action::Sought)
            }
            EventKind::Skipped { entry } => {
                if self.current_id() != Some(*entry) {
                    return None;
                }
                let next = self.upcoming.pop_front();
                self.retire_current(gone);
                self.continue_with(at, next);
                Some(Action::Skipped)
            }
            EventKind::WentBack { entry } => {
                if self.history.back().map(|played| played.id) != Some(*entry) {
                    return None;
                }
                let played = self.history.pop_back();
                if let Some(current) = self.timeline.last().entry.clone() {
                    self.upcoming.push_front(current);
                }
                self.continue_with(at, played);
                Some(Action::WentBack)
            }
        }
    }

    fn enqueue(&mut self, entry: Entry, before: Option<EntryId>, at: SharedTime) {
        self.next_entry = self.next_entry.max(entry.id.0.saturating_add(1));
        if self.timeline.last().entry.is_none() {
            self.continue_with(at, Some(entry));
        } else if let Some(at) = self.upcoming.insert(entry, before) {
            self.level_around(at);
        }
    }

    fn retire_current(&mut self, gone: &mut Vec<TrackId>) {
        if let Some(entry) = self.timeline.last().entry.clone() {
            self.history.push_back(entry);
            if self.history.len() > limits::HISTORY_ENTRIES_MAX {
                gone.extend(self.history.pop_front().map(|forgotten| forgotten.track));
            }
        }
    }

    /// Makes `entry` current, from its start.
    fn continue_with(&mut self, at: SharedTime, entry: Option<Entry>) {
        let playing = self.timeline.last().playing;
        self.timeline.push(Piece { from: at, entry, position: Flicks::ZERO, playing });
    }

    fn set_clock(&mut self, at: SharedTime, playing: bool) {
        let position = self.at(at).position;
        let entry = self.timeline.last().entry.clone();
        self.timeline.push(Piece { from: at, entry, position, playing });
    }

    fn current(&self) -> Option<&Entry> {
        self.timeline.last().entry.as_ref()
    }

    fn current_id(&self) -> Option<EntryId> {
        self.current().map(|entry| entry.id)
    }

    /// The track of each entry that is queued, current or remembered.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = TrackId> {
        let known = self.history.iter().chain(self.current()).map(|entry| entry.track);
        known.chain(self.upcoming.iter().map(|entry| entry.track))
    }
}
