//! A room as a node sends it, and events after it: what a listener must stand from a faulty node.
#![no_main]

use jam_fuzz::parts;
use jam_proto::command::Command;
use jam_proto::event::Event;
use jam_proto::level::FeatureLevel;
use jam_proto::room::Room;
use jam_proto::time::SharedTime;
use jam_proto::wire::v1;
use libfuzzer_sys::fuzz_target;
use prost::Message;

// A snapshot, a command, and events.
fuzz_target!(|bytes: &[u8]| {
    let mut parts = parts(bytes);
    let Ok(snapshot) = v1::RoomSnapshot::decode(parts.next().unwrap_or_default()) else { return };
    let Ok(mut room) = Room::from_wire(&snapshot) else { return };
    assert_eq!(Room::from_wire(&room.to_wire()).as_ref(), Ok(&room));
    let command = v1::Command::decode(parts.next().unwrap_or_default());
    let instants = [i64::MIN, -1, 0, room.last_effective().0, i64::MAX].map(SharedTime);
    for bytes in parts {
        let Ok(Ok(mut event)) = v1::Event::decode(bytes).map(|event| Event::from_wire(&event))
        else {
            continue;
        };
        event.revision.0 = room.revision().0.wrapping_add(1);
        let _ = room.fold(&event);
    }
    for now in instants {
        room.at(now);
        room.next_after(now, 3);
        room.queue_at(now);
        if let Ok(Ok(command)) = command.as_ref().map(Command::from_wire) {
            let _ = room.judge(FeatureLevel::CURRENT, &command, &"ann".into(), None, now);
        }
    }
});
