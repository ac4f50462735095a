//! What a room plays, at each of its revisions.

use std::collections::BTreeMap;

use jam_proto::event::Event;
use jam_proto::room::Room;
use jam_proto::time::SharedTime;

use super::super::replay::Replay;

/// What is due at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// A song is to sound.
    pub playing: bool,
    /// The entry, 0 if there is none.
    pub entry: u64,
    /// Its bytes' BLAKE3.
    pub track: Vec<u8>,
    /// Where in it the room is, ns.
    pub position_ns: i64,
    /// How long it is, ns.
    pub length_ns: i64,
    /// When its begin was due by shared time, ns, while it plays.
    pub origin_ns: i64,
}

/// All rooms at all revisions, made when they are asked for.
pub struct Rooms<'a> {
    replay: &'a Replay<'a>,
    known: BTreeMap<(String, u64), Option<Room>>,
}

impl<'a> Rooms<'a> {
    pub fn new(replay: &'a Replay<'a>) -> Self {
        Self { replay, known: BTreeMap::new() }
    }

    /// What is due in a room as of a revision; `None`: the log doesn't tell.
    pub fn due(&mut self, room: &str, revision: u64, time: SharedTime) -> Option<Due> {
        let sounding = self.at(room, revision)?.at(time);
        let position_ns = sounding.position.as_nanos();
        let entry = sounding.entry.as_ref();
        let playing = sounding.playing && entry.is_some();
        Some(Due {
            playing,
            entry: entry.map_or(0, |entry| entry.id.0),
            track: entry.map_or(Vec::new(), |entry| entry.track.to_wire()),
            position_ns,
            length_ns: entry.map_or(0, |entry| entry.length().as_nanos()),
            origin_ns: if playing { time.as_nanos() - position_ns } else { 0 },
        })
    }

    fn at(&mut self, room: &str, revision: u64) -> Option<&Room> {
        let key = (room.to_owned(), revision);
        if !self.known.contains_key(&key) {
            let made = self.make(room, revision);
            self.known.insert(key.clone(), made);
        }
        self.known.get(&key)?.as_ref()
    }

    /// From the nearest revision before it that is known.
    fn make(&self, name: &str, revision: u64) -> Option<Room> {
        if revision == 0 {
            return None;
        }
        let events = &self.replay.room(name)?.events;
        let earlier = self.known.range((name.to_owned(), 0)..(name.to_owned(), revision));
        let mut room = earlier.rev().find_map(|(_, room)| room.clone());
        let from = room.as_ref().map_or(0, |room| room.revision().0);
        for (_, (event, _)) in events.range(from + 1..=revision) {
            let event = Event::from_wire(event).ok()?;
            match &mut room {
                Some(room) => room.fold(&event).ok()?,
                None => room = Some(Room::begin(&event)?),
            }
        }
        room.filter(|room| room.revision().0 == revision)
    }
}
