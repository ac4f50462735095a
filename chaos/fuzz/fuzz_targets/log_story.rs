//! A story in the log: events fold to the same rooms everywhere, retries change nothing, snapshots are whole.
#![no_main]

use std::collections::BTreeMap;

use jam_fuzz::{Deed, Log};
use jam_proto::command::Reply;
use jam_proto::event::Event;
use jam_proto::ids::RoomCode;
use jam_proto::room::Room;
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::{Flicks, SharedTime};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|deeds: Vec<Deed>| {
    let (mut shard, mut log) = (Shard::default(), Log::default());
    let mut followed: BTreeMap<RoomCode, Room> = BTreeMap::new();
    for deed in &deeds {
        let revision = |code: &RoomCode| shard.room(code).map_or(0, |room| room.revision().0);
        let Some(entry) = log.entry(deed, revision) else { continue };
        let before = shard.last_stamp();
        let applied = shard.apply(1, &entry);
        assert!(shard.last_stamp() > before);
        if let Outcome::Command(reply) = &applied.outcome {
            assert_eq!(Reply::from_wire(&reply.to_wire()).as_ref(), Ok(reply));
        }
        for (code, events) in &applied.events {
            for event in events {
                let event = Event::from_wire(&event.to_wire()).expect("what was made can be sent");
                match followed.get_mut(code) {
                    Some(room) => room.fold(&event).expect("events follow each other"),
                    None => {
                        drop(followed.insert(code.clone(), Room::begin(&event).expect("it begins")))
                    }
                }
            }
        }
    }
    for (code, room) in shard.rooms() {
        assert_eq!(followed.get(code), Some(room));
        look_at(room, SharedTime(log.now()));
        look_at(room, room.last_effective());
    }
    assert_eq!(Shard::from_wire(&shard.to_wire()).as_ref(), Ok(&shard));
});

/// What sounds is without a hole, and ends.
fn look_at(room: &Room, now: SharedTime) {
    let mut ends = None;
    for (count, span) in room.spans(now).enumerate() {
        assert!(count <= room.entries() + jam_proto::limits::PIECES_MAX + 2);
        assert!(ends.is_none_or(|end| end == span.from));
        ends = span.until;
    }
    let sounding = room.at(now);
    assert!(sounding.entry.is_none_or(|entry| sounding.position <= entry.length()));
    assert!(sounding.position >= Flicks::ZERO);
    room.queue_at(now);
}
