//! A room as the search sees it: what a state is, and which operations it accepts.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jam_proto::command::{Command, Rejection, Reply, RoomCommand};
use jam_proto::event::{Event, EventKind, Song};
use jam_proto::ids::{EntryId, Revision, TrackId};
use jam_proto::level::FeatureLevel;
use jam_proto::room::Room;
use jam_proto::time::SharedTime;
use jam_proto::wire::v1::{SubmitReply, Track};
use porcupine_rs::Model;

use crate::history::Digest;

/// The sequential specification.
#[derive(Clone, Debug)]
pub(super) struct RoomModel;

/// A room between two operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// None: it was not created yet.
    room: Option<Arc<Held>>,
    /// How many operations that tell of its revision it has had.
    told: usize,
}

/// A room; it is digested when a read first asks.
#[derive(Debug)]
struct Held {
    room: Room,
    digest: OnceLock<Digest>,
}

/// An operation, as the search takes it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub act: Arc<Act>,
    /// The room's revision after it, by its answer.
    pub revision: u64,
    /// How many operations tell of the revision below. A room has each revision once, so all of them come before
    /// the one that leads to this revision: the search need not try what leaves one behind. None: it may.
    pub before: Option<usize>,
    pub budget: Arc<Budget>,
}

/// What is done to a room, and what was told.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Command(Box<Asked>),
    /// None: it is not there.
    Read(Option<Digest>),
    /// The cluster's own doing.
    Event(Event),
}

/// A command with its reply.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub command: RoomCommand,
    pub user: String,
    /// The song of an `Enqueue`, if the cluster had it.
    pub track: Option<Track>,
    /// From the log.
    pub stamp: SharedTime,
    pub told: SubmitReply,
}

/// How much a search may do.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Budget {
    pub fn of(steps: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(steps)))
    }

    pub fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// False: it is spent. The last step is not taken, so that a search that ends has some left.
    fn spend(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(1);
        // A search is one thread.
        self.0.store(left, Ordering::Relaxed);
        left > 0
    }
}

impl Model for RoomModel {
    type State = State;
    type Op = Step;
    type Metadata = ();

    fn init() -> State {
        State { room: None, told: 0 }
    }

    fn step(state: &State, step: &Step) -> (bool, State) {
        match step.taken_by(state) {
            Some(next) => (true, next),
            None => (false, state.clone()),
        }
    }
}

/// What an accepted operation leaves behind.
enum After {
    Same,
    Changed(Arc<Held>),
}

impl Step {
    fn taken_by(&self, state: &State) -> Option<State> {
        let stays = self.revision == state.revision();
        let moves = self.revision == state.revision() + 1
            && self.before.is_none_or(|before| before == state.told);
        if !(stays || moves) || !self.budget.spend() {
            return None;
        }
        let room = state.room.as_ref().map(|held| &held.room);
        let after = match self.act.as_ref() {
            Act::Read(told) => (*told == state.digest()).then_some(After::Same)?,
            Act::Command(asked) => asked.taken_by(room)?,
            Act::Event(event) => followed(room, event)?,
        };
        match after {
            After::Same if stays => Some(State { room: state.room.clone(), told: state.told + 1 }),
            After::Changed(room) if moves => Some(State { room: Some(room), told: 1 }),
            _ => None,
        }
    }
}

impl Asked {
    /// None: the reply is another one than was told. The level rises once, soon after a cluster has formed, and clients are not
    /// told when: so what either rule allows is taken.
    fn taken_by(&self, room: Option<&Room>) -> Option<After> {
        let levels = [FeatureLevel::CURRENT, FeatureLevel::FIRST];
        levels.into_iter().find_map(|level| self.taken_at(level, room))
    }

    fn taken_at(&self, level: FeatureLevel, room: Option<&Room>) -> Option<After> {
        let effective_at = SharedTime(self.told.effective_at);
        let (after, revision, entry, rejection) = match self.judge(level, room, effective_at) {
            Ok(Some(kind)) => {
                let revision = Revision(room.map_or(0, |room| room.revision().0) + 1);
                let entry = added(&kind);
                let (stamp, by) = (self.stamp, self.user.clone());
                let event = Event { revision, stamp, effective_at, by, kind };
                (followed(room, &event)?, revision, entry, None)
            }
            Ok(None) => (After::Same, room?.revision(), None, None),
            Err(rejection) => {
                let revision = room.map_or(Revision(0), Room::revision);
                (After::Same, revision, None, Some(rejection))
            }
        };
        let reply = Reply { revision, effective_at, entry, rejection };
        let in_order = match self.command.command {
            Command::Create { .. } => true,
            _ => room.is_none_or(|room| room.last_effective() <= effective_at),
        };
        (in_order && reply.to_wire() == self.told).then_some(after)
    }

    fn judge(
        &self,
        level: FeatureLevel,
        room: Option<&Room>,
        effective_at: SharedTime,
    ) -> Result<Option<EventKind>, Rejection> {
        let code = &self.command.room;
        match (room, &self.command.command) {
            (Some(room), command) => {
                let (kind, told) = (self.judge_in(level, room, command, effective_at)?, &self.told);
                match (&kind, told.rejection.as_ref()) {
                    // Of all rooms together, which this one can't know of.
                    (Some(EventKind::Enqueued { .. }), Some(told)) if told.code == "state_full" => {
                        Err(Rejection::from_wire(told))
                    }
                    _ => Ok(kind),
                }
            }
            (None, Command::Create { name }) => match self.told.rejection.as_ref() {
                // Of the other rooms, which this one can't know of.
                Some(told) if matches!(told.code.as_str(), "rooms_full" | "state_full") => {
                    Err(Rejection::from_wire(told))
                }
                _ => Ok(Some(EventKind::Created { code: code.clone(), name: name.clone() })),
            },
            (None, _) => Err(Rejection::RoomUnknown(code.clone())),
        }
    }

    fn judge_in(
        &self,
        level: FeatureLevel,
        room: &Room,
        command: &Command,
        effective_at: SharedTime,
    ) -> Result<Option<EventKind>, Rejection> {
        let song = self.track.as_ref().and_then(song);
        room.judge(level, command, &self.user.as_str().into(), song, effective_at)
    }
}

fn song(track: &Track) -> Option<Arc<Song>> {
    let id = TrackId::from_wire(&track.id).ok()?;
    Some(Arc::new(Song::of(id, track)))
}

fn added(kind: &EventKind) -> Option<EntryId> {
    match kind {
        EventKind::Enqueued { entry, .. } => Some(entry.id),
        _ => None,
    }
}

/// The room with one event more, if it is the next one and does not lie before the last.
fn followed(room: Option<&Room>, event: &Event) -> Option<After> {
    let room = match room {
        None => Room::begin(event)?,
        Some(room) if event.effective_at < room.last_effective() => return None,
        Some(room) => {
            let mut room = room.clone();
            room.fold(event).ok()?;
            room
        }
    };
    Some(After::Changed(Arc::new(Held { room, digest: OnceLock::new() })))
}

impl State {
    fn revision(&self) -> u64 {
        self.room.as_ref().map_or(0, |held| held.room.revision().0)
    }

    fn digest(&self) -> Option<Digest> {
        let held = self.room.as_ref()?;
        Some(*held.digest.get_or_init(|| Digest::of_room(&held.room)))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.room == other.room
    }
}

impl Eq for Held {}

impl Hash for State {
    fn hash<H: Hasher>(&self, to: &mut H) {
        // Rooms of one revision are nearly always equal.
        (self.revision(), self.told).hash(to);
    }
}
