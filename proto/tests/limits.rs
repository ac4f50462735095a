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
