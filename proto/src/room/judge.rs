//! What a command may do, judged where it takes effect.

use std::sync::Arc;

use super::Room;
use crate::command::{Command, Rejection};
use crate::event::{Entry, Event, EventKind, Song};
use crate::ids::{EntryId, Revision, TrackId};
use crate::level::FeatureLevel;
use crate::limits;
use crate::time::SharedTime;

/// The queue as it stands at an instant that no event is beyond.
pub(super) struct Standing<'a> {
    room: &'a Room,
    current: Option<Entry>,
    /// How many of the upcoming entries have become current, or even ended, since the last event.
    begun: usize,
    playing: bool,
}

impl Room {
    /// Judges `command` at `effective_at` (not before the last one) and says what happens, or why
    /// nothing may. `Ok(None)`: all is already as the command wants it. Changes nothing itself.
    ///
    /// `level` is the feature level in force. `song` is that of the committed track of an `Enqueue`, if the cluster has it.
    pub fn judge(
        &self,
        level: FeatureLevel,
        command: &Command,
        by: &Arc<str>,
        song: Option<Arc<Song>>,
        effective_at: SharedTime,
    ) -> Result<Option<EventKind>, Rejection> {
        let standing = self.standing(effective_at);
        let by_what_was_heard = level >= FeatureLevel::HEARD;
        match *command {
            Command::Create { .. } => Err(Rejection::RoomExists(self.code.clone())),
            Command::Enqueue { track: id, next } => standing.enqueue(id, next, by, song).map(Some),
            Command::Remove { entry } => {
                if standing.current_id() != Some(entry) {
                    standing.index_of(entry)?;
                }
                Ok(Some(EventKind::Removed { entry }))
            }
            Command::Move { entry, before } => standing.r#move(entry, before),
            Command::Clear => Ok((standing.waiting() > 0).then_some(EventKind::Cleared)),
            // A person who pauses wants silence and one who plays wants music, whichever song has begun meanwhile. A room that
            // stands still goes on by itself to no other song: there, somebody changed what would play.
            Command::Play { .. } if by_what_was_heard && standing.playing => Ok(None),
            Command::Play { entry } => {
                standing.expect_current(entry)?;
                Ok((!standing.playing).then_some(EventKind::Played))
            }
            Command::Pause { entry } => {
                if !by_what_was_heard {
                    standing.expect_current(entry)?;
                }
                Ok(standing.playing.then_some(EventKind::Paused { nobody_listening: false }))
            }
            Command::Seek { entry, position } => {
                let length = standing.expect_named(entry)?.length();
                if position >= length {
                    return Err(Rejection::PastEnd { length });
                }
                Ok(Some(EventKind::Sought { entry, position }))
            }
            Command::Skip { entry } => {
                if by_what_was_heard && self.was_skipped(entry) {
                    return Err(Rejection::AlreadySkipped(entry));
                }
                standing.expect_named(entry)?;
                Ok(Some(EventKind::Skipped { entry }))
            }
            Command::Back { entry } => {
                standing.expect_current(entry)?;
                let played = standing.last_played().ok_or(Rejection::NoHistory)?;
                standing.expect_place()?;
                Ok(Some(EventKind::WentBack { entry: played.id }))
            }
            Command::Rename { ref name } => {
                Ok((*name != self.name).then(|| EventKind::Renamed { name: name.clone() }))
            }
        }
    }

    /// Whether `entry` was skipped in the last seconds: it was played, and the next one took its place before its end.
    fn was_skipped(&self, entry: EntryId) -> bool {
        self.timeline.was_cut_short(entry) && self.history.iter().any(|played| played.id == entry)
    }

    /// Makes the next event of this room and folds it. `gone` gets the tracks of entries that it took away.
    pub(crate) fn append(
        &mut self,
        kind: EventKind,
        by: &str,
        stamp: SharedTime,
        effective_at: SharedTime,
        gone: &mut Vec<TrackId>,
    ) -> Event {
        let revision = Revision(self.revision.0 + 1);
        let event = Event { revision, stamp, effective_at, by: by.to_owned(), kind };
        self.fold_and_tell(&event, gone).expect("the event carries the next revision");
        event
    }

    /// Entries of a track that are still to become current at `effective_at`, in order.
    pub(crate) fn upcoming_of(&self, track: &TrackId, effective_at: SharedTime) -> Vec<EntryId> {
        let begun = self.standing(effective_at).begun;
        let upcoming = self.upcoming.iter().skip(begun);
        upcoming.filter(|entry| entry.track == *track).map(|entry| entry.id).collect()
    }

    pub(super) fn standing(&self, time: SharedTime) -> Standing<'_> {
        let spans = self.spans(time.max(self.timeline.last().from));
        let begun = spans.begun();
        let current = if begun == 0 {
            self.timeline.last().entry.clone()
        } else {
            self.upcoming.get(begun - 1)
        };
        Standing { room: self, current, begun, playing: self.is_playing() }
    }
}

impl Standing<'_> {
    pub(super) fn current_id(&self) -> Option<EntryId> {
        self.current.as_ref().map(|entry| entry.id)
    }

    /// Upcoming entries.
    pub(super) fn waiting(&self) -> usize {
        self.room.upcoming.len().saturating_sub(self.begun)
    }

    fn last_played(&self) -> Option<Entry> {
        match self.begun {
            0 => self.room.history.back().cloned(),
            1 => self.room.timeline.last().entry.clone(),
            begun => self.room.upcoming.get(begun - 2),
        }
    }

    fn expect_current(&self, entry: Option<EntryId>) -> Result<(), Rejection> {
        let current = self.current_id();
        if current == entry { Ok(()) } else { Err(Rejection::NotCurrent { current }) }
    }

    fn expect_named(&self, entry: EntryId) -> Result<&Entry, Rejection> {
        self.current
            .as_ref()
            .filter(|current| current.id == entry)
            .ok_or(Rejection::NotCurrent { current: self.current_id() })
    }

    fn expect_place(&self) -> Result<(), Rejection> {
        let limit = limits::QUEUE_ENTRIES_MAX;
        let entries = self.waiting() + usize::from(self.current.is_some());
        if entries < limit { Ok(()) } else { Err(Rejection::QueueFull { limit }) }
    }

    /// Where an upcoming entry stands among those that were upcoming at the last event.
    fn index_of(&self, entry: EntryId) -> Result<usize, Rejection> {
        let index = self.room.upcoming.index_of(entry).filter(|index| *index >= self.begun);
        index.ok_or(Rejection::EntryUnknown(entry))
    }

    fn enqueue(
        &self,
        id: TrackId,
        next: bool,
        by: &Arc<str>,
        song: Option<Arc<Song>>,
    ) -> Result<EventKind, Rejection> {
        self.expect_place()?;
        let song = song.ok_or(Rejection::TrackGone(id))?;
        let gain = song.own_gain.unwrap_or_default();
        let entry =
            Entry { id: EntryId(self.room.next_entry), song, added_by: Arc::clone(by), gain };
        let first = self.room.upcoming.get(self.begun).filter(|_| next);
        Ok(EventKind::Enqueued { entry, before: first.map(|first| first.id) })
    }

    fn r#move(
        &self,
        entry: EntryId,
        before: Option<EntryId>,
    ) -> Result<Option<EventKind>, Rejection> {
        let current = self.current_id();
        if let Some(first) =
            [Some(entry), before].into_iter().flatten().find(|id| Some(*id) == current)
        {
            return Err(Rejection::EntryCurrent(first));
        }
        let index = self.index_of(entry)?;
        let target = match before {
            Some(before) => self.index_of(before)?,
            None => self.room.upcoming.len(),
        };
        let stays = target == index || target == index + 1;
        Ok((!stays).then_some(EventKind::Moved { entry, before }))
    }
}
