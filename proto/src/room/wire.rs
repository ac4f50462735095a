//! Rooms in snapshots.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Action, LastAction, Room};
use crate::convert::{self, Malformed};
use crate::event::Entry;
use crate::ids::{EntryId, Revision, RoomCode};
use crate::limits;
use crate::timeline::{Piece, Timeline};
use crate::wire::v1 as wire;

/// Every entry of a snapshot, by id: pieces name entries, and no id may stand twice.
type Entries = BTreeMap<EntryId, Entry>;

/// How an entry of a snapshot is read.
type Read<'a> = &'a mut dyn FnMut(&wire::Entry) -> Result<Entry, Malformed>;

/// The highest revision and entry id of a snapshot. Both count up one by one, so only a forged snapshot has a higher one.
const COUNTED_MAX: u64 = u64::MAX / 2;

impl Room {
    /// For snapshots.
    pub fn to_wire(&self) -> wire::RoomSnapshot {
        self.write(Entry::to_wire)
    }

    /// The same, with each entry as `write` has it.
    pub(crate) fn write(&self, write: impl Fn(&Entry) -> wire::Entry) -> wire::RoomSnapshot {
        wire::RoomSnapshot {
            upcoming: self.upcoming.iter().map(|entry| write(&entry)).collect(),
            history: self.history.iter().map(&write).collect(),
            leaving: self.leaving().map(&write).collect(),
            ..self.write_but_entries(&write)
        }
    }

    /// All but the entries that are not current.
    pub(super) fn write_but_entries(
        &self,
        write: impl Fn(&Entry) -> wire::Entry,
    ) -> wire::RoomSnapshot {
        let last = self.timeline.last();
        wire::RoomSnapshot {
            code: self.code.as_str().to_owned(),
            name: self.name.clone(),
            created_by: self.created_by.clone(),
            revision: self.revision.0,
            last_effective: self.last_effective.0,
            next_entry: self.next_entry,
            playing: last.playing,
            current: last.entry.as_ref().map(write),
            upcoming: Vec::new(),
            history: Vec::new(),
            pieces: self.timeline.pieces().map(Piece::to_wire).collect(),
            leaving: Vec::new(),
            last_action: self.last_action.as_ref().map(LastAction::to_wire),
            stopped: self.stopped.as_ref().map(LastAction::to_wire),
        }
    }

    /// From a snapshot; one that can't be is refused.
    pub fn from_wire(snapshot: &wire::RoomSnapshot) -> Result<Self, Malformed> {
        Self::read(snapshot, &mut Entry::from_wire)
    }

    /// The same, from entries as `read` has them.
    pub(crate) fn read(snapshot: &wire::RoomSnapshot, read: Read<'_>) -> Result<Self, Malformed> {
        let mut entries = Entries::new();
        let current = read_entries(&snapshot.current, &mut entries, read)?.pop();
        let upcoming = read_entries(&snapshot.upcoming, &mut entries, read)?;
        let history = read_entries(&snapshot.history, &mut entries, read)?;
        read_entries(&snapshot.leaving, &mut entries, read)?;
        if history.len() > limits::HISTORY_ENTRIES_MAX {
            return Err(Malformed::Contradiction("the history is longer than it can be"));
        }
        if entries.last_key_value().is_some_and(|(id, _)| id.0 >= snapshot.next_entry) {
            return Err(Malformed::Contradiction("an entry has an id that was not given yet"));
        }
        if current.is_none() && !upcoming.is_empty() {
            return Err(Malformed::Contradiction("entries wait and none is current"));
        }
        let timeline = read_pieces(&snapshot.pieces, &entries)?;
        let (last, current) = (timeline.last(), current.map(|entry| entry.id));
        if last.playing != snapshot.playing || last.entry.as_ref().map(|entry| entry.id) != current
        {
            return Err(Malformed::Contradiction("the last piece is not what is current"));
        }
        let mut room = Self {
            code: RoomCode::parse(&snapshot.code)?,
            name: snapshot.name.clone(),
            created_by: snapshot.created_by.clone(),
            revision: Revision(counted("the revision", snapshot.revision)?),
            last_effective: convert::instant("last_effective", snapshot.last_effective)?,
            next_entry: counted("the next entry's id", snapshot.next_entry)?,
            timeline,
            upcoming: upcoming.into_iter().collect(),
            history: VecDeque::from(history),
            last_action: snapshot.last_action.as_ref().map(LastAction::from_wire).transpose()?,
            stopped: snapshot.stopped.as_ref().map(LastAction::from_wire).transpose()?,
        };
        let begun: Vec<EntryId> = room.begun().collect();
        room.upcoming.set_returned(begun.into_iter());
        Ok(room)
    }

    /// Entries that only pieces still refer to.
    pub(super) fn leaving(&self) -> impl Iterator<Item = &Entry> {
        let pieces = self.timeline.pieces().filter_map(|piece| piece.entry.as_ref());
        let mut listed = BTreeSet::new();
        pieces.filter(move |entry| {
            let is_current = self.current_id() == Some(entry.id);
            !is_current
                && !self.upcoming.contains(entry.id)
                && listed.insert(entry.id)
                && !self.history.iter().any(|played| played.id == entry.id)
        })
    }
}

/// A number that counts up one by one, with room to go on.
fn counted(what: &'static str, number: u64) -> Result<u64, Malformed> {
    if number <= COUNTED_MAX {
        return Ok(number);
    }
    let range = format!("at most {COUNTED_MAX}");
    Err(Malformed::OutOfRange { what, range, got: number.into() })
}

fn read_entries<'a>(
    wire: impl IntoIterator<Item = &'a wire::Entry>,
    entries: &mut Entries,
    read: Read<'_>,
) -> Result<Vec<Entry>, Malformed> {
    let read = |wire| {
        let entry = read(wire)?;
        match entries.insert(entry.id, entry.clone()) {
            None => Ok(entry),
            Some(_) => Err(Malformed::Contradiction("an entry stands twice")),
        }
    };
    wire.into_iter().map(read).collect()
}

fn read_pieces(wire: &[wire::Piece], entries: &Entries) -> Result<Timeline, Malformed> {
    let mut pieces = wire.iter().map(|piece| Piece::from_wire(piece, entries));
    let mut timeline = Timeline::new(pieces.next().ok_or(Malformed::Missing("the timeline"))??);
    for piece in pieces {
        let piece = piece?;
        if piece.from <= timeline.last().from {
            return Err(Malformed::Contradiction("the timeline is out of order"));
        }
        timeline.push(piece);
    }
    Ok(timeline)
}

impl Piece {
    fn from_wire(piece: &wire::Piece, entries: &Entries) -> Result<Self, Malformed> {
        let named = (piece.entry != 0).then_some(EntryId(piece.entry));
        let entry = named.and_then(|id| entries.get(&id)).cloned();
        let position = convert::position(piece.position)?;
        match &entry {
            None if named.is_some() => {
                return Err(Malformed::Missing("an entry that a piece names"));
            }
            Some(entry) if position >= entry.length() => {
                return Err(Malformed::Contradiction("a piece begins after the end of its song"));
            }
            _ => {}
        }
        Ok(Self {
            from: convert::instant("a piece's start", piece.from)?,
            entry,
            position,
            playing: piece.playing,
        })
    }

    fn to_wire(&self) -> wire::Piece {
        wire::Piece {
            from: self.from.0,
            entry: self.entry.as_ref().map_or(0, |entry| entry.id.0),
            position: self.position.0,
            playing: self.playing,
        }
    }
}

impl LastAction {
    fn from_wire(action: &wire::LastAction) -> Result<Self, Malformed> {
        let what = Action::parse(&action.what).ok_or(Malformed::Missing("what was done last"))?;
        Ok(Self {
            by: action.by.clone(),
            what,
            at: convert::instant("an action's time", action.at)?,
        })
    }

    fn to_wire(&self) -> wire::LastAction {
        wire::LastAction { by: self.by.clone(), what: self.what.as_str().to_owned(), at: self.at.0 }
    }
}

impl Action {
    const ALL: [Self; 8] = [
        Self::Played,
        Self::Paused,
        Self::PausedNobodyListening,
        Self::Skipped,
        Self::Sought,
        Self::WentBack,
        Self::Removed,
        Self::Cleared,
    ];

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Played => "played",
            Self::Paused => "paused",
            Self::PausedNobodyListening => "paused_nobody_listening",
            Self::Skipped => "skipped",
            Self::Sought => "sought",
            Self::WentBack => "went_back",
            Self::Removed => "removed",
            Self::Cleared => "cleared",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventKind};
    use crate::time::SharedTime;

    #[test]
    fn a_snapshot_with_a_number_at_its_end_is_refused() {
        let code = RoomCode::from_random(7);
        let created = Event {
            revision: Revision(1),
            stamp: SharedTime(1),
            effective_at: SharedTime(1),
            by: "ann".to_owned(),
            kind: EventKind::Created { code, name: "Kitchen".to_owned() },
        };
        let room = Room::begin(&created).expect("it begins a room").to_wire();
        assert!(Room::from_wire(&room).is_ok());
        assert!(
            Room::from_wire(&wire::RoomSnapshot { revision: u64::MAX, ..room.clone() }).is_err()
        );
        assert!(Room::from_wire(&wire::RoomSnapshot { next_entry: u64::MAX, ..room }).is_err());
    }
}
