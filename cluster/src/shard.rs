//! One Raft group and its rooms, as the rest of a node sees it. Openraft's own types stay behind it.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::event::Event;
use jam_proto::ids::RoomCode;
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1::log_entry::Op;

/// The leader's clock, as proposals are stamped with it.
pub trait Stamper: Send + Sync {
    /// Shared time now.
    fn now(&self) -> SharedTime;
    /// How far ahead a command for `room` is announced.
    fn lead(&self, room: Option<&RoomCode>) -> Flicks;
}

/// Hears what is applied, in log order, while the state is locked: what it publishes and what a
/// reader then finds in the state belong together.
pub trait AppliedSink: Send + Sync {
    /// One log entry was applied.
    fn applied(&self, index: u64, events: &[(RoomCode, Vec<Event>)], state: &Shard);
    /// The state was replaced by a snapshot.
    fn replaced(&self, index: u64, state: &Shard);
}

/// Why a proposal got no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not applied here: another node leads, if one is known. Never applied.
    #[error("this node does not lead")]
    NotLeader {
        /// Its id and address.
        leader: Option<(u64, String)>,
    },
    /// No majority answers. Never applied.
    #[error("no majority of the nodes answers; nothing was changed")]
    NoQuorum,
    /// The node is stopping or its disk failed. Never applied.
    #[error("this node is stopping: {0}")]
    Stopped(String),
    /// The deadline passed; it may still be applied.
    #[error("the outcome is unknown: it was not committed in time and may still be")]
    Unknown,
}

/// Where the group stands, for status and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// This node's id.
    pub id: u64,
    /// The current term.
    pub term: u64,
    /// The leader that this node knows.
    pub leader: Option<u64>,
    /// This node leads, and a majority answered within the lease.
    pub leads_with_lease: bool,
    /// Last log index applied here.
    pub applied: u64,
    /// Every member.
    pub members: Vec<Member>,
}

/// A member of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its node id.
    pub id: u64,
    /// `--id` of its jamd.
    pub place: u64,
    /// Where it is reached.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// On the leader: the last log index known to be stored there.
    pub matched: Option<u64>,
    /// On the leader: answered within the last second.
    pub alive: Option<bool>,
}

/// Handle to a running group. Cheap to clone.
#[derive(Clone)]
pub struct Group {
    inner: Arc<()>,
}

impl Group {
    /// Stamps, replicates and applies `op`. Only the leader can, and only once its `ClockEpoch` of
    /// this term is applied (until then it answers `NotLeader { leader: None }`, as in an election).
    pub async fn propose(&self, _op: Op, _timeout: Duration) -> Result<Outcome, ProposeError> {
        todo!()
    }
    /// As `propose`, for the `ClockEpoch` that opens a leadership.
    pub async fn propose_epoch(
        &self,
        _op: Op,
        _timeout: Duration,
    ) -> Result<Outcome, ProposeError> {
        todo!()
    }
    /// Returns when this node's state is at least as new as all that was acknowledged anywhere before
    /// the call (ReadIndex). Leader only.
    pub async fn read_barrier(&self, _timeout: Duration) -> Result<(), ProposeError> {
        todo!()
    }
    /// Looks at the state. Keep it short: applying waits.
    pub fn read<T>(&self, _look: impl FnOnce(&Shard) -> T) -> T {
        todo!()
    }
    /// Where the group stands now.
    pub fn standing(&self) -> Standing {
        todo!()
    }
    /// Wakes at each change of term, leader or membership.
    pub fn standing_changes(&self) -> tokio::sync::watch::Receiver<Standing> {
        todo!()
    }
}
