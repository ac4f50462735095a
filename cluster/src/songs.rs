//! What songs need from the rest of the node, and what they are told.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jam_proto::event::Event;
use jam_proto::ids::{RoomCode, TrackId};
use jam_proto::level::FeatureLevel;
use jam_proto::shard::{Evicted, Outcome, Shard};
use jam_proto::wire::log::v1::RegisterTrack;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::Track;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::blobs::{Blobs, Cluster, Neighbour};
use crate::forward::Forwarder;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::shard::{AppliedSink, Group, Member, Payload};
use crate::time::clock::NodeClock;
use crate::watch::WatchHub;
use crate::witness::Witness;

/// For committing a song whose bytes have arrived: its upload took longer.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// The node, as its songs see it.
pub struct SongCluster {
    /// Members, and what is committed.
    pub group: Group,
    /// The way to the leader.
    pub forwarder: Forwarder,
}

#[tonic::async_trait]
impl Cluster for SongCluster {
    fn own_id(&self) -> u64 {
        self.group.standing().id
    }

    fn members(&self) -> Vec<Neighbour> {
        let members = self.group.standing().members.into_iter();
        self.group.read(|shard| {
            let neighbour = |Member { id, place, addresses, voter, .. }| {
                let is_replaced = shard.replacement(place).is_some_and(|latest| latest != id);
                Neighbour { id, address: addresses.peers, voter, is_replaced }
            };
            members.map(neighbour).collect()
        })
    }

    fn track(&self, id: &TrackId) -> Option<Track> {
        self.group.read(|shard| shard.track(id).cloned())
    }

    fn blob(&self, id: &TrackId) -> Option<u64> {
        self.group.read(|shard| shard.blob(id))
    }

    fn blobs(&self) -> Vec<(TrackId, u64)> {
        self.group.read(|shard| shard.blobs().map(|(id, bytes)| (*id, bytes)).collect())
    }

    fn leads_in(&self) -> Option<u64> {
        let standing = self.group.standing();
        standing.leads_with_lease.then_some(standing.term)
    }

    fn is_lost(&self, id: &TrackId) -> bool {
        self.group.read(|shard| shard.is_lost(id))
    }

    async fn register(&self, track: Track, mut holders: Vec<u64>) -> Result<Track, Status> {
        if self.group.read(Shard::level) < FeatureLevel::GUARDED {
            holders.clear();
        }
        let op = Op::RegisterTrack(RegisterTrack { track: Some(track), holders });
        match self.forwarder.propose(op, REGISTER_TIMEOUT).await? {
            Outcome::Track(track) => Ok(track),
            Outcome::TracksFull(limit) => {
                let message = format!("the cluster has {limit} songs, its limit");
                Err(Refusal::Limit(message).into())
            }
            other => Err(Refusal::strange(&other).into()),
        }
    }

    async fn catch_up(&self) -> Result<(), Status> {
        Ok(self.forwarder.catch_up(CATCH_UP_TIMEOUT).await?)
    }

    fn sign(&self, node: u64, metadata: &mut MetadataMap) -> Result<(), Status> {
        self.forwarder.links().credential().sign(metadata);
        self.group.sign(node, metadata)
    }

    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        self.group.admit(metadata)
    }
}

/// Hears what is applied, for those who watch, for the songs and for the clock.
pub struct Applied {
    clock: Arc<NodeClock>,
    hub: Arc<WatchHub>,
    songs: OnceLock<(Group, Arc<Blobs>)>,
    witness: Arc<dyn Witness>,
    metrics: Arc<Metrics>,
}

impl Applied {
    /// Before there is a group: what it applies while it starts is made good by [`Self::connect`].
    pub fn new(
        clock: Arc<NodeClock>,
        hub: Arc<WatchHub>,
        witness: Arc<dyn Witness>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { clock, hub, songs: OnceLock::new(), witness, metrics }
    }

    /// Tells the songs what is committed, from here on and until here.
    pub fn connect(&self, group: &Group, blobs: &Arc<Blobs>) {
        // Called once, by the node. In this order, nothing is missed; what comes twice does no harm.
        let _ = self.songs.set((group.clone(), blobs.clone()));
        group.read(|shard| shard.blobs().for_each(|(id, bytes)| blobs.want(id, bytes)));
    }

    /// The log index of the state here, if every song that it needs is here: only then may this node vote.
    pub fn holds_songs(self: &Arc<Self>) -> BoxFuture<'static, Option<u64>> {
        let applied = Arc::clone(self);
        Box::pin(async move {
            let (group, blobs) = applied.songs.get()?;
            let (index, needed) =
                group.read_at(|index, shard| (index, shard.needed().collect::<Vec<_>>()));
            blobs.holds_every(&needed).then_some(index)
        })
    }
}

impl AppliedSink for Applied {
    fn applied(&self, index: u64, events: &[(RoomCode, Vec<Event>)], state: &Shard) {
        self.clock.hear(state.succession());
        self.hub.applied(index, events, state);
    }

    fn passed(&self, index: u64) {
        self.hub.passed(index);
    }

    fn registered(&self, track: &Track) {
        if let Some((_, blobs)) = self.songs.get() {
            blobs.want_all(track);
        }
    }

    fn forgotten(&self, id: &TrackId) {
        if let Some((_, blobs)) = self.songs.get() {
            blobs.forget(id);
        }
    }

    fn evicted(&self, evicted: Evicted) {
        self.metrics.evictions.note(evicted);
    }

    fn belongs(&self, node: u64) {
        self.witness.belongs(node);
    }

    fn witnessed(&self, term: u64, index: u64, entry: Payload<'_>, state: &Shard) {
        self.witness.applied(term, index, entry, state);
    }

    fn replaced(&self, index: u64, state: &Shard) {
        self.clock.hear(state.succession());
        self.hub.replaced(index, state);
        if let Some((_, blobs)) = self.songs.get() {
            blobs.want_only(|id| state.blob(id).is_some());
            state.blobs().for_each(|(id, bytes)| blobs.want(id, bytes));
        }
    }
}
