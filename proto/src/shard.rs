//! A shard: the rooms, sessions and tracks of one Raft group, as a pure function of its log.
//!
//! The leader proposes when an entry happened and from when on it may be heard; the log's order
//! decides. Each entry gets a *stamp* above the one before, and a room's entries take effect in
//! their order: `effective_at` never falls.

mod derived;
mod lost;
mod nodes;
mod opening;
mod sessions;
mod stamps;
mod tracks;
mod uses;
pub mod weight;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::command::{Command, Rejection, Reply, RoomCommand};
use crate::convert::{Malformed, within_range};
use crate::event::{Event, EventKind, Song};
use crate::ids::{Revision, RoomCode, TrackId};
use crate::level::{self, FeatureLevel};
use crate::limits;
use crate::room::Room;
use crate::sync::Succession;
use crate::time::{Flicks, SharedTime};
use crate::wire::log::v1 as log;
use crate::wire::v1::Track;
use log::log_entry::Op;
pub use sessions::Evicted;
use sessions::{Admission, Sessions};
use stamps::Times;
use uses::Uses;

/// The replicated state machine. A clone shares all that it holds and costs next to nothing, whatever
/// the number of rooms, so that a snapshot can be encoded and lists be made while entries are applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shard {
    /// The rules in force.
    level: FeatureLevel,
    last_stamp: SharedTime,
    /// By how much stamps went ahead at the beginning of epochs without making anything older: see [`Shard::aged`].
    skipped: Flicks,
    epoch: log::ClockEpoch,
    succession: Succession,
    rooms: OrdMap<RoomCode, Arc<Room>>,
    sessions: Sessions,
    tracks: OrdMap<TrackId, Arc<Track>>,
    /// What entries of each committed track share.
    songs: OrdMap<TrackId, Arc<Song>>,
    /// What the rooms hold: see [`weight`].
    held: u64,
    derived: derived::Blobs,
    uses: Uses,
    /// Committed tracks whose bytes no member has any more.
    lost: OrdSet<TrackId>,
    /// By place: the node that has it now.
    replacements: BTreeMap<u64, u64>,
    /// Above all ids given to replacements; 0: none was given.
    next_node: u64,
}

/// What one log entry did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// For the one who proposed it.
    pub outcome: Outcome,
    /// What watchers of each room hear. Only an epoch bump and a lost track touch more than one room.
    pub events: Vec<(RoomCode, Vec<Event>)>,
    /// Bytes that nobody needs any more: a track's own, and what was made of it.
    pub gone: Vec<TrackId>,
    /// The session that was closed to make room for another one.
    pub evicted: Option<Evicted>,
}

/// The answer to a proposal.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The session is open.
    SessionOpened {
        /// Whether it was open before, and so remembers its last command. `None`: below [`FeatureLevel::GUARDED`], where
        /// it was not told.
        existed: Option<bool>,
    },
    /// The session was not opened: this many are open, the limit, and none of them may be closed.
    SessionsFull(usize),
    /// A room command was applied or judged.
    Command(Reply),
    /// The committed track: the first one registered under its id wins.
    Track(Track),
    /// The cluster has this many tracks, its limit.
    TracksFull(usize),
    /// The track is forgotten.
    Forgotten,
    /// The track is marked as lost.
    Lost,
    /// The clock epoch is in force.
    Epoch,
    /// The node id that takes the place.
    Node(u64),
    /// The feature level in force.
    Level(FeatureLevel),
    /// The entry held nothing to do.
    Nothing,
}

impl Shard {
    /// Applies one log entry, which the leader of `term` proposed. The same entries in the same order give the same
    /// shard on every node.
    ///
    /// An entry that is malformed at a known feature level (only a bug could have proposed it) does nothing, on every
    /// node. The caller stops at an entry above the level of its build: see [`level::check_entry`].
    pub fn apply(&mut self, term: u64, entry: &log::LogEntry) -> Applied {
        let times = self.stamp(term, entry);
        let stated = FeatureLevel(entry.level);
        let applied = match &entry.op {
            Some(op) if level::needed(op) > stated => Err(Malformed::Contradiction("its level")),
            Some(Op::RaiseLevel(raise)) => Ok(Applied::only(self.raise_level(raise))),
            Some(_) if stated > self.level => Err(Malformed::Contradiction("its level")),
            Some(Op::OpenSession(open)) => self.open_session(open, times.aged),
            Some(Op::Command(command)) => self.command(command, times),
            Some(Op::RegisterTrack(register)) => {
                self.register(register, times.aged).map(Applied::only)
            }
            Some(Op::ForgetTrack(forget)) => self.forget(forget),
            Some(Op::SetDerived(set)) => self.set_derived(set),
            Some(Op::ClockEpoch(epoch)) => self.begin_epoch(epoch, term, times),
            Some(Op::PauseUnheard(pause)) => self.pause_unheard(pause, times),
            Some(Op::ReplaceNode(replace)) => self.replace_node(replace).map(Applied::only),
            Some(Op::MarkLost(mark)) => self.mark_lost(mark, times),
            Some(Op::TimeMark(log::TimeMark {})) => Ok(Applied::only(Outcome::Nothing)),
            None => Err(Malformed::Missing("the operation")),
        };
        applied.unwrap_or_else(|_| Applied::only(Outcome::Nothing))
    }

    fn raise_level(&mut self, raise: &log::RaiseLevel) -> Outcome {
        self.level = self.level.max(FeatureLevel(raise.level));
        Outcome::Level(self.level)
    }

    fn command(&mut self, command: &log::RoomCommand, times: Times) -> Result<Applied, Malformed> {
        let request = RoomCommand::from_wire(command)?;
        self.sessions.expire(times.aged, Some(request.session));
        let user = match self.sessions.admit(&request) {
            Admission::New(user) => user,
            Admission::Repeated(reply) => return Ok(Applied::only(Outcome::Command(reply))),
            Admission::Refused(rejection) => {
                let room = self.room(&request.room);
                let reply = Reply {
                    revision: room.map_or(Revision(0), |room| room.revision()),
                    effective_at: room.map_or(times.audible, |room| times.effective_in(room)),
                    entry: None,
                    rejection: Some(rejection),
                };
                return Ok(Applied::only(Outcome::Command(reply)));
            }
        };
        let (reply, event) = match &request.command {
            Command::Create { name } => self.create(&request.room, name, &user, times),
            command => self.edit(&request.room, command, &user, times),
        };
        let events = event.map(|event| (request.room.clone(), vec![event])).into_iter().collect();
        self.sessions.settle(request, reply.clone(), times.aged);
        Ok(Applied { events, ..Applied::only(Outcome::Command(reply)) })
    }

    fn create(
        &mut self,
        code: &RoomCode,
        name: &str,
        user: &str,
        times: Times,
    ) -> (Reply, Option<Event>) {
        let mut reply = Reply {
            revision: Revision(0),
            effective_at: times.audible,
            entry: None,
            rejection: None,
        };
        if let Some(room) = self.rooms.get(code) {
            reply.revision = room.revision();
            reply.rejection = Some(Rejection::RoomExists(code.clone()));
            return (reply, None);
        }
        if self.rooms.len() >= limits::ROOMS_MAX {
            reply.rejection = Some(Rejection::RoomsFull { limit: limits::ROOMS_MAX });
            return (reply, None);
        }
        if let Some(full) = self.is_full(weight::ROOM_BYTES) {
            reply.rejection = Some(full);
            return (reply, None);
        }
        reply.revision = Revision(1);
        let created = Event {
            revision: reply.revision,
            stamp: times.stamp,
            effective_at: times.audible,
            by: user.to_owned(),
            kind: EventKind::Created { code: code.clone(), name: name.to_owned() },
        };
        let room = Room::begin(&created).expect("a Created event begins a room");
        self.held += weight::of(&room);
        self.rooms.insert(code.clone(), Arc::new(room));
        (reply, Some(created))
    }

    fn edit(
        &mut self,
        code: &RoomCode,
        command: &Command,
        user: &Arc<str>,
        times: Times,
    ) -> (Reply, Option<Event>) {
        let (level, is_full) = (self.level, self.is_full(weight::ENTRY_BYTES));
        let Some(room) = self.rooms.get_mut(code) else {
            let rejection = Some(Rejection::RoomUnknown(code.clone()));
            let reply = Reply {
                revision: Revision(0),
                effective_at: times.audible,
                entry: None,
                rejection,
            };
            return (reply, None);
        };
        let effective_at = match command {
            // A name makes no sound: nobody needs time to get ready for it.
            Command::Rename { .. } => times.stamp.max(room.last_effective()),
            _ => times.effective_in(room),
        };
        let song = match command {
            Command::Enqueue { track, .. } if !self.lost.contains(track) => {
                self.songs.get(track).cloned()
            }
            _ => None,
        };
        let mut reply =
            Reply { revision: room.revision(), effective_at, entry: None, rejection: None };
        match (room.judge(level, command, user, song, effective_at), is_full) {
            (Ok(None), _) => (reply, None),
            (Ok(Some(EventKind::Enqueued { .. })), Some(full)) => {
                reply.rejection = Some(full);
                (reply, None)
            }
            (Ok(Some(kind)), _) => {
                let mut gone = Vec::new();
                let before = weight::of(room);
                let room = Arc::make_mut(room);
                let event = room.append(kind, user, times.stamp, effective_at, &mut gone);
                self.held = self.held - before + weight::of(room);
                reply.revision = event.revision;
                if let EventKind::Enqueued { entry, .. } = &event.kind {
                    reply.entry = Some(entry.id);
                    self.uses.add(entry.track);
                }
                self.uses.drop_all(gone, times.aged);
                (reply, Some(event))
            }
            (Err(rejection), _) => {
                reply.rejection = Some(rejection);
                (reply, None)
            }
        }
    }

    fn begin_epoch(
        &mut self,
        epoch: &log::ClockEpoch,
        term: u64,
        times: Times,
    ) -> Result<Applied, Malformed> {
        if !self.admits(epoch, term) {
            return Err(Malformed::Contradiction("a clock epoch that does not follow"));
        }
        let bumped = epoch.epoch > self.epoch.epoch;
        self.succession = self.succession.followed_by(epoch);
        self.epoch = log::ClockEpoch { epoch: epoch.epoch.max(self.epoch.epoch), ..*epoch };
        let mut applied = Applied::only(Outcome::Epoch);
        let mut gone = Vec::new();
        if bumped {
            // As the stamp was given: its floor may have been cut.
            let floor = within_range(epoch.floor).min(times.stamp);
            // What was announced for later than the floor stays as it was announced.
            let sounds = |room: &Room| {
                let sounding = room.at(floor.max(room.last_effective()));
                sounding.playing && sounding.entry.is_some()
            };
            let sounding = self.rooms().filter(|(_, room)| sounds(room));
            let sounding: Vec<RoomCode> = sounding.map(|(code, _)| code.clone()).collect();
            for code in sounding {
                let room = self.rooms.get_mut(&code).expect("it was found there");
                let effective_at = times.effective_in(room);
                let kind = EventKind::EpochBumped { epoch: epoch.epoch, floor };
                let before = weight::of(room);
                let room = Arc::make_mut(room);
                let event = room.append(kind, "", times.stamp, effective_at, &mut gone);
                self.held = self.held - before + weight::of(room);
                applied.events.push((code, vec![event]));
            }
        }
        self.uses.drop_all(gone, times.aged);
        Ok(applied)
    }

    fn pause_unheard(
        &mut self,
        pause: &log::PauseUnheard,
        times: Times,
    ) -> Result<Applied, Malformed> {
        let code = RoomCode::parse(&pause.room)?;
        let Some(room) = self.rooms.get_mut(&code) else {
            return Ok(Applied::only(Outcome::Nothing));
        };
        if room.revision().0 != pause.revision || !room.is_playing() {
            return Ok(Applied::only(Outcome::Nothing));
        }
        let effective_at = times.effective_in(room);
        let kind = EventKind::Paused { nobody_listening: true };
        let mut gone = Vec::new();
        let before = weight::of(room);
        let room = Arc::make_mut(room);
        let event = room.append(kind, "", times.stamp, effective_at, &mut gone);
        self.held = self.held - before + weight::of(room);
        self.uses.drop_all(gone, times.aged);
        let reply = Reply { revision: event.revision, effective_at, entry: None, rejection: None };
        Ok(Applied { events: vec![(code, vec![event])], ..Applied::only(Outcome::Command(reply)) })
    }

    /// A room, to look at or to share.
    pub fn room(&self, code: &RoomCode) -> Option<&Arc<Room>> {
        self.rooms.get(code)
    }

    /// All rooms, by code.
    pub fn rooms(&self) -> impl Iterator<Item = (&RoomCode, &Room)> {
        self.rooms.iter().map(|(code, room)| (code, room.as_ref()))
    }

    /// The feature level in force.
    pub fn level(&self) -> FeatureLevel {
        self.level
    }

    /// The clock epoch in force; all zero before the first one.
    pub fn epoch(&self) -> &log::ClockEpoch {
        &self.epoch
    }

    /// The leaders of the clock epoch in force, in sum.
    pub fn succession(&self) -> &Succession {
        &self.succession
    }

    /// The last stamp given.
    pub fn last_stamp(&self) -> SharedTime {
        self.last_stamp
    }
}

impl Applied {
    fn only(outcome: Outcome) -> Self {
        Self { outcome, events: Vec::new(), gone: Vec::new(), evicted: None }
    }
}
