//! A shard: the rooms, sessions and tracks of one Raft group, as a pure function of its log.

use crate::command::Reply;
use crate::event::Event;
use crate::ids::{RoomCode, TrackId};
use crate::room::Room;
use crate::time::SharedTime;
use crate::wire;

/// The replicated state machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shard {}

/// What one log entry did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// For the one who proposed it.
    pub outcome: Outcome,
    /// What watchers of each room hear. Only an epoch bump touches more than one room.
    pub events: Vec<(RoomCode, Vec<Event>)>,
}

/// The answer to a proposal.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The session is open (also if it was already).
    SessionOpened,
    /// A room command was applied or judged.
    Command(Reply),
    /// The committed track: the first one registered under its id wins.
    Track(wire::v1::Track),
    /// The cluster has this many tracks, its limit.
    TracksFull(usize),
    /// The track is forgotten.
    Forgotten,
    /// The clock epoch is in force.
    Epoch,
    /// The node id that takes the place.
    Node(u64),
    /// The entry held nothing to do.
    Nothing,
}

impl Shard {
    /// Applies one log entry. The same entries in the same order give the same shard on every node.
    pub fn apply(&mut self, _entry: &wire::log::v1::LogEntry) -> Applied {
        todo!()
    }
    /// A room.
    pub fn room(&self, _code: &RoomCode) -> Option<&Room> {
        todo!()
    }
    /// All rooms, by code.
    pub fn rooms(&self) -> impl Iterator<Item = (&RoomCode, &Room)> {
        std::iter::empty()
    }
    /// A committed track.
    pub fn track(&self, _id: &TrackId) -> Option<&wire::v1::Track> {
        todo!()
    }
    /// All committed tracks, by id.
    pub fn tracks(&self) -> impl Iterator<Item = (&TrackId, &wire::v1::Track)> {
        std::iter::empty()
    }
    /// The clock epoch in force; all zero before the first one.
    pub fn epoch(&self) -> &wire::log::v1::ClockEpoch {
        todo!()
    }
    /// The last stamp given.
    pub fn last_stamp(&self) -> SharedTime {
        todo!()
    }
    /// Which node holds a place (the `--id` of its jamd), if it is not the node of that number.
    pub fn replacement(&self, _place: u64) -> Option<u64> {
        todo!()
    }
    /// The whole state, for snapshots.
    pub fn to_wire(&self) -> wire::log::v1::ShardSnapshot {
        todo!()
    }
    /// From a snapshot.
    pub fn from_wire(_snapshot: &wire::log::v1::ShardSnapshot) -> Result<Self, crate::ids::InvalidName> {
        todo!()
    }
}
