//! The stated limits hold, and a refusal names the one it met.
#![allow(clippy::unwrap_used)]

use jam_proto::command::{Command, Rejection, Reply, RoomCommand};
use jam_proto::event::Event;
use jam_proto::ids::{EntryId, RoomCode, SessionId, TrackId};
use jam_proto::limits;
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::FLICKS_PER_SECOND;
use jam_proto::wire::log::v1 as log;
use jam_proto::wire::v1 as wire;
use log::log_entry::Op;

fn at(secs: i64, op: Op) -> log::LogEntry {
    let stamp = secs * FLICKS_PER_SECOND;
    log::LogEntry {
        proposed_stamp: stamp,
        proposed_effective: stamp,
        op: Some(op),
        ..Default::default()
    }
}

fn open(shard: &mut Shard, secs: i64, session: u32) {
    let session = session_id(session).to_wire();
    shard.apply(
        1,
        &at(
            secs,
            Op::OpenSession(log::OpenSession { session, user: "ann".into(), ..Default::default() }),
        ),
    );
}

fn session_id(number: u32) -> SessionId {
    SessionId(u128::from(number).to_be_bytes())
}

fn submit(
    shard: &mut Shard,
    secs: i64,
    session: u32,
    number: u64,
    room: u64,
    command: Command,
) -> Reply {
    let room = RoomCode::from_random(room);
    let command = RoomCommand { session: session_id(session), number, room, command };
    match shard.apply(1, &at(secs, Op::Command(command.to_wire()))).outcome {
        Outcome::Command(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn create() -> Command {
    Command::Create { name: "Kitchen".into() }
}

#[test]
fn a_full_queue_takes_no_more() {
    let mut shard = Shard::default();
    let id = TrackId([1; 32]);
    let track = wire::Track { id: id.to_wire(), frames: 10, sample_rate: 1, ..Default::default() };
    shard.apply(
        1,
        &at(0, Op::RegisterTrack(log::RegisterTrack { track: Some(track), ..Default::default() })),
    );
    open(&mut shard, 0, 1);
    submit(&mut shard, 0, 1, 1, 1, create());
    let mut number = 1;
    let mut send = |secs, command| {
        number += 1;
        submit(&mut shard, secs, 1, number, 1, command)
    };
    let enqueue = Command::Enqueue { track: id, next: true };
    for _ in 0..limits::QUEUE_ENTRIES_MAX {
        assert_eq!(send(0, enqueue.clone()).rejection, None);
    }
    let full = Some(Rejection::QueueFull { limit: limits::QUEUE_ENTRIES_MAX });
    assert_eq!(send(0, enqueue.clone()).rejection, full);
    // A song that ends makes room for one, and a skipped one that is brought back needs it again.
    let first = jam_proto::ids::EntryId(1);
    assert_eq!(send(1, Command::Play { entry: Some(first) }).rejection, None);
    assert_eq!(send(10, enqueue.clone()).rejection, full);
    assert_eq!(send(11, enqueue.clone()).rejection, None);
    assert_eq!(send(11, enqueue).rejection, full);
    let newest = jam_proto::ids::EntryId(limits::QUEUE_ENTRIES_MAX as u64);
    assert_eq!(send(11, Command::Back { entry: Some(newest) }).rejection, full);
}

#[test]
fn the_least_recently_used_session_makes_room() {
    let mut shard = Shard::default();
    open(&mut shard, 0, 0);
    open(&mut shard, 0, 1);
    submit(&mut shard, 1, 0, 1, 1, create());
    for session in 2..=limits::SESSIONS_MAX as u32 {
        open(&mut shard, 2, session);
    }
    assert_eq!(submit(&mut shard, 3, 0, 2, 1, Command::Clear).rejection, None);
    assert_eq!(
        submit(&mut shard, 3, 1, 1, 1, Command::Clear).rejection,
        Some(Rejection::SessionExpired)
    );
}

#[test]
fn from_level_1_on_a_session_without_a_command_makes_room() {
    let mut shard = Shard::default();
    let raise = Op::RaiseLevel(log::RaiseLevel { level: 1 });
    shard.apply(1, &log::LogEntry { level: 1, ..at(0, raise) });
    open(&mut shard, 0, 0);
    submit(&mut shard, 0, 0, 1, 1, create());
    for session in 1..=limits::SESSIONS_MAX as u32 {
        open(&mut shard, 1, session);
    }
    assert_eq!(submit(&mut shard, 2, 0, 2, 1, Command::Clear).rejection, None);
    assert_eq!(
        submit(&mut shard, 2, 1, 1, 1, Command::Clear).rejection,
        Some(Rejection::SessionExpired)
    );
    assert_eq!(shard.to_wire().sessions.len(), limits::SESSIONS_MAX);
}

#[test]
fn all_unused_sessions_are_swept_up_in_the_end() {
    let mut shard = Shard::default();
    for session in 0..100 {
        open(&mut shard, 0, session);
    }
    let later = limits::SESSION_IDLE_SECS_MAX + 1;
    // The one that is asked for is gone at once, whoever's turn it is.
    assert_eq!(
        submit(&mut shard, later, 99, 1, 1, create()).rejection,
        Some(Rejection::SessionExpired)
    );
    for secs in 1..10 {
        open(&mut shard, later + secs, 1000);
    }
    assert_eq!(shard.to_wire().sessions.len(), 1);
}

#[test]
fn a_full_cluster_makes_no_more_rooms() {
    let mut shard = Shard::default();
    open(&mut shard, 0, 1);
    for room in 0..limits::ROOMS_MAX as u64 {
        assert_eq!(submit(&mut shard, 0, 1, room + 1, room, create()).rejection, None);
    }
    let number = limits::ROOMS_MAX as u64 + 1;
    let reply = submit(&mut shard, 0, 1, number, number, create());
    assert_eq!(reply.rejection, Some(Rejection::RoomsFull { limit: limits::ROOMS_MAX }));
}

#[test]
fn what_happens_at_the_end_of_time_can_be_read_again() {
    let mut shard = Shard::default();
    let end = |op| log::LogEntry {
        proposed_stamp: i64::MAX,
        proposed_effective: i64::MAX,
        op,
        ..Default::default()
    };
    let epoch = log::ClockEpoch { epoch: 1, floor: i64::MAX, ..Default::default() };
    let open = log::OpenSession {
        session: session_id(1).to_wire(),
        user: "ann".into(),
        ..Default::default()
    };
    let id = TrackId([1; 32]).to_wire();
    let track = wire::Track { id, frames: 10, sample_rate: 1, ..Default::default() };
    let register = log::RegisterTrack { track: Some(track), ..Default::default() };
    for op in [Op::ClockEpoch(epoch), Op::OpenSession(open), Op::RegisterTrack(register)] {
        shard.apply(1, &end(Some(op)));
    }
    let (session, room) = (session_id(1), RoomCode::from_random(1));
    let enqueue = || Command::Enqueue { track: TrackId([1; 32]), next: false };
    let commands = [create(), enqueue(), Command::Play { entry: Some(EntryId(1)) }, enqueue()];
    for (number, command) in (1..).zip(commands) {
        let command = RoomCommand { session, number, room: room.clone(), command };
        let applied = shard.apply(1, &end(Some(Op::Command(command.to_wire()))));
        for event in applied.events.iter().flat_map(|(_, events)| events) {
            assert_eq!(Event::from_wire(&event.to_wire()).as_ref(), Ok(event));
        }
    }
    assert_eq!(shard.room(&room).unwrap().revision().0, 4);
    assert_eq!(Shard::from_wire(&shard.to_wire()), Ok(shard));
}

/// The largest of each thing that a snapshot holds, in bytes of its encoding with what goes before it in a list.
mod largest {
    use super::*;
    use jam_proto::ids::Origin;
    use jam_proto::shard::weight;
    use prost::Message;

    fn text(bytes: usize) -> String {
        "x".repeat(bytes)
    }

    fn in_list(message: &impl Message) -> u64 {
        let bytes = message.encoded_len();
        (1 + prost::length_delimiter_len(bytes) + bytes) as u64
    }

    fn id() -> Vec<u8> {
        TrackId([255; 32]).to_wire()
    }

    fn entry(tag_bytes: usize, frames: u64) -> wire::Entry {
        wire::Entry {
            id: u64::MAX,
            track: id(),
            added_by: text(limits::USER_NAME_BYTES_MAX),
            gain: i32::MIN,
            title: text(tag_bytes),
            artist: text(tag_bytes),
            album: text(tag_bytes),
            frames,
            sample_rate: if frames > 0 { u32::MAX } else { 0 },
            own_gain: (frames > 0).then_some(i32::MIN),
        }
    }

    fn piece() -> wire::Piece {
        wire::Piece { from: i64::MIN, entry: u64::MAX, position: i64::MAX, playing: true }
    }

    fn pieces() -> usize {
        limits::PIECES_MAX + 1
    }

    /// Without entries and pieces.
    fn room() -> wire::RoomSnapshot {
        let action = wire::LastAction {
            by: text(limits::USER_NAME_BYTES_MAX),
            what: text(32),
            at: i64::MIN,
        };
        wire::RoomSnapshot {
            code: text(14),
            name: text(limits::ROOM_NAME_BYTES_MAX),
            created_by: text(limits::USER_NAME_BYTES_MAX),
            revision: u64::MAX,
            last_effective: i64::MIN,
            next_entry: u64::MAX,
            playing: true,
            last_action: Some(action.clone()),
            stopped: Some(action),
            ..Default::default()
        }
    }

    fn track() -> wire::Track {
        let derived =
            wire::Derived { name: text(limits::DERIVED_NAME_BYTES_MAX), id: id(), bytes: u64::MAX };
        wire::Track {
            id: id(),
            title: text(limits::TAG_BYTES_MAX),
            artist: text(limits::TAG_BYTES_MAX),
            album: text(limits::TAG_BYTES_MAX),
            frames: u64::MAX,
            sample_rate: u32::MAX,
            channels: u32::MAX,
            codec: text(limits::CODEC_BYTES_MAX),
            bytes: u64::MAX,
            loudness: Some(wire::Loudness { integrated: i32::MIN, true_peak: i32::MIN }),
            derived: vec![derived; limits::DERIVED_MAX],
            rendered: true,
        }
    }

    fn session() -> log::Session {
        let name = text(limits::ROOM_NAME_BYTES_MAX);
        let kind = Some(wire::command::Kind::Create(wire::CreateRoom { name }));
        let command = log::RoomCommand {
            room: text(14),
            command: Some(wire::Command { kind }),
            ..Default::default()
        };
        let rejection = Rejection::TrackGone(TrackId([255; 32])).to_wire();
        let reply = wire::SubmitReply {
            revision: u64::MAX,
            effective_at: i64::MIN,
            entry: u64::MAX,
            rejection: Some(wire::Rejection { message: text(512), ..rejection }),
        };
        log::Session {
            session: vec![255; 16],
            user: text(limits::USER_NAME_BYTES_MAX),
            number: u64::MAX,
            payload: command.encode_to_vec(),
            reply: reply.encode_to_vec(),
            used: i64::MIN,
            origin: Origin([255; 8]).to_wire(),
        }
    }

    #[test]
    fn what_rooms_weigh_is_no_less_than_what_a_snapshot_holds_of_them() {
        // A room's length in the list may take four bytes more once it has entries.
        assert!(in_list(&room()) + 4 <= weight::ROOM_BYTES);
        assert!(in_list(&entry(0, 0)) <= weight::ENTRY_BYTES);
    }

    #[test]
    fn the_largest_snapshot_that_the_limits_allow_is_within_its_own() {
        let count = |count: usize| count as u64;
        let unused = log::UnusedTrack { track: id(), since: i64::MIN };
        let replaced = log::Replacement { place: u64::MAX, node: u64::MAX };
        let parts = [
            ("rooms and entries", limits::ROOMS_BYTES_MAX),
            ("pieces", count(limits::ROOMS_MAX * pieces()) * in_list(&piece())),
            ("tracks", count(limits::TRACKS_MAX) * in_list(&track())),
            ("unused tracks", count(limits::TRACKS_MAX) * in_list(&unused)),
            ("lost tracks", count(limits::TRACKS_MAX) * (2 + count(id().len()))),
            ("sessions", count(limits::SESSIONS_MAX) * in_list(&session())),
            ("places", (limits::PLACE_MAX + 1) * in_list(&replaced)),
            ("the rest", 1024),
        ];
        parts.iter().for_each(|(what, bytes)| println!("{what}: {} MB", bytes / 1_000_000));
        let whole: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
        assert!(whole <= limits::SNAPSHOT_BYTES_MAX, "{whole}");
    }

    #[test]
    fn the_largest_room_fits_into_a_message() {
        let song = entry(limits::TAG_BYTES_MAX, u64::MAX);
        let room = wire::RoomSnapshot {
            current: Some(song.clone()),
            upcoming: vec![song.clone(); limits::QUEUE_ENTRIES_MAX],
            history: vec![song.clone(); limits::HISTORY_ENTRIES_MAX],
            leaving: vec![song; pieces()],
            pieces: vec![piece(); pieces()],
            ..room()
        };
        assert!(room.encoded_len() <= limits::ROOM_MESSAGE_BYTES_MAX, "{}", room.encoded_len());
    }

    #[test]
    fn the_largest_operation_fits_into_the_log() {
        let holders = (0..=limits::PLACE_MAX).map(|place| u64::MAX - place).collect();
        let register = log::RegisterTrack { track: Some(track()), holders };
        let name = text(limits::ROOM_NAME_BYTES_MAX);
        let rename = RoomCommand {
            session: SessionId([255; 16]),
            number: u64::MAX,
            room: RoomCode::from_random(u64::MAX),
            command: Command::Rename { name },
        };
        for op in [Op::RegisterTrack(register), Op::Command(rename.to_wire())] {
            assert!(
                at(i64::MAX / FLICKS_PER_SECOND, op).encoded_len() <= limits::OPERATION_BYTES_MAX
            );
        }
    }
}
