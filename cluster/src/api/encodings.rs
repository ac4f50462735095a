//! The encodings of large rooms: each is made once, and shared by all who ask for the room as it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use jam_proto::room::{Parts, Room};
use prost::Message as _;

/// So many are kept: those that were begun last. Each takes 7 MB at most.
const KEPT_MAX: usize = 2;

/// The encodings that are kept.
#[derive(Debug, Default)]
pub struct Encodings {
    /// Oldest first.
    kept: Mutex<VecDeque<Arc<Encoding>>>,
}

impl Encodings {
    /// That of a room as it is.
    pub fn of(&self, room: &Arc<Room>) -> Arc<Encoding> {
        let mut kept = lock(&self.kept);
        if let Some(known) = kept.iter().find(|one| Arc::ptr_eq(&one.room, room)) {
            return known.clone();
        }
        // An older state of the same room is of no use to those who ask now.
        let old = kept.iter().position(|one| one.room.code() == room.code());
        let old = old.or((kept.len() >= KEPT_MAX).then_some(0));
        if let Some(old) = old.and_then(|at| kept.remove(at)) {
            old.forget();
        }
        let encoding = Arc::new(Encoding::new(room.clone()));
        kept.push_back(encoding.clone());
        encoding
    }
}

/// One room's, in pieces of about 16 KiB. Each is made when it is asked for first.
#[derive(Debug)]
pub struct Encoding {
    room: Arc<Room>,
    parts: Parts,
    length: OnceLock<usize>,
    /// The first pieces. `None`: this encoding is not kept any more, and whoever still reads it has each piece made anew.
    made: Mutex<Option<Vec<Bytes>>>,
}

impl Encoding {
    fn new(room: Arc<Room>) -> Self {
        let (parts, length) = (Parts::new(room.clone()), OnceLock::new());
        Self { room, parts, length, made: Mutex::new(Some(Vec::new())) }
    }

    /// Its length in bytes, if it was measured.
    pub fn known_len(&self) -> Option<usize> {
        self.length.get().copied()
    }

    /// Its length in bytes. The first call looks at each entry.
    pub fn measure(&self) -> usize {
        *self.length.get_or_init(|| self.parts.encoded_len())
    }

    /// All pieces, in order.
    pub fn pieces(self: Arc<Self>) -> impl Iterator<Item = Bytes> + Send {
        (0..).map_while(move |number| self.piece(number))
    }

    fn piece(&self, number: usize) -> Option<Bytes> {
        let mut made = lock(&self.made);
        let known = made.as_ref().and_then(|made| made.get(number));
        if let Some(known) = known {
            return Some(known.clone());
        }
        let piece = Bytes::from(self.parts.part(number)?.encode_to_vec());
        if let Some(made) = made.as_mut().filter(|made| made.len() == number) {
            made.push(piece.clone());
        }
        Some(piece)
    }

    fn forget(&self) {
        *lock(&self.made) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use jam_proto::ids::RoomCode;
    use jam_proto::wire::v1 as wire;

    use super::*;

    fn room(number: u64, entries: u64) -> Arc<Room> {
        let entry = |id| wire::Entry {
            id,
            track: vec![1; 32],
            frames: 10,
            sample_rate: 1,
            ..wire::Entry::default()
        };
        let wire = wire::RoomSnapshot {
            code: RoomCode::from_random(number).as_str().to_owned(),
            name: "Kitchen".to_owned(),
            revision: entries,
            next_entry: entries + 1,
            current: Some(entry(1)),
            upcoming: (2..=entries).map(entry).collect(),
            pieces: vec![wire::Piece { from: 5, entry: 1, ..wire::Piece::default() }],
            ..wire::RoomSnapshot::default()
        };
        Arc::new(Room::from_wire(&wire).expect("a room"))
    }

    fn read(encoding: &Arc<Encoding>) -> Vec<Bytes> {
        encoding.clone().pieces().collect()
    }

    #[test]
    fn all_who_ask_for_a_room_as_it_is_share_one_encoding() {
        let (encodings, asked) = (Encodings::default(), room(1, 500));
        let (one, other) = (encodings.of(&asked), encodings.of(&asked));
        assert_eq!(one.known_len(), None);
        assert_eq!(one.measure(), asked.to_wire().encoded_len());
        assert_eq!(other.known_len(), Some(one.measure()));
        let (first, second) = (read(&one), read(&other));
        assert_eq!(first.iter().map(Bytes::len).sum::<usize>(), one.measure());
        for (one, other) in first.iter().zip(&second) {
            assert_eq!((one.as_ptr(), one.len()), (other.as_ptr(), other.len()), "made once");
        }
    }

    #[test]
    fn what_is_not_kept_any_more_can_still_be_read_to_its_end() {
        let encodings = Encodings::default();
        let whole = read(&encodings.of(&room(1, 500))).concat();
        let old = encodings.of(&room(1, 500));
        let mut pieces = old.clone().pieces();
        let mut read = pieces.next().expect("a piece").to_vec();
        for number in 2..=1 + KEPT_MAX as u64 {
            encodings.of(&room(number, 500));
        }
        assert!(lock(&old.made).is_none(), "its memory is free");
        read.extend(pieces.flatten());
        assert_eq!(read, whole);
        assert!(lock(&old.made).is_none() && lock(&encodings.kept).len() == KEPT_MAX);
    }

    #[test]
    fn a_room_that_changed_takes_the_place_of_what_it_was() {
        let encodings = Encodings::default();
        let (other, before) = (encodings.of(&room(2, 300)), encodings.of(&room(1, 300)));
        let after = encodings.of(&room(1, 301));
        assert!(lock(&before.made).is_none());
        assert!(lock(&other.made).is_some() && lock(&after.made).is_some());
    }
}
