//! One Raft group and its rooms, as the rest of a node sees it. Openraft's own types stay behind it.

mod holders;
mod propose;
mod raise;
mod transfer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use holders::TooFewCopies;
use jam_proto::event::Event;
use jam_proto::ids::{RoomCode, TrackId};
use jam_proto::limits::OPERATION_BYTES_MAX;
use jam_proto::shard::{Evicted, Outcome, Shard};
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::Track;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ForwardToLeader, LinearizableReadError, RaftError};
use openraft::raft::linearizable_read::LinearizerOption;
use propose::{Leading, Proposals};
pub use raise::{RaiseError, raise_when_allowed};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Status;
use tonic::metadata::MetadataMap;

pub use transfer::TransferError;

use crate::identity::{Folder, Id, Stage};
use crate::raft::addresses::Addresses;
use crate::raft::contact::{self, Contact};
use crate::raft::handle::Handle;
use crate::raft::link;
use crate::raft::members::{follow_standing, standing};
use crate::raft::types::Types;

/// A read waits this many leases for a majority to confirm the leader.
const LEASES_PER_READ: u32 = 4;
/// Between two looks at whether Raft still runs.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For building and storing a snapshot.
const SNAPSHOT_TTL: Duration = Duration::from_secs(120);
/// Between two requests for one: Raft ignores them while it builds one, which may end below what is asked for.
const SNAPSHOT_ASK_EVERY: Duration = Duration::from_millis(250);

/// The leader's clock, as proposals are stamped with it.
pub trait Stamper: Send + Sync {
    /// Shared time now.
    fn now(&self) -> SharedTime;
    /// How far ahead a command for `room` is announced.
    fn lead(&self, room: Option<&RoomCode>) -> Flicks;
}

/// What an entry of the log holds.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// Nothing: a leader's first one.
    Blank,
    /// The members from here on, as text.
    Members(String),
    /// An encoded `LogBatch`.
    Batch(&'a [u8]),
    /// All that the log held so far: a snapshot took its place.
    Snapshot,
}

/// Hears what is applied, in log order, while the state is locked: what it publishes and what a
/// reader then finds in the state belong together.
pub trait AppliedSink: Send + Sync {
    /// This node takes part in the log as the node of this id. Before anything is applied.
    fn belongs(&self, _node: u64) {}
    /// One log entry was applied.
    fn applied(&self, index: u64, events: &[(RoomCode, Vec<Event>)], state: &Shard);
    /// One log entry without operations was applied: a leader's first one, or a change of the members.
    fn passed(&self, _index: u64) {}
    /// It was the registration of this track, or of what was made of it.
    fn registered(&self, _track: &Track) {}
    /// It made the log forget these bytes: a track's own, or what was made of one.
    fn forgotten(&self, _id: &TrackId) {}
    /// It closed a session to make room for another one.
    fn evicted(&self, _evicted: Evicted) {}
    /// This entry of the log was applied, or a snapshot up to it, and this is the state since.
    fn witnessed(&self, _term: u64, _index: u64, _entry: Payload<'_>, _state: &Shard) {}
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
    /// Too few nodes hold a song that is to be registered. Never applied.
    #[error(transparent)]
    TooFewCopies(#[from] TooFewCopies),
    /// The node is stopping or its disk failed. Never applied.
    #[error("this node is stopping: {0}")]
    Stopped(String),
    /// It is above the limit of one operation. Never applied.
    #[error("an operation of {bytes} bytes is above the limit of {OPERATION_BYTES_MAX} bytes")]
    TooLarge {
        /// What it has.
        bytes: usize,
    },
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
    /// Last log index known to be committed here.
    pub committed: u64,
    /// Last log index applied here.
    pub applied: u64,
    /// Last log index in this node's snapshot.
    pub snapshot: u64,
    /// Last log index that is only in its snapshot: a node that lacks it needs the snapshot.
    pub purged: u64,
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
    pub addresses: Addresses,
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
    inner: Arc<Inner>,
}

struct Inner {
    handle: Arc<Handle>,
    leading: Arc<Leading>,
    proposals: Proposals,
    folder: Arc<Folder>,
    standings: watch::Receiver<Standing>,
}

impl Group {
    /// A group whose Raft runs.
    pub(crate) fn new(handle: Arc<Handle>, folder: Arc<Folder>, stamper: Arc<dyn Stamper>) -> Self {
        let first = standing(&handle.raft.metrics().borrow_watched(), handle.timing.lease());
        let (changes, standings) = watch::channel(first);
        tokio::spawn(follow_standing(handle.clone(), folder.clone(), changes));
        tokio::spawn(handle.clone().beat());
        let leading =
            Arc::new(Leading { handle: handle.clone(), stopping: AtomicBool::new(false) });
        let proposals = Proposals::start(leading.clone(), stamper);
        Self { inner: Arc::new(Inner { handle, leading, proposals, folder, standings }) }
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> Id {
        self.inner.handle.own.cluster.expect("Raft starts only in a cluster")
    }

    /// Stamps, replicates and applies `op`. Only the leader can, and only once its `ClockEpoch` of
    /// this term is applied (until then it answers `NotLeader { leader: None }`, as in an election).
    pub async fn propose(&self, op: Op, timeout: Duration) -> Result<Outcome, ProposeError> {
        self.inner.proposals.submit(op, timeout, false, self.standing_changes()).await
    }

    /// As `propose`, for the `ClockEpoch` that opens a leadership.
    pub async fn propose_epoch(&self, op: Op, timeout: Duration) -> Result<Outcome, ProposeError> {
        self.inner.proposals.submit(op, timeout, true, self.standing_changes()).await
    }

    /// Returns when this node's state is at least as new as all that was acknowledged anywhere before
    /// the call (ReadIndex). Leader only.
    pub async fn read_barrier(&self, timeout: Duration) -> Result<(), ProposeError> {
        let deadline = Instant::now() + timeout;
        let handle = &self.inner.handle;
        self.inner.leading.check_running(&handle.raft.metrics().borrow_watched())?;
        let wait = timeout.min(handle.timing.lease() * LEASES_PER_READ);
        let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(wait);
        let confirmed = timeout_at(deadline, handle.raft.get_read_linearizer(option)).await;
        let linearizer = match confirmed.map_err(|_| ProposeError::NoQuorum)? {
            Ok(linearizer) => linearizer,
            Err(RaftError::Fatal(fatal)) => return Err(self.inner.leading.stopped(&fatal)),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                return Err(not_leader(forward));
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                return Err(ProposeError::NoQuorum);
            }
        };
        let rest = deadline.saturating_duration_since(Instant::now());
        match linearizer.try_await_ready(&handle.raft, Some(rest)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ProposeError::NoQuorum),
            Err(fatal) => Err(self.inner.leading.stopped(&fatal)),
        }
    }

    /// Looks at the state. Keep it short: applying waits.
    pub fn read<T>(&self, look: impl FnOnce(&Shard) -> T) -> T {
        look(&self.inner.handle.state.read().shard)
    }

    /// As [`Group::read`], with the log index up to which the state was applied.
    pub fn read_at<T>(&self, look: impl FnOnce(u64, &Shard) -> T) -> T {
        let state = self.inner.handle.state.read();
        look(state.applied.map_or(0, |applied| applied.index), &state.shard)
    }

    /// Where the group stands now.
    pub fn standing(&self) -> Standing {
        let handle = &self.inner.handle;
        standing(&handle.raft.metrics().borrow_watched(), handle.timing.lease())
    }

    /// Whether this node hears a live leader: as a follower from that leader, as the leader from a majority.
    pub fn contact(&self) -> Contact {
        let handle = &self.inner.handle;
        contact::judge(handle.heard.silent_for(Instant::now()), handle.timing.election_max())
    }

    /// The longest time without a leader after which a node asks for votes.
    pub fn election_max(&self) -> Duration {
        self.inner.handle.timing.election_max()
    }

    /// Whether the majority of the nodes is known to be gone. While it is not, an election is under way or about to be.
    pub fn lacks_majority(&self) -> bool {
        self.inner.handle.lacks_majority()
    }

    /// Whether this node has applied what was committed when it started: as far as the first leader said, or as the leader itself.
    pub fn has_caught_up(&self) -> bool {
        let applied = self.inner.handle.state.read().applied.map_or(0, |applied| applied.index);
        let standing = self.standing();
        let leads =
            standing.leads_with_lease && self.read(|shard| shard.epoch().term) == standing.term;
        leads || self.inner.handle.heard.has_caught_up(applied)
    }

    /// Wakes at each change of term, leader, lease or membership.
    pub fn standing_changes(&self) -> watch::Receiver<Standing> {
        self.inner.standings.clone()
    }

    /// Builds a snapshot of what is applied now, or more. Answers the last log index that is in it for certain.
    pub async fn snapshot(&self) -> Result<u64, ProposeError> {
        let raft = &self.inner.handle.raft;
        let mut metrics = raft.metrics();
        // From the state: the metrics may not have caught up with what was acknowledged a moment ago.
        let goal = self.inner.handle.state.read().applied;
        let deadline = Instant::now() + SNAPSHOT_TTL;
        while metrics.borrow_watched().snapshot < goal {
            if Instant::now() >= deadline {
                return Err(ProposeError::Unknown);
            }
            raft.trigger().snapshot().await.map_err(|fatal| self.inner.leading.stopped(&fatal))?;
            let built = async {
                while metrics.borrow_watched().snapshot < goal {
                    if metrics.changed().await.is_err() {
                        // Raft has stopped; asking again tells why.
                        return;
                    }
                }
            };
            // Late or not, the next look finds what is true.
            let _ = timeout(SNAPSHOT_ASK_EVERY, built).await;
        }
        Ok(goal.map_or(0, |goal| goal.index))
    }

    /// Returns when Raft has stopped by itself, with the reason as a sentence: its disk failed, the log was written by a
    /// newer build, this node must not go on, or a bug.
    pub async fn failed(&self) -> String {
        let mut fault = self.inner.handle.store.fault();
        loop {
            fault.mark_unchanged();
            if let Some(reason) = self.failure() {
                return reason;
            }
            // The metrics change with every commit, and this is for once in a node's life.
            tokio::select! {
                Ok(()) = fault.changed() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Why Raft has stopped by itself, if it has: a sentence.
    pub fn failure(&self) -> Option<String> {
        let handle = &self.inner.handle;
        if let Some(reason) = handle.given_up.get().map(String::as_str).or(handle.state.newer()) {
            return Some(reason.to_owned());
        }
        let untrusted = |reason| format!("this node can't be trusted any more: {reason}");
        if let Some(fault) = self.inner.handle.store.fault().borrow().clone() {
            return Some(untrusted(fault));
        }
        let running = self.inner.handle.raft.metrics().borrow_watched().running_state.clone();
        let fatal = running.err().filter(|_| !self.is_stopped())?;
        Some(untrusted(format!("Raft has stopped: {fatal}")))
    }

    /// Whether `shutdown` was called.
    pub fn is_stopped(&self) -> bool {
        self.inner.leading.stopping.load(Ordering::Acquire)
    }

    /// Hands leadership over if it still must be, stops Raft and closes the store.
    pub async fn shutdown(&self) {
        if self.inner.leading.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        self.hand_over().await;
        if let Err(error) = self.inner.handle.raft.shutdown().await {
            tracing::error!(%error, "Raft ended in a panic");
        }
        if let Err(error) = self.inner.handle.store.close().await {
            tracing::error!(%error, "the Raft store was not closed cleanly");
        }
    }

    /// Puts into a call to the member `node` who calls whom, so that it can be sure.
    pub fn sign(&self, node: u64, metadata: &mut MetadataMap) -> Result<(), Status> {
        let handle = &self.inner.handle;
        let target = handle.node(node);
        let target =
            target.ok_or_else(|| Status::unavailable(format!("there is no node {node}")))?;
        metadata.insert_bin(link::HEADER_KEY, link::header(&handle.own, node, &target));
        Ok(())
    }

    /// Checks that a call is meant for this node and its data folder, and comes from a member's.
    pub fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        self.inner.handle.caller(metadata).map(drop)
    }

    /// The data folder's own place and stage, for status.
    pub fn stage(&self) -> Stage {
        self.inner.folder.identity().stage
    }
}

fn not_leader(forward: ForwardToLeader<Types>) -> ProposeError {
    ProposeError::NotLeader {
        leader: forward.leader_id.zip(forward.leader_node.map(|node| node.addresses.peers)),
    }
}
