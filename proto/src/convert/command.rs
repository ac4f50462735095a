//! Commands and their replies.

use super::{Malformed, instant, position};
use crate::command::{Command, Rejection, Reply, RoomCommand};
use crate::ids::{EntryId, Revision, RoomCode, SessionId, TrackId, check_room_name};
use crate::time::Flicks;
use crate::wire::log::v1 as log;
use crate::wire::v1 as wire;
use crate::wire::v1::command::Kind;

impl Command {
    /// From the wire.
    pub fn from_wire(command: &wire::Command) -> Result<Self, Malformed> {
        Ok(match command.kind.as_ref().ok_or(Malformed::Missing("what the command does"))? {
            Kind::Create(create) => {
                check_room_name(&create.name)?;
                Self::Create { name: create.name.clone() }
            }
            Kind::Enqueue(enqueue) => {
                Self::Enqueue { track: TrackId::from_wire(&enqueue.track)?, next: enqueue.next }
            }
            Kind::Remove(remove) => Self::Remove { entry: named(remove.entry)? },
            Kind::Move(moved) => {
                Self::Move { entry: named(moved.entry)?, before: optional(moved.before) }
            }
            Kind::Clear(wire::ClearQueue {}) => Self::Clear,
            Kind::Play(play) => Self::Play { entry: optional(play.entry) },
            Kind::Pause(pause) => Self::Pause { entry: optional(pause.entry) },
            Kind::Seek(seek) => {
                Self::Seek { entry: named(seek.entry)?, position: position(seek.position)? }
            }
            Kind::Skip(skip) => Self::Skip { entry: named(skip.entry)? },
            Kind::Back(back) => Self::Back { entry: optional(back.entry) },
            Kind::Rename(rename) => {
                check_room_name(&rename.name)?;
                Self::Rename { name: rename.name.clone() }
            }
        })
    }

    /// For the wire.
    pub fn to_wire(&self) -> wire::Command {
        let kind = match *self {
            Self::Create { ref name } => Kind::Create(wire::CreateRoom { name: name.clone() }),
            Self::Enqueue { track, next } => {
                Kind::Enqueue(wire::Enqueue { track: track.to_wire(), next })
            }
            Self::Remove { entry } => Kind::Remove(wire::RemoveEntry { entry: entry.0 }),
            Self::Move { entry, before } => {
                Kind::Move(wire::MoveEntry { entry: entry.0, before: or_zero(before) })
            }
            Self::Clear => Kind::Clear(wire::ClearQueue {}),
            Self::Play { entry } => Kind::Play(wire::Play { entry: or_zero(entry) }),
            Self::Pause { entry } => Kind::Pause(wire::Pause { entry: or_zero(entry) }),
            Self::Seek { entry, position } => {
                Kind::Seek(wire::Seek { entry: entry.0, position: position.0 })
            }
            Self::Skip { entry } => Kind::Skip(wire::Skip { entry: entry.0 }),
            Self::Back { entry } => Kind::Back(wire::Back { entry: or_zero(entry) }),
            Self::Rename { ref name } => Kind::Rename(wire::RenameRoom { name: name.clone() }),
        };
        wire::Command { kind: Some(kind) }
    }
}

impl RoomCommand {
    /// From the log.
    pub fn from_wire(command: &log::RoomCommand) -> Result<Self, Malformed> {
        Self::parse(&command.session, command.number, &command.room, command.command.as_ref())
    }

    /// For the log.
    pub fn to_wire(&self) -> log::RoomCommand {
        log::RoomCommand {
            session: self.session.to_wire(),
            number: self.number,
            room: self.room.as_str().to_owned(),
            command: Some(self.command.to_wire()),
        }
    }

    /// From a client.
    pub fn from_request(request: &wire::SubmitRequest) -> Result<Self, Malformed> {
        Self::parse(&request.session, request.number, &request.room, request.command.as_ref())
    }

    /// For a node.
    pub fn to_request(&self, deadline_ms: u32) -> wire::SubmitRequest {
        let log::RoomCommand { session, number, room, command } = self.to_wire();
        wire::SubmitRequest { session, number, room, command, deadline_ms }
    }

    fn parse(
        session: &[u8],
        number: u64,
        room: &str,
        command: Option<&wire::Command>,
    ) -> Result<Self, Malformed> {
        if number == 0 {
            return Err(Malformed::OutOfRange {
                what: "a command's number",
                range: "1 or more".into(),
                got: 0,
            });
        }
        Ok(Self {
            session: SessionId::from_wire(session)?,
            number,
            room: RoomCode::parse(room)?,
            command: Command::from_wire(command.ok_or(Malformed::Missing("the command"))?)?,
        })
    }
}

impl Reply {
    /// From the wire.
    pub fn from_wire(reply: &wire::SubmitReply) -> Result<Self, Malformed> {
        Ok(Self {
            revision: Revision(reply.revision),
            effective_at: instant("effective_at", reply.effective_at)?,
            entry: optional(reply.entry),
            rejection: reply.rejection.as_ref().map(Rejection::from_wire),
        })
    }

    /// For the wire.
    pub fn to_wire(&self) -> wire::SubmitReply {
        wire::SubmitReply {
            revision: self.revision.0,
            effective_at: self.effective_at.0,
            entry: or_zero(self.entry),
            rejection: self.rejection.as_ref().map(Rejection::to_wire),
        }
    }
}

impl Rejection {
    /// From the wire. One that this version does not know, or can't read, keeps its code and its sentence.
    pub fn from_wire(rejection: &wire::Rejection) -> Self {
        let other =
            || Self::Other { code: rejection.code.clone(), message: rejection.message.clone() };
        let room = RoomCode::parse(&rejection.room).ok();
        let limit = usize::try_from(rejection.limit).unwrap_or(usize::MAX);
        match rejection.code.as_str() {
            "room_unknown" => room.map_or_else(other, Self::RoomUnknown),
            "room_exists" => room.map_or_else(other, Self::RoomExists),
            "entry_unknown" => Self::EntryUnknown(EntryId(rejection.entry)),
            "not_current" => Self::NotCurrent { current: optional(rejection.entry) },
            "already_skipped" => Self::AlreadySkipped(EntryId(rejection.entry)),
            "entry_current" => Self::EntryCurrent(EntryId(rejection.entry)),
            "past_end" => Self::PastEnd { length: Flicks(rejection.length) },
            "no_history" => Self::NoHistory,
            "track_gone" => {
                TrackId::from_wire(&rejection.track).map_or_else(|_| other(), Self::TrackGone)
            }
            "queue_full" => Self::QueueFull { limit },
            "rooms_full" => Self::RoomsFull { limit },
            "state_full" => Self::StateFull { limit: rejection.limit },
            "session_expired" => Self::SessionExpired,
            "stale" => Self::Stale { number: rejection.number, last: rejection.last },
            "number_reused" => Self::NumberReused(rejection.number),
            _ => other(),
        }
    }

    /// For the wire.
    pub fn to_wire(&self) -> wire::Rejection {
        let mut wire = wire::Rejection {
            code: self.code().to_owned(),
            message: self.to_string(),
            ..Default::default()
        };
        match *self {
            Self::RoomUnknown(ref room) | Self::RoomExists(ref room) => {
                wire.room = room.as_str().to_owned()
            }
            Self::EntryUnknown(entry) | Self::EntryCurrent(entry) | Self::AlreadySkipped(entry) => {
                wire.entry = entry.0;
            }
            Self::NotCurrent { current } => wire.entry = or_zero(current),
            Self::PastEnd { length } => wire.length = length.0,
            Self::TrackGone(track) => wire.track = track.to_wire(),
            Self::QueueFull { limit } | Self::RoomsFull { limit } => wire.limit = limit as u64,
            Self::StateFull { limit } => wire.limit = limit,
            Self::Stale { number, last } => (wire.number, wire.last) = (number, last),
            Self::NumberReused(number) => wire.number = number,
            Self::NoHistory | Self::SessionExpired | Self::Other { .. } => {}
        }
        wire
    }
}

pub(super) fn named(entry: u64) -> Result<EntryId, Malformed> {
    optional(entry).ok_or(Malformed::Missing("the entry's id"))
}

pub(super) fn optional(entry: u64) -> Option<EntryId> {
    (entry != 0).then_some(EntryId(entry))
}

pub(super) fn or_zero(entry: Option<EntryId>) -> u64 {
    entry.map_or(0, |entry| entry.0)
}
