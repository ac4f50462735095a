//! What a log may say of an operation: its kind, and short hashes of the session and the room.
//!
//! Room codes and session ids let whoever knows them in, so a log never has them whole. A short hash is enough to find the
//! lines of one room, and the same on every node.

use std::fmt;

use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::command::Kind;

/// Stands for a session or a room in the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShortHash([u8; 4]);

impl ShortHash {
    /// Of a room's code.
    pub fn of_room(code: &str) -> Self {
        Self::of("jam log: room", code.as_bytes())
    }

    /// Of a session's id.
    pub fn of_session(id: &[u8]) -> Self {
        Self::of("jam log: session", id)
    }

    fn of(context: &str, bytes: &[u8]) -> Self {
        let hash = blake3::derive_key(context, bytes);
        Self([hash[0], hash[1], hash[2], hash[3]])
    }
}

impl fmt::Display for ShortHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for ShortHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What is logged of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its kind.
    pub what: &'static str,
    /// Whose it is, if it is a session's.
    pub session: Option<ShortHash>,
    /// Which room it is about, if one.
    pub room: Option<ShortHash>,
}

impl About {
    /// Of an operation.
    pub fn op(op: &Op) -> Self {
        let alone = |what| Self { what, session: None, room: None };
        match op {
            Op::OpenSession(open) => Self {
                session: Some(ShortHash::of_session(&open.session)),
                ..alone("open session")
            },
            Op::Command(command) => Self {
                what: command
                    .command
                    .as_ref()
                    .and_then(|it| it.kind.as_ref())
                    .map_or("command", name),
                session: Some(ShortHash::of_session(&command.session)),
                room: Some(ShortHash::of_room(&command.room)),
            },
            Op::PauseUnheard(pause) => {
                Self { room: Some(ShortHash::of_room(&pause.room)), ..alone("pause unheard room") }
            }
            Op::RegisterTrack(_) => alone("register track"),
            Op::ForgetTrack(_) => alone("forget track"),
            Op::ClockEpoch(_) => alone("clock epoch"),
            Op::ReplaceNode(_) => alone("replace node"),
            Op::SetDerived(_) => alone("set derived"),
            Op::RaiseLevel(_) => alone("raise level"),
            Op::TimeMark(_) => alone("time mark"),
            Op::MarkLost(_) => alone("mark lost"),
        }
    }
}

fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Create(_) => "create",
        Kind::Enqueue(_) => "enqueue",
        Kind::Remove(_) => "remove",
        Kind::Move(_) => "move",
        Kind::Clear(_) => "clear",
        Kind::Play(_) => "play",
        Kind::Pause(_) => "pause",
        Kind::Seek(_) => "seek",
        Kind::Skip(_) => "skip",
        Kind::Back(_) => "back",
        Kind::Rename(_) => "rename",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jam_proto::wire::log::v1::RoomCommand;
    use jam_proto::wire::v1::{Command, CreateRoom};

    #[test]
    fn a_log_has_neither_names_nor_codes_nor_ids() {
        let create = CreateRoom { name: "the-kitchen".into() };
        let command = RoomCommand {
            session: b"a-secret-session".to_vec(),
            room: "ABCDEFGHJK".into(),
            command: Some(Command { kind: Some(Kind::Create(create)) }),
            ..Default::default()
        };
        let about = About::op(&Op::Command(command.clone()));
        let said = format!("{about:?}");
        for secret in ["kitchen", "ABCDEFGHJK", "secret"] {
            assert!(!said.contains(secret), "{said}");
        }
        assert_eq!((about.what, about), ("create", About::op(&Op::Command(command))));
        assert_eq!(about.room.expect("a room").to_string().len(), 8);
    }
}
