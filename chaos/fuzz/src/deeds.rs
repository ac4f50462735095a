//! Operations of the log that make sense often enough to go deep: few users, few rooms, few songs.

use arbitrary::Arbitrary;
use jam_proto::command::{Command, RoomCommand};
use jam_proto::ids::{EntryId, RoomCode, SessionId, TrackId};
use jam_proto::time::Flicks;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{
    ClockEpoch, ForgetTrack, LogEntry, OpenSession, PauseUnheard, RegisterTrack, ReplaceNode,
};
use jam_proto::wire::v1::Track;

/// One entry of the log, or time that passes.
#[derive(Arbitrary, Clone, Debug)]
pub enum Deed {
    /// Milliseconds.
    Wait(u32),
    /// The leader's time jumps: to any flick.
    Jump(i64),
    /// A session.
    Open { user: u8 },
    /// A command: its session's next, the same one again, or one with an old number.
    Command { user: u8, number: Number, room: u8, what: What },
    /// A song: its length in frames.
    Register { song: u8, frames: u32, rate: u32 },
    /// It goes.
    Forget { song: u8 },
    /// A leader begins.
    Epoch { bump: bool, floor: Option<i64>, bound_ns: i64, drift_ppb: i64 },
    /// Nobody listens.
    Pause { room: u8, back: u8 },
    /// A place gets another node.
    Replace { place: u64, holder: u64 },
}

/// Which number a command has.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Number {
    Next,
    Same,
    Any(u64),
}

/// A command. Entries are counted from 0.
#[derive(Arbitrary, Clone, Debug)]
pub enum What {
    Create(String),
    Enqueue { song: u8, next: bool },
    Remove(u8),
    Move { entry: u8, before: Option<u8> },
    Clear,
    Play(Option<u8>),
    Pause(Option<u8>),
    Seek { entry: u8, millis: u32 },
    Skip(u8),
    Back(Option<u8>),
    Rename(String),
}

/// Makes log entries of deeds.
#[derive(Default)]
pub struct Log {
    now: i64,
    epoch: u64,
    term: u64,
    numbers: [u64; 4],
}

impl Log {
    /// The leader's time, flicks.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The entry of a deed; `None`: only time passed. `revision` is that of a room, by its number.
    pub fn entry(&mut self, deed: &Deed, revision: impl Fn(&RoomCode) -> u64) -> Option<LogEntry> {
        let op = match *deed {
            Deed::Wait(millis) => {
                self.now = self.now.saturating_add(Flicks::from_millis(millis.into()).0);
                return None;
            }
            Deed::Jump(to) => {
                self.now = to;
                return None;
            }
            Deed::Open { user } => {
                let (session, user) = (session(user).to_wire(), format!("user {}", user % 4));
                Op::OpenSession(OpenSession { session, user, ..Default::default() })
            }
            Deed::Command { user, number, room, ref what } => {
                let last = &mut self.numbers[usize::from(user % 4)];
                let number = match number {
                    Number::Next => {
                        *last = last.saturating_add(1);
                        *last
                    }
                    Number::Same => *last,
                    Number::Any(number) => number,
                };
                let (session, room, command) = (session(user), self::room(room), command(what));
                Op::Command(RoomCommand { session, number, room, command }.to_wire())
            }
            Deed::Register { song, frames, rate } => {
                let track = Track {
                    id: self::song(song).to_wire(),
                    frames: frames.into(),
                    sample_rate: rate,
                    title: format!("song {song}"),
                    ..Track::default()
                };
                Op::RegisterTrack(RegisterTrack { track: Some(track), ..Default::default() })
            }
            Deed::Forget { song } => {
                Op::ForgetTrack(ForgetTrack {
                    track: self::song(song).to_wire(),
                    unused_before: self.now,
                })
            }
            Deed::Epoch { bump, floor, bound_ns, drift_ppb } => {
                self.epoch = self.epoch.saturating_add(bump.into());
                self.term += 1;
                Op::ClockEpoch(ClockEpoch {
                    epoch: self.epoch,
                    term: self.term,
                    node: 1,
                    floor: floor.unwrap_or(self.now),
                    error_bound_ns: bound_ns,
                    drift_bound_ppb: drift_ppb,
                    since: self.now,
                })
            }
            Deed::Pause { room, back } => {
                let room = self::room(room);
                let revision = revision(&room).wrapping_sub(u64::from(back % 2));
                Op::PauseUnheard(PauseUnheard { room: room.as_str().to_owned(), revision })
            }
            Deed::Replace { place, holder } => Op::ReplaceNode(ReplaceNode { node: place, holder }),
        };
        let lead = Flicks::from_millis(400).0;
        Some(LogEntry {
            proposed_stamp: self.now,
            proposed_effective: self.now.saturating_add(lead),
            op: Some(op),
            ..Default::default()
        })
    }
}

fn session(user: u8) -> SessionId {
    SessionId([user % 4; 16])
}

fn room(room: u8) -> RoomCode {
    RoomCode::from_random(u64::from(room % 3))
}

fn song(song: u8) -> TrackId {
    TrackId([song % 5; 32])
}

fn entry(entry: u8) -> EntryId {
    EntryId(u64::from(entry) + 1)
}

fn command(what: &What) -> Command {
    match *what {
        What::Create(ref name) => Command::Create { name: name.clone() },
        What::Enqueue { song, next } => Command::Enqueue { track: self::song(song), next },
        What::Remove(removed) => Command::Remove { entry: entry(removed) },
        What::Move { entry: moved, before } => {
            Command::Move { entry: entry(moved), before: before.map(entry) }
        }
        What::Clear => Command::Clear,
        What::Play(current) => Command::Play { entry: current.map(entry) },
        What::Pause(current) => Command::Pause { entry: current.map(entry) },
        What::Seek { entry: current, millis } => {
            let position = Flicks::from_millis(millis.into());
            Command::Seek { entry: entry(current), position }
        }
        What::Skip(current) => Command::Skip { entry: entry(current) },
        What::Back(current) => Command::Back { entry: current.map(entry) },
        What::Rename(ref name) => Command::Rename { name: name.clone() },
    }
}
