//! A depot, and what a node has to do there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jam_proto::ids::TrackId;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::tally::Tally;
use super::{Depot, DepotError};

/// How often, and how patiently, a depot is used.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// Between two looks whether this node leads.
    pub look_every: Duration,
    /// Between two comparisons of all that is there with all that is committed.
    pub compare_every: Duration,
    /// After the first failure; it doubles with each further one.
    pub pause_min: Duration,
    /// It doubles up to this.
    pub pause_max: Duration,
    /// A depot that says nothing for this long is given up for now.
    pub stalled_after: Duration,
    /// A song that goes there slower than this is given up as well.
    pub slowest_bytes_per_s: u64,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(1),
            // A listing of S3 is a request for each 1,000 songs.
            compare_every: Duration::from_secs(6 * 3600),
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(300),
            stalled_after: Duration::from_secs(30),
            slowest_bytes_per_s: 50_000,
        }
    }
}

/// The depot of this node's cluster.
#[derive(Debug)]
pub struct Outside {
    pub(super) depot: Arc<dyn Depot>,
    pub(super) cluster: String,
    pub(super) rhythm: Rhythm,
    /// It was seen to be this cluster's.
    pub(super) is_claimed: AtomicBool,
    pub(super) tally: Tally,
    tasks: Mutex<Tasks>,
    pub(super) wake: Notify,
}

/// Nothing here need survive a restart: who begins to lead compares the depot with the log.
#[derive(Debug, Default)]
struct Tasks {
    owed: BTreeMap<TrackId, Why>,
    gone: BTreeSet<TrackId>,
}

/// Why a song is to be put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It is committed: the leader puts it.
    Committed,
    /// It has wrong bytes there: this node got them, and puts right ones once it has them.
    Spoilt,
}

impl Outside {
    /// A depot for the cluster of this id.
    pub fn new(depot: Arc<dyn Depot>, cluster: &str, rhythm: Rhythm) -> Self {
        Self {
            depot,
            cluster: cluster.to_owned(),
            rhythm,
            is_claimed: AtomicBool::new(false),
            tally: Tally::default(),
            tasks: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// A song is committed. Quick, as the next one: both are called for each applied entry.
    pub(in crate::blobs) fn owe(&self, id: TrackId) {
        let mut tasks = self.tasks();
        tasks.gone.remove(&id);
        tasks.owed.entry(id).or_insert(Why::Committed);
        self.wake.notify_one();
    }

    /// A song is forgotten.
    pub(in crate::blobs) fn forget(&self, id: TrackId) {
        let mut tasks = self.tasks();
        tasks.owed.remove(&id);
        tasks.gone.insert(id);
        self.wake.notify_one();
    }

    /// Wrong bytes came from there.
    pub(super) fn spoilt(&self, id: TrackId) {
        self.tasks().owed.insert(id, Why::Spoilt);
    }

    /// Another node leads: only what this one found out by itself is left to do.
    pub(super) fn leave_to_leader(&self) {
        let mut tasks = self.tasks();
        tasks.owed.retain(|_, why| *why == Why::Spoilt);
        tasks.gone.clear();
    }

    /// The depot was compared: `owed` are to be put there, of all others those that are `there` need not be.
    pub(super) fn compared(&self, owed: BTreeSet<TrackId>, there: impl Fn(&TrackId) -> bool) {
        let mut tasks = self.tasks();
        tasks.owed.retain(|id, why| *why == Why::Spoilt || !there(id));
        for id in owed {
            tasks.owed.entry(id).or_insert(Why::Committed);
        }
    }

    /// The next song to put there, by id.
    pub(super) fn owed_after(&self, last: Option<TrackId>) -> Option<TrackId> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.tasks().owed.range((from, Bound::Unbounded)).next().map(|(id, _)| *id)
    }

    /// How many songs are to be put there.
    pub(super) fn owed(&self) -> usize {
        self.tasks().owed.len()
    }

    /// It is there, or not wanted there any more.
    pub(super) fn settled(&self, id: &TrackId) {
        self.tasks().owed.remove(id);
    }

    /// All songs that are to be removed there.
    pub(super) fn take_gone(&self) -> BTreeSet<TrackId> {
        std::mem::take(&mut self.tasks().gone)
    }

    /// These could not be removed yet.
    pub(super) fn give_back(&self, gone: BTreeSet<TrackId>) {
        self.tasks().gone.extend(gone);
    }

    /// Waits for the depot, but not for ever.
    pub(super) async fn within<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<T, DepotError>>,
    ) -> Result<T, DepotError> {
        let answer = timeout(patience, call).await.unwrap_or(Err(DepotError::Stalled));
        self.tally.answered(!matches!(answer, Err(DepotError::Failed(_) | DepotError::Stalled)));
        answer
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
