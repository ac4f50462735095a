//! A room's snapshot in parts: none is large, and none has to be there before it is asked for.

use std::sync::Arc;

use prost::Message;

use super::Room;
use crate::event::Entry;
use crate::wire::v1 as wire;

/// Entries in one part: with tags at their limit, some 20 KiB.
const ENTRIES_MAX: usize = 16;

/// A room's snapshot in parts. Encoded one behind the other, they are an encoding of [`Room::to_wire`]: protobuf joins the
/// fields of a message wherever they stand.
#[derive(Clone, Debug)]
pub struct Parts {
    room: Arc<Room>,
    leaving: Vec<Entry>,
    /// The entries that the parts so far had; `None`: there was no part yet.
    next: Option<usize>,
}

impl Parts {
    /// Of a room as it is.
    pub fn new(room: Arc<Room>) -> Self {
        let leaving = room.leaving().cloned().collect();
        Self { room, leaving, next: None }
    }

    /// Entries in all parts: what they take is about in proportion.
    pub fn entries(&self) -> usize {
        self.room.upcoming.len() + self.room.history.len() + self.leaving.len()
    }

    /// One part by its number, counted from 0; `None`: there are not so many.
    pub fn part(&self, number: usize) -> Option<wire::RoomSnapshot> {
        let next = number.checked_sub(1).map(|before| before * ENTRIES_MAX);
        Self { next, ..self.clone() }.next()
    }

    /// Bytes of all parts that are left, encoded. Looks at each entry.
    pub fn encoded_len(&self) -> usize {
        self.clone().map(|part| part.encoded_len()).sum()
    }
}

impl Iterator for Parts {
    type Item = wire::RoomSnapshot;

    fn next(&mut self) -> Option<wire::RoomSnapshot> {
        let Some(from) = self.next else {
            self.next = Some(0);
            return Some(self.room.write_but_entries(Entry::to_wire));
        };
        let (upcoming, history) = (&self.room.upcoming, &self.room.history);
        let mut part = wire::RoomSnapshot::default();
        for at in from..self.entries().min(from + ENTRIES_MAX) {
            let (past_upcoming, past_history) =
                (at.checked_sub(upcoming.len()), at.checked_sub(upcoming.len() + history.len()));
            match (past_upcoming, past_history) {
                (_, Some(at)) => part.leaving.push(self.leaving[at].to_wire()),
                (Some(at), None) => part.history.push(history[at].to_wire()),
                (None, None) => {
                    part.upcoming.extend(upcoming.get(at).map(|entry| entry.to_wire()));
                }
            }
            self.next = Some(at + 1);
        }
        (self.next != Some(from)).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RoomCode;

    fn entry(id: u64) -> wire::Entry {
        let title = format!("song {id}");
        wire::Entry {
            id,
            track: vec![1; 32],
            title,
            frames: 10,
            sample_rate: 1,
            ..Default::default()
        }
    }

    #[test]
    fn the_parts_are_the_whole() {
        for (upcoming, history) in [(0, 0), (1, 0), (ENTRIES_MAX as u64, 3), (50, 100)] {
            let ids = 1 + upcoming + history;
            let mut whole = wire::RoomSnapshot {
                code: RoomCode::from_random(7).as_str().to_owned(),
                name: "Kitchen".to_owned(),
                revision: 9,
                next_entry: ids + 1,
                current: Some(entry(1)),
                upcoming: (2..2 + upcoming).map(entry).collect(),
                history: (2 + upcoming..=ids).map(entry).collect(),
                pieces: vec![wire::Piece { from: 5, entry: 1, position: 0, playing: false }],
                ..Default::default()
            };
            // A song that only a piece refers to.
            whole.leaving.push(entry(ids + 1));
            whole.next_entry += 1;
            whole.pieces.insert(0, wire::Piece { from: 4, entry: ids + 1, ..Default::default() });
            let room = Arc::new(Room::from_wire(&whole).expect("a room"));
            let whole = room.to_wire();
            assert_eq!(whole.leaving.len(), 1);
            let parts = Parts::new(room);
            let (entries, bytes) = (parts.entries(), parts.encoded_len());
            let mut joined = Vec::new();
            for (number, part) in parts.clone().enumerate() {
                assert_eq!(parts.part(number).as_ref(), Some(&part));
                assert!(part.upcoming.len() + part.history.len() <= ENTRIES_MAX);
                part.encode(&mut joined).expect("there is room");
            }
            assert_eq!(parts.part(parts.clone().count()), None);
            assert_eq!((entries as u64, bytes), (upcoming + history + 1, joined.len()));
            assert_eq!(wire::RoomSnapshot::decode(joined.as_slice()), Ok(whole));
        }
    }
}
