//! Properties of a shard, under random logs: what must hold whatever is proposed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use jam_proto::command::{Command, Reply, RoomCommand};
use jam_proto::event::{Entry, Event, EventKind, Song};
use jam_proto::ids::{EntryId, Revision, RoomCode, SessionId, TrackId};
use jam_proto::level::FeatureLevel;
use jam_proto::loudness::Gain;
use jam_proto::room::Room;
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::{FLICKS_PER_SECOND, Flicks, SharedTime};
use jam_proto::wire::log::v1 as log;
use jam_proto::wire::v1 as wire;
use log::log_entry::Op;
use proptest::prelude::*;
use prost::Message;

fn room() -> impl Strategy<Value = RoomCode> {
    (0..3u64).prop_map(RoomCode::from_random)
}

fn track_id() -> impl Strategy<Value = TrackId> {
    (0..3u8).prop_map(|name| TrackId([name; 32]))
}

fn session() -> impl Strategy<Value = SessionId> {
    (0..3u8).prop_map(|name| SessionId([name; 16]))
}

fn entry_id() -> impl Strategy<Value = EntryId> {
    (1..8u64).prop_map(EntryId)
}

fn room_name() -> impl Strategy<Value = String> {
    prop_oneof![Just("Kitchen".to_owned()), Just("Küche".to_owned()), Just("x".repeat(256))]
}

fn command() -> impl Strategy<Value = Command> {
    let some = || prop::option::of(entry_id());
    prop_oneof![
        Just(Command::Create { name: "Kitchen".into() }),
        (track_id(), any::<bool>()).prop_map(|(track, next)| Command::Enqueue { track, next }),
        (track_id(), any::<bool>()).prop_map(|(track, next)| Command::Enqueue { track, next }),
        entry_id().prop_map(|entry| Command::Remove { entry }),
        (entry_id(), some()).prop_map(|(entry, before)| Command::Move { entry, before }),
        Just(Command::Clear),
        some().prop_map(|entry| Command::Play { entry }),
        some().prop_map(|entry| Command::Pause { entry }),
        (entry_id(), 0..40i64)
            .prop_map(|(entry, secs)| Command::Seek { entry, position: Flicks::from_secs(secs) }),
        entry_id().prop_map(|entry| Command::Skip { entry }),
        some().prop_map(|entry| Command::Back { entry }),
        room_name().prop_map(|name| Command::Rename { name }),
    ]
}

fn room_command() -> impl Strategy<Value = RoomCommand> {
    (session(), 1..60u64, room(), command())
        .prop_map(|(session, number, room, command)| RoomCommand { session, number, room, command })
}

fn op() -> impl Strategy<Value = Op> {
    let open = session().prop_map(|id| log::OpenSession {
        session: id.to_wire(),
        user: "ann".into(),
        ..Default::default()
    });
    let register =
        (track_id(), 1..2_000_000u64, 1..96_000u32).prop_map(|(id, frames, sample_rate)| {
            let track = wire::Track {
                id: id.to_wire(),
                title: "song".into(),
                frames,
                sample_rate,
                ..Default::default()
            };
            log::RegisterTrack { track: Some(track), ..Default::default() }
        });
    let forget = (track_id(), 0..400 * FLICKS_PER_SECOND)
        .prop_map(|(id, unused_before)| log::ForgetTrack { track: id.to_wire(), unused_before });
    let epoch = (0..4u64, any::<i32>()).prop_map(|(epoch, floor)| log::ClockEpoch {
        epoch,
        floor: i64::from(floor) * 200,
        ..Default::default()
    });
    let unheard = (room(), 0..10u64)
        .prop_map(|(room, revision)| log::PauseUnheard { room: room.to_string(), revision });
    let replace = (0..4u64, prop_oneof![Just(0), 99..104u64])
        .prop_map(|(node, holder)| log::ReplaceNode { node, holder });
    prop_oneof![
        2 => open.prop_map(Op::OpenSession),
        20 => room_command().prop_map(|command| Op::Command(command.to_wire())),
        2 => register.prop_map(Op::RegisterTrack),
        1 => forget.prop_map(Op::ForgetTrack),
        1 => epoch.prop_map(Op::ClockEpoch),
        1 => unheard.prop_map(Op::PauseUnheard),
        1 => replace.prop_map(Op::ReplaceNode),
        // What only a faulty node could have proposed.
        1 => Just(Op::Command(log::RoomCommand { number: 1, ..Default::default() })),
        1 => Just(Op::RegisterTrack(log::RegisterTrack::default())),
    ]
}

fn entry() -> impl Strategy<Value = log::LogEntry> {
    let stamp = prop_oneof![10 => 0..400 * FLICKS_PER_SECOND, 1 => any::<i64>().prop_map(|time| time / 1_000_000)];
    (stamp, -1..3i64, prop::option::weighted(0.99, op())).prop_map(|(stamp, lead, op)| {
        log::LogEntry {
            proposed_stamp: stamp,
            proposed_effective: stamp + lead * FLICKS_PER_SECOND,
            op,
            ..Default::default()
        }
    })
}

/// Raises the feature level to the highest, or leaves it.
fn raised(raises: bool) -> Option<log::LogEntry> {
    let level = FeatureLevel::CURRENT.0;
    let op = Some(Op::RaiseLevel(log::RaiseLevel { level }));
    raises.then_some(log::LogEntry { level, op, ..Default::default() })
}

/// A log that begins with three rooms, three songs and two sessions, so that something happens.
fn whole_log() -> impl Strategy<Value = Vec<log::LogEntry>> {
    prop::collection::vec(entry(), 0..80).prop_map(|entries| {
        let command = |number: u64| RoomCommand {
            session: SessionId([0; 16]),
            number: number + 1,
            room: RoomCode::from_random(number),
            command: Command::Create { name: "Kitchen".into() },
        };
        let track = |name: u8| wire::Track {
            id: vec![name; 32],
            frames: u64::from(name) * 400_000 + 1,
            sample_rate: 44_100,
            ..Default::default()
        };
        let open = |name: u8| log::OpenSession {
            session: vec![name; 16],
            user: "ann".into(),
            ..Default::default()
        };
        let ops = (0..2).map(|name| Op::OpenSession(open(name)));
        let ops = ops.chain((0..3).map(|number| Op::Command(command(number).to_wire())));
        let ops = ops.chain((0..3).map(|name| {
            Op::RegisterTrack(log::RegisterTrack { track: Some(track(name)), ..Default::default() })
        }));
        ops.map(|op| log::LogEntry { op: Some(op), ..Default::default() }).chain(entries).collect()
    })
}

/// All of the shard but the last stamp, which every entry moves.
fn but_for_the_stamp(shard: &Shard) -> log::ShardSnapshot {
    log::ShardSnapshot { last_stamp: 0, ..shard.to_wire() }
}

proptest! {
    #[test]
    fn stamps_rise_and_effects_never_fall(entries in whole_log()) {
        let mut shard = Shard::default();
        let mut effects = BTreeMap::new();
        for entry in &entries {
            let before = shard.last_stamp();
            let applied = shard.apply(1, entry);
            prop_assert!(shard.last_stamp() > before);
            if let Some(Op::ClockEpoch(epoch)) = &entry.op {
                prop_assert!(shard.last_stamp().0 > epoch.floor);
            }
            for (code, events) in applied.events {
                prop_assert!(!events.is_empty());
                for event in events {
                    prop_assert_eq!(event.stamp, shard.last_stamp());
                    prop_assert!(event.effective_at >= event.stamp);
                    let last = effects.insert(code.clone(), event.effective_at);
                    prop_assert!(last.is_none_or(|last| last <= event.effective_at));
                }
            }
        }
    }

    #[test]
    fn who_folds_the_events_has_the_same_rooms(entries in whole_log()) {
        let mut shard = Shard::default();
        let mut client: BTreeMap<RoomCode, Room> = BTreeMap::new();
        for entry in &entries {
            for (code, events) in shard.apply(1, entry).events {
                for event in events {
                    prop_assert_eq!(&Event::from_wire(&event.to_wire()), &Ok(event.clone()));
                    match client.get_mut(&code) {
                        Some(room) => prop_assert_eq!(room.fold(&event), Ok(())),
                        None => drop(client.insert(code.clone(), Room::begin(&event).unwrap())),
                    }
                }
            }
        }
        prop_assert!(shard.rooms().eq(client.iter()));
    }

    #[test]
    fn a_retry_changes_nothing(entries in whole_log(), later in 0..1000 * FLICKS_PER_SECOND) {
        let mut shard = Shard::default();
        for entry in &entries {
            let first = shard.apply(1, entry);
            let before = but_for_the_stamp(&shard);
            let settled = match (&entry.op, &first.outcome) {
                (Some(Op::Command(_)), Outcome::Command(reply)) => {
                    !matches!(reply.rejection.as_ref().map(|rejection| rejection.code()), Some("session_expired"))
                }
                (Some(Op::OpenSession(_) | Op::RegisterTrack(_) | Op::ForgetTrack(_)), _) => true,
                (Some(Op::ReplaceNode(replace)), Outcome::Node(node)) => replace.holder != *node,
                _ => false,
            };
            if settled {
                let again = log::LogEntry {
                    proposed_stamp: entry.proposed_stamp.saturating_add(later),
                    proposed_effective: entry.proposed_effective.saturating_add(later),
                    ..entry.clone()
                };
                let second = shard.apply(1, &again);
                prop_assert!(second.events.is_empty());
                prop_assert_eq!(but_for_the_stamp(&shard), before);
                if let (Outcome::Command(first), Outcome::Command(second)) = (&first.outcome, &second.outcome) {
                    let refused = |reply: &Reply| match reply.rejection.as_ref().map(|rejection| rejection.code()) {
                        Some(code @ ("stale" | "number_reused")) => Some(code.to_owned()),
                        _ => None,
                    };
                    // A command that was refused unjudged is refused again; any other gets its reply again.
                    prop_assert!(first == second || (refused(first).is_some() && refused(first) == refused(second)));
                }
            }
        }
    }

    #[test]
    fn a_snapshot_holds_everything(
        entries in whole_log(),
        raises in any::<bool>(),
        at in 0..80usize,
    ) {
        let mut shard = Shard::default();
        let mut restored = Shard::default();
        for (index, entry) in raised(raises).iter().chain(&entries).enumerate() {
            let applied = shard.apply(1, entry);
            prop_assert_eq!(&applied, &restored.apply(1, entry));
            if let Outcome::Command(reply) = &applied.outcome {
                prop_assert_eq!(&Reply::from_wire(&reply.to_wire()), &Ok(reply.clone()));
            }
            if index == at {
                let bytes = shard.to_wire().encode_to_vec();
                restored = Shard::from_wire(&log::ShardSnapshot::decode(bytes.as_slice()).unwrap()).unwrap();
                prop_assert_eq!(&restored, &shard);
            }
        }
        prop_assert_eq!(restored, shard);
    }

    #[test]
    fn commands_round_trip(command in room_command()) {
        prop_assert_eq!(RoomCommand::from_wire(&command.to_wire()), Ok(command.clone()));
        prop_assert_eq!(RoomCommand::from_request(&command.to_request(7)), Ok(command));
    }

    /// A room from a snapshot with flipped bytes is refused, or can be used like any other.
    #[test]
    fn a_damaged_snapshot_does_no_harm(
        entries in whole_log(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        time in any::<i64>(),
        events in prop::collection::vec(event(), 0..6),
    ) {
        let mut shard = Shard::default();
        for entry in &entries {
            shard.apply(1, entry);
        }
        for (_, room) in shard.rooms() {
            let mut bytes = room.to_wire().encode_to_vec();
            for (index, byte) in &flips {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            let Ok(snapshot) = wire::RoomSnapshot::decode(bytes.as_slice()) else { continue };
            if let Ok(room) = Room::from_wire(&snapshot) {
                prop_assert_eq!(Room::from_wire(&room.to_wire()), Ok(room.clone()));
                use_it(room, &events, SharedTime(time));
            }
        }
    }

    /// Events that no sound node would send change what they can, and nothing breaks.
    #[test]
    fn odd_events_do_no_harm(events in prop::collection::vec(event(), 0..30), time in any::<i64>()) {
        let created = Event {
            revision: Revision(1),
            stamp: SharedTime(0),
            effective_at: SharedTime(0),
            by: "ann".into(),
            kind: EventKind::Created { code: RoomCode::from_random(1), name: "Kitchen".into() },
        };
        use_it(Room::begin(&created).unwrap(), &events, SharedTime(time));
    }
}

fn use_it(mut room: Room, events: &[Event], time: SharedTime) {
    for event in events {
        let event =
            Event { revision: Revision(room.revision().0.wrapping_add(1)), ..event.clone() };
        // Refused if the revision is at its very end.
        let _ = room.fold(&event);
        room.at(time);
        room.queue_at(time);
        room.next_after(time, 3);
        let judged = room.judge(
            FeatureLevel::CURRENT,
            &Command::Back { entry: None },
            &"eve".into(),
            None,
            time,
        );
        assert!(judged.is_ok() || judged.is_err());
        room.to_wire();
    }
}

fn event() -> impl Strategy<Value = Event> {
    let entry =
        (entry_id(), 1..2_000_000u64, 1..96_000u32).prop_map(|(id, frames, sample_rate)| {
            let track = wire::Track { frames, sample_rate, ..Default::default() };
            let song = Arc::new(Song::of(TrackId([0; 32]), &track));
            Entry { id, song, added_by: "".into(), gain: Gain(0) }
        });
    let some = || prop::option::of(entry_id());
    let kind = prop_oneof![
        3 => (entry, some()).prop_map(|(entry, before)| EventKind::Enqueued { entry, before }),
        1 => entry_id().prop_map(|entry| EventKind::Removed { entry }),
        1 => (entry_id(), some()).prop_map(|(entry, before)| EventKind::Moved { entry, before }),
        1 => Just(EventKind::Cleared),
        2 => Just(EventKind::Played),
        1 => Just(EventKind::Paused { nobody_listening: true }),
        1 => (entry_id(), 0..i64::MAX)
            .prop_map(|(entry, position)| EventKind::Sought { entry, position: Flicks(position) }),
        1 => entry_id().prop_map(|entry| EventKind::Skipped { entry }),
        1 => entry_id().prop_map(|entry| EventKind::WentBack { entry }),
        1 => room_name().prop_map(|name| EventKind::Renamed { name }),
        1 => any::<i64>().prop_map(|floor| EventKind::EpochBumped { epoch: 3, floor: SharedTime(floor / 4) }),
    ];
    let instant =
        || prop_oneof![0..400 * FLICKS_PER_SECOND, any::<i64>().prop_map(|time| time / 4)];
    (instant(), instant(), kind).prop_map(|(stamp, effective_at, kind)| Event {
        revision: Revision(0),
        stamp: SharedTime(stamp),
        effective_at: SharedTime(effective_at),
        by: "eve".into(),
        kind,
    })
}
