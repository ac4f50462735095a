//! Which operations there were in each room, from when to when.

use std::collections::BTreeMap;
use std::sync::Arc;

use jam_proto::command::RoomCommand;
use jam_proto::event::Event;
use jam_proto::shard::Outcome;
use jam_proto::time::SharedTime;
use jam_proto::wire::log::v1 as log;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::command::Kind;
use jam_proto::wire::v1::{Command, SubmitReply, Track};
use prost::Message;

use super::super::operations::{CommandKey, Operation, operations};
use super::super::replay::{Replay, Step, reached_the_room};
use super::super::verdict::Findings;
use super::model::{Act, Asked};
use crate::attack::SESSION_MARK;
use crate::history::{Answer, History, Request, reply_text};

/// One operation in one room.
pub(super) struct Gathered {
    /// For people.
    pub name: String,
    pub act: Arc<Act>,
    /// The room's revision after it.
    pub revision: u64,
    /// The record that it was asked in; none: the cluster did it, somewhen.
    pub called: Option<usize>,
    /// The record that it was answered in; none: at the end of time.
    pub returned: Option<usize>,
    /// The record that first applied it, if that is all that shows it.
    pub applied: Option<usize>,
}

impl Gathered {
    /// The records that show it.
    pub fn records(&self) -> Vec<usize> {
        [self.called, self.returned.or(self.applied)].into_iter().flatten().collect()
    }
}

/// By room.
type Rooms = BTreeMap<String, Vec<Gathered>>;

/// A command: all its tries, and what the log has of it.
struct Tried {
    command: log::RoomCommand,
    invoked: Option<usize>,
    /// The first one that came.
    reply: Option<(usize, SubmitReply)>,
    logged: Option<Logged>,
}

/// What only the log tells.
struct Logged {
    record: usize,
    stamp: i64,
    track: Option<Track>,
    reply: SubmitReply,
}

/// All operations of a history, by room. What is already wrong, or can't be understood, goes to `found`.
pub(super) fn gather(history: &History, replay: &Replay<'_>, found: &mut Findings) -> Rooms {
    let operations = operations(history);
    let mut rooms = Rooms::new();
    for (room, read) in operations.iter().filter_map(read) {
        rooms.entry(room.to_owned()).or_default().push(read);
    }
    let mut commands = tried(&operations, found);
    let songs = add_log(replay, &mut commands, &mut rooms);
    let users = users(&operations);
    for (key, tried) in commands {
        let known = tried.logged.as_ref().map(|logged| &logged.reply);
        let Some(told) = tried.reply.as_ref().map(|(_, reply)| reply).or(known).cloned() else {
            // Nobody knows of it and the log does not have it: it never was.
            continue;
        };
        let asked = RoomCommand::from_wire(&tried.command).ok();
        let Some((command, user)) = asked.zip(users.get(tried.command.session.as_slice())) else {
            found.open(format!("{} can't be read, or nobody opened its session", key.name()));
            continue;
        };
        let (stamp, track) = match &tried.logged {
            Some(logged) => (logged.stamp, logged.track.clone()),
            // It was lost: then its stamp is the least of it.
            None => (told.effective_at, song(&tried.command).and_then(|id| songs.get(id)).cloned()),
        };
        rooms.entry(key.room.clone()).or_default().push(Gathered {
            name: format!("{} ({})", key.name(), reply_text(&told)),
            revision: told.revision,
            act: Arc::new(Act::Command(Box::new(Asked {
                command,
                user: (*user).to_owned(),
                track,
                stamp: SharedTime(stamp),
                told,
            }))),
            called: tried.invoked,
            returned: tried.reply.map(|(record, _)| record),
            applied: tried.logged.map(|logged| logged.record),
        });
    }
    rooms
}

fn read<'a>(operation: &Operation<'a>) -> Option<(&'a str, Gathered)> {
    let Request::Read { room } = operation.request else { return None };
    let (returned, answer) = operation.answered?;
    let (revision, told) = match answer {
        Answer::Room { revision, digest } => (*revision, Some(*digest)),
        Answer::NoRoom => (0, None),
        _ => return None,
    };
    let gathered = Gathered {
        name: format!("{}'s read at revision {revision}", operation.client),
        act: Arc::new(Act::Read(told)),
        revision,
        called: Some(operation.invoked),
        returned: Some(returned),
        applied: None,
    };
    Some((room, gathered))
}

/// Whose session it is.
fn users<'a>(operations: &[Operation<'a>]) -> BTreeMap<&'a [u8], &'a str> {
    operations
        .iter()
        .filter_map(|operation| match operation.request {
            Request::Open { session, user } => Some((session.0.as_slice(), user.as_str())),
            _ => None,
        })
        .collect()
}

/// The commands that clients sent, with what they were told.
fn tried(operations: &[Operation<'_>], found: &mut Findings) -> BTreeMap<CommandKey, Tried> {
    let mut commands: BTreeMap<CommandKey, Tried> = BTreeMap::new();
    for operation in operations {
        let Request::Command { session, number, room, command } = operation.request else {
            continue;
        };
        let Some(key) = CommandKey::of_request(operation.request) else { continue };
        let name = key.name();
        let tried = commands.entry(key).or_insert_with(|| Tried {
            command: log::RoomCommand {
                session: session.0.clone(),
                number: *number,
                room: room.clone(),
                command: Command::decode(command.0.as_slice()).ok(),
            },
            invoked: Some(operation.invoked),
            reply: None,
            logged: None,
        });
        let Some((record, Answer::Reply(bytes))) = operation.answered else { continue };
        let Ok(reply) = SubmitReply::decode(bytes.0.as_slice()) else {
            found.open(format!("a reply to {name} can't be decoded"));
            continue;
        };
        // What the session kept from the room is no operation on it.
        if !reached_the_room(&reply) {
            continue;
        }
        match &mut tried.reply {
            Some((first, known)) if *known != reply => found.broken(
                format!(
                    "{name} got two replies: {}; and: {}",
                    reply_text(known),
                    reply_text(&reply)
                ),
                [*first, operation.invoked, record],
            ),
            Some((first, _)) => *first = record.min(*first),
            none => *none = Some((record, reply)),
        }
    }
    commands
}

/// Adds what the log knows of commands, and what the cluster did by itself. Returns the songs that it had.
fn add_log(
    replay: &Replay<'_>,
    commands: &mut BTreeMap<CommandKey, Tried>,
    rooms: &mut Rooms,
) -> BTreeMap<Vec<u8>, Track> {
    let mut songs: BTreeMap<Vec<u8>, Track> = BTreeMap::new();
    for step in replay.steps() {
        match &step.op {
            Some(Op::RegisterTrack(log::RegisterTrack { track: Some(track), .. })) => {
                songs.entry(track.id.clone()).or_insert_with(|| track.clone());
            }
            // It does nothing where somebody needed the song.
            Some(Op::ForgetTrack(forget)) if step.outcome == Outcome::Forgotten => {
                songs.remove(&forget.track);
            }
            // Attackers have rooms of their own, and nobody wrote down what they asked for.
            Some(Op::Command(command)) if command.session.starts_with(SESSION_MARK) => {}
            Some(Op::Command(command)) => {
                let Some(reply) = step.reply().filter(reached_the_room) else { continue };
                let tried = commands.entry(CommandKey::of_logged(command)).or_insert_with(|| {
                    Tried { command: command.clone(), invoked: None, reply: None, logged: None }
                });
                let track = song(command).and_then(|id| songs.get(id)).cloned();
                let (record, stamp) = (step.record, step.stamp);
                // A retry changes nothing.
                tried.logged.get_or_insert(Logged { record, stamp, track, reply });
            }
            _ => add_events(replay, step, rooms),
        }
    }
    songs
}

fn add_events(replay: &Replay<'_>, step: &Step, rooms: &mut Rooms) {
    for (room, revision) in &step.events {
        let event = replay.room(room).and_then(|replayed| replayed.events.get(revision));
        // The replay made it from an event.
        let Some(Ok(event)) = event.map(|(event, _)| Event::from_wire(event)) else { continue };
        rooms.entry(room.clone()).or_default().push(Gathered {
            name: format!("the cluster's own event {revision}"),
            act: Arc::new(Act::Event(event)),
            revision: *revision,
            called: None,
            returned: None,
            applied: Some(step.record),
        });
    }
}

/// The song that is to be enqueued.
fn song(command: &log::RoomCommand) -> Option<&[u8]> {
    match command.command.as_ref()?.kind.as_ref()? {
        Kind::Enqueue(enqueue) => Some(&enqueue.track),
        _ => None,
    }
}
