//! The bytes of songs: stored here, copied to the other nodes, and fetched from them.
//!
//! A song is acknowledged when a majority of the voters holds it durably *and* the log has committed it;
//! so any majority that elects a leader has its bytes too. A node outside that majority fetches what it lacks
//! as soon as it applies the commit. Bytes are named by their hash and checked against it before
//! they count, so it never matters which node they came from. They are checked again for as long as they are kept, and
//! repaired from another node.

mod copy;
mod depot;
mod error;
mod fetch;
mod gone;
mod made;
mod peers;
mod pen;
mod room;
mod scrub;
mod serve;
mod slots;
mod store;
mod tally;
mod tidy;
mod unfinished;
mod upload;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jam_proto::ids::TrackId;
use jam_proto::wire::v1::Track;
use jam_world::World;
use tokio::sync::{Notify, Semaphore};
use tonic::Status;
use tonic::metadata::MetadataMap;

pub use depot::{Data, Depot, DepotError, Listing, ObjectDepot, Outside, Rhythm, StoreUrl, Stored};
pub use error::SongError;
pub(crate) use made::Found;
pub use room::{FLOOR_BYTES, advice_if_full, make_room_to_start};
pub use scrub::Pace;
pub(crate) use serve::ChunkStream;
pub use serve::peer_service;
pub use slots::Origin;
pub(crate) use store::is_song;
pub use store::{Store, UNFINISHED_KEPT};
pub use upload::{Added, Received};

use crate::segments::Shelf;
use gone::{Gone, Want};
use peers::Peers;
use pen::Via;
use slots::Slots;
use tally::Tally;

/// A node, as far as songs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its node id.
    pub id: u64,
    /// Where it is reached.
    pub address: String,
    /// Whether a copy there counts for the majority.
    pub voter: bool,
    /// Its place was given to another node: nobody waits for this one any more.
    pub is_replaced: bool,
}

/// What songs need from the rest of the node.
#[tonic::async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// This node's id.
    fn own_id(&self) -> u64;
    /// All members, this node among them.
    fn members(&self) -> Vec<Neighbour>;
    /// The committed track, as far as this node has applied the log.
    fn track(&self, id: &TrackId) -> Option<Track>;
    /// The length of committed bytes: a track's own, or what was made of one.
    fn blob(&self, id: &TrackId) -> Option<u64> {
        self.track(id).map(|track| track.bytes)
    }
    /// Whether a committed track is marked as lost: then its bytes are as good as new.
    fn is_lost(&self, _id: &TrackId) -> bool {
        false
    }
    /// Commits a track whose bytes these nodes hold durably, a majority of the voters; answers with the one that is committed
    /// (the first one wins). The code `too_few_copies` of an error says that the leader counts fewer voters among them.
    async fn register(&self, track: Track, holders: Vec<u64>) -> Result<Track, Status>;
    /// Returns when this node has applied all that was acknowledged anywhere before the call.
    async fn catch_up(&self) -> Result<(), Status>;
    /// All committed bytes, as far as this node has applied the log: their ids and lengths.
    fn blobs(&self) -> Vec<(TrackId, u64)>;
    /// The term in which this node leads and has a live lease, if it does.
    fn leads_in(&self) -> Option<u64>;
    /// Puts into a call to `node` what it wants to see: the token, and who calls whom.
    fn sign(&self, node: u64, metadata: &mut MetadataMap) -> Result<(), Status>;
    /// Checks the same on a call from another node: a copy must not count that lies in a foreign or a
    /// wiped folder.
    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status>;
}

/// The songs of a node.
pub struct Blobs {
    world: World,
    store: Arc<Store>,
    /// What the songs are cut into.
    shelf: Arc<Shelf>,
    cluster: Arc<dyn Cluster>,
    peers: Peers,
    pace: Pace,
    tally: Tally,
    /// Where songs are kept besides, if anywhere.
    outside: Option<Outside>,
    /// Committed songs that this node lacks.
    wanted: Mutex<BTreeMap<TrackId, Want>>,
    wake: Notify,
    /// Songs whose copy here gave wrong bytes, as somebody says.
    doubted: Mutex<BTreeSet<TrackId>>,
    wake_doubt: Notify,
    /// Songs that the log has forgotten, and whose bytes may be here.
    forgotten: Mutex<BTreeSet<TrackId>>,
    wake_tidy: Notify,
    /// Wakes whoever waits for a track to be applied here.
    applied: Notify,
    /// Songs that are decoded at once to be inspected.
    inspecting: Semaphore,
    /// Uploads that are received at once.
    receiving: Slots,
}

/// Inspecting takes a core, and a node has other things to do.
const INSPECTED_AT_ONCE: usize = 2;

impl Blobs {
    /// Opens the songs in a node's data folder. [`Blobs::run`] then keeps them complete.
    pub fn open(
        world: &World,
        data: &Path,
        cluster: Arc<dyn Cluster>,
        shelf: Arc<Shelf>,
        pace: Pace,
        outside: Option<Outside>,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            world: world.clone(),
            store: Arc::new(Store::open(world, data)?),
            shelf,
            cluster,
            peers: Peers::new(world),
            pace,
            tally: Tally::default(),
            outside,
            wanted: Mutex::default(),
            wake: Notify::new(),
            doubted: Mutex::default(),
            wake_doubt: Notify::new(),
            forgotten: Mutex::default(),
            wake_tidy: Notify::new(),
            applied: Notify::new(),
            inspecting: Semaphore::new(INSPECTED_AT_ONCE),
            receiving: Slots::default(),
        }))
    }

    /// A track is committed, or what was made of it: what of it is not here is fetched.
    pub fn want_all(&self, track: &Track) {
        let derived = track.derived.iter().map(|one| (&one.id, one.bytes));
        for (id, bytes) in std::iter::once((&track.id, track.bytes)).chain(derived) {
            let Ok(id) = TrackId::from_wire(id) else { continue };
            self.want(&id, bytes);
            if let Some(outside) = &self.outside {
                outside.owe(id);
            }
        }
        self.applied.notify_waiters();
    }

    /// Bytes are committed: if they are not here, they are fetched. Quick: may be called for each
    /// applied entry, and again for all of them at the start and after a snapshot.
    pub fn want(&self, id: &TrackId, bytes: u64) {
        let copy = self.store.copy(id);
        if copy.is_none_or(|copy| copy.bytes != bytes) {
            // Cut off, maybe: what is fetched takes its place.
            let damaged = copy.is_some_and(|copy| self.store.disown(id, copy));
            if damaged {
                self.tally.damaged();
            }
            // Somebody may have it from now on, whatever was said before.
            self.wanted().entry(*id).or_insert(Want::new(bytes, damaged)).gone = Gone::No;
            self.wake.notify_one();
        }
    }

    /// Committed songs that this node lacks.
    pub fn missing(&self) -> Vec<TrackId> {
        self.wanted().keys().copied().collect()
    }

    /// Whether all these are here, whole and durable: what a node must show before it votes.
    pub fn holds_every<'a>(&self, tracks: impl IntoIterator<Item = &'a TrackId>) -> bool {
        tracks.into_iter().all(|id| self.store.held(id).is_some())
    }

    /// Runs what blocks where it may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SongError> + Send + 'static,
    ) -> Result<T, SongError> {
        self.world.blocking(work).await.map_err(SongError::Disk)?
    }

    /// As [`Blobs::blocking`], for what takes the processor for long.
    async fn heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SongError> + Send + 'static,
    ) -> Result<T, SongError> {
        self.world.heavy(work).await.map_err(SongError::Disk)?
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<TrackId, Want>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubted(&self) -> MutexGuard<'_, BTreeSet<TrackId>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forgotten(&self) -> MutexGuard<'_, BTreeSet<TrackId>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
