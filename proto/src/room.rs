//! A room: a pure function of its events and of time.

use crate::command::{Command, Rejection};
use crate::event::{Entry, Event};
use crate::ids::{EntryId, Revision, RoomCode};
use crate::time::{Flicks, SharedTime};
use crate::wire;

/// One room. Nodes and clients hold the same type and fold the same events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {}

/// What sounds at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sounding<'a> {
    /// The current entry; `None`: the queue is dry.
    pub entry: Option<&'a Entry>,
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
    /// The room that a `Created` event begins; `None` for any other event.
    pub fn begin(_event: &Event) -> Option<Self> {
        todo!()
    }
    /// Judges `command` at `effective_at` and says what happens, or why nothing does. Changes nothing itself.
    /// `track` is the committed track of an `Enqueue` as an entry without id and adder, if the cluster has it.
    pub fn judge(&self, _command: &Command, _effective_at: SharedTime) -> Result<(), Rejection> {
        todo!()
    }
    /// Folds one event: plays on to its `effective_at`, then changes what it says.
    pub fn fold(&mut self, _event: &Event) -> Result<(), OutOfOrder> {
        todo!()
    }
    /// What sounds at `time`, also in the future (by what is known) and up to 10 s back.
    pub fn at(&self, _time: SharedTime) -> Sounding<'_> {
        todo!()
    }
    /// What follows the current song at `time`, in order: at most `count` entries with the instants
    /// at which they start (`None` while paused).
    pub fn next_after(&self, _time: SharedTime, _count: usize) -> Vec<(Option<SharedTime>, &Entry)> {
        todo!()
    }
    /// The queue at `time`, the current entry first.
    pub fn queue_at(&self, _time: SharedTime) -> Vec<&Entry> {
        todo!()
    }
    /// An entry that is queued, played or leaving.
    pub fn entry(&self, _id: EntryId) -> Option<&Entry> {
        todo!()
    }
    /// Its code.
    pub fn code(&self) -> &RoomCode {
        todo!()
    }
    /// Its name.
    pub fn name(&self) -> &str {
        todo!()
    }
    /// How many events it had.
    pub fn revision(&self) -> Revision {
        todo!()
    }
    /// For snapshots.
    pub fn to_wire(&self) -> wire::v1::RoomSnapshot {
        todo!()
    }
    /// From a snapshot; `None` names nothing: a snapshot that can't be is refused.
    pub fn from_wire(_snapshot: &wire::v1::RoomSnapshot) -> Result<Self, crate::ids::InvalidName> {
        todo!()
    }
}
