//! A running Raft, started from a store. What other nodes ask of it is in [`super::incoming`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jam_proto::level::FeatureLevel;
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, SnapshotPolicy};
use tokio::time::{Instant, MissedTickBehavior};

use super::admission::Admissions;
use super::contact::{LastHeard, Lease};
use super::incoming::Refusals;
use super::incoming_snapshot::IncomingSnapshots;
use super::journal::FILE_BYTES;
use super::link::Links;
use super::machine::{Machine, SharedState};
use super::network::Network;
use super::reach::{self, Reach};
use super::store::Store;
use super::transfers::Transfers;
use super::types::{PeerNode, Raft};
use crate::identity::Identity;
use crate::shard::AppliedSink;

/// For a whole snapshot to be sent, stored and installed.
pub const SNAPSHOT_TTL: Duration = Duration::from_secs(120);
/// Replication to a node that is not there is tried again after these pauses.
const BACKOFF: &str = "25ms 50ms 100ms ...400ms";

/// Raft's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often a leader says that it is there.
    pub heartbeat_ms: u64,
    /// The least time without a leader after which a follower asks for votes.
    pub election_ms_min: u64,
    /// The most. Also how long a leader's lease lasts.
    pub election_ms_max: u64,
    /// Log entries between two snapshots.
    pub snapshot_every: u64,
    /// Log entries kept behind a snapshot, so that a node that was away for a moment needs none.
    pub keep_entries: u64,
    /// How long the two files of a new journal are.
    pub journal_bytes: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 30,
            election_ms_min: 60,
            election_ms_max: 95,
            snapshot_every: 20_000,
            keep_entries: 2_000,
            journal_bytes: FILE_BYTES,
        }
    }
}

impl Timing {
    /// How long nobody else can have been elected after a majority was heard.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.election_ms_max)
    }

    /// The longest time without a leader after which a follower asks for votes.
    pub fn election_max(&self) -> Duration {
        Duration::from_millis(self.election_ms_max)
    }

    /// How long the answer to a heartbeat may take to count. Openraft gives it one of its own heartbeat
    /// intervals, and looks at its clock five times in each: so that is as long as it may be, and
    /// [`Handle::beat`] asks for the heartbeats.
    fn answer_ms(&self) -> u64 {
        self.heartbeat_ms.max(self.election_ms_min * 7 / 8)
    }

    fn config(&self, own: &Identity) -> Result<Config, String> {
        let config = Config {
            cluster_name: own.cluster.map(String::from).unwrap_or_default(),
            heartbeat_interval: self.answer_ms(),
            enable_heartbeat: false,
            election_timeout_min: self.election_ms_min,
            election_timeout_max: self.election_ms_max,
            install_snapshot_timeout: SNAPSHOT_TTL.as_millis() as u64,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep_entries,
            // A node further behind than the log reaches gets a snapshot anyway.
            replication_lag_threshold: self.snapshot_every.saturating_mul(2),
            quorum_loss_probe_interval: Some(self.election_ms_max * 2),
            // The followers write an entry while the leader does.
            broadcast_submitted_on_append: Some(true),
            enable_pre_vote: Some(true),
            // A restarted leader comes through an election: its clock and its rooms start from there.
            enable_leader_restore: Some(false),
            // A follower's journal that rotted at its end looks like one whose last write was torn, and the follower lacks
            // entries then. To panic would cost the leader, whose successor sends them as well.
            allow_log_reversion: Some(true),
            backoff: BACKOFF.to_owned(),
            ..Config::default()
        };
        config.validate().map_err(|error| error.to_string())
    }
}

/// A running Raft.
pub struct Handle {
    /// Openraft's handle.
    pub raft: Raft,
    /// What was applied.
    pub state: SharedState,
    /// Where it is kept.
    pub store: Store,
    /// Who this node is.
    pub own: Identity,
    /// Raft's numbers.
    pub timing: Timing,
    /// The feature levels of this build.
    pub levels: Levels,
    /// Channels to the other nodes.
    pub(super) links: Links,
    /// When a live leader was heard last.
    pub heard: Arc<LastHeard>,
    /// Whether this node leads without a lease.
    pub lease: Lease,
    /// Which members were heard lately.
    pub reach: Arc<Reach>,
    /// Why this node must not go on, once that is known.
    pub given_up: OnceLock<String>,
    /// What new nodes must show, as long as this node leads.
    pub admissions: Admissions,
    /// Snapshots that leaders send.
    pub snapshots: IncomingSnapshots,
    /// Whom the leader hands over to.
    pub transfers: Transfers,
    /// What was not passed to Raft.
    pub refusals: Refusals,
}

/// The feature levels of a node.
#[derive(Clone, Copy, Debug)]
pub struct Levels {
    /// The highest that its build knows. It stops at an entry above that.
    pub known: FeatureLevel,
    /// The highest that it lets the cluster rise to.
    pub allowed: FeatureLevel,
}

impl Default for Levels {
    fn default() -> Self {
        Self { known: FeatureLevel::CURRENT, allowed: FeatureLevel::CURRENT }
    }
}

impl Handle {
    /// Starts Raft on a store. The rooms are as of the last known commit when this returns.
    pub async fn start(
        own: Identity,
        store: Store,
        links: Links,
        timing: Timing,
        levels: Levels,
        sink: Arc<dyn AppliedSink>,
        snapshots: IncomingSnapshots,
    ) -> Result<Self, String> {
        let config = Arc::new(timing.config(&own)?);
        let node = own.node.ok_or("this folder belongs to no cluster yet")?;
        let machine = Machine::new(store.snapshots(), sink, levels.known);
        let state = machine.state();
        let stored = store.clone();
        let own_term = Arc::new(move || stored.term());
        let (reach, heard) = (Arc::<Reach>::default(), Arc::new(LastHeard::new(Instant::now())));
        let lease = Lease::default();
        let network = Network {
            links: links.clone(),
            own: own.clone(),
            own_term,
            reach: reach.clone(),
            lease: lease.clone(),
        };
        let started = Raft::new(node, config, network, store.log(), machine).await;
        let raft = started.map_err(|error| match state.newer() {
            Some(newer) => newer.to_owned(),
            None => format!("the log can't be continued: {error}"),
        })?;
        Ok(Self {
            raft,
            state,
            store,
            own,
            timing,
            levels,
            links,
            heard,
            lease,
            reach,
            given_up: OnceLock::new(),
            admissions: Admissions::default(),
            snapshots,
            transfers: Transfers::default(),
            refusals: Refusals::default(),
        })
    }

    /// Says every `heartbeat_ms` that this node leads, while it does. Ends with Raft.
    pub async fn beat(self: Arc<Self>) {
        let mut pause = tokio::time::interval(Duration::from_millis(self.timing.heartbeat_ms));
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rare = self.raft.server_metrics();
        loop {
            if rare.borrow_watched().state.is_leader() {
                pause.tick().await;
                if self.raft.trigger().heartbeat().await.is_err() {
                    return;
                }
            } else if rare.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether the majority is known to be gone: this node has heard neither a live leader nor a majority of the voters for
    /// [`reach::timeout`]. A leader counts as live while it has its lease.
    pub fn lacks_majority(&self) -> bool {
        let (now, timeout) = (Instant::now(), reach::timeout(self.timing.election_max()));
        let silent = self.heard.silent_for(now).duration();
        if silent < timeout {
            return false;
        }
        let metrics = self.raft.metrics();
        let voters =
            metrics.borrow_watched().membership_config.membership().get_joint_config().clone();
        !self.reach.has_majority(self.own.node.unwrap_or(0), &voters, timeout, now)
    }

    /// What the membership says of a node. Nothing before the first entry.
    pub fn node(&self, id: u64) -> Option<PeerNode> {
        let metrics = self.raft.metrics();
        metrics.borrow_watched().membership_config.membership().get_node(&id).cloned()
    }

    /// Whether a member holds a place.
    pub fn has_place(&self, place: u64) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.nodes().any(|(_, node)| node.place == place)
    }
}
