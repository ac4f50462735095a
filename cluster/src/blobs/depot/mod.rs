//! Songs outside the nodes: a depot holds a second copy of every committed song, so that losing all the nodes' disks is not
//! losing the songs.
//!
//! Nothing rests on it. A song is acknowledged by a majority of the nodes' disks alone, listeners are served from those, and
//! a depot that is slow, down or lost costs nothing but itself. The leader keeps it complete behind what is committed
//! (`keep.rs`), and a node that gets a song from no peer takes it from there and checks it as always (`take.rs`). Why:
//! `docs/decisions/0019-songs-outside-the-nodes.md`.

mod claim;
mod keep;
mod object;
mod outside;
mod take;
mod tally;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use jam_proto::ids::TrackId;

pub use object::ObjectDepot;
pub use outside::{Outside, Rhythm};
pub(super) use take::TakenOutside;
pub use url::StoreUrl;

/// A song's bytes, in order. An error ends them.
pub type Data = BoxStream<'static, io::Result<Bytes>>;

/// All the songs of a depot.
pub type Listing = BTreeMap<TrackId, Stored>;

/// A place for songs that is none of the nodes.
///
/// Every call may take as long as it likes and may be dropped at any time: who calls has the patience.
#[tonic::async_trait]
pub trait Depot: fmt::Debug + Send + Sync + 'static {
    /// Makes it the depot of this cluster, if it is nobody's or this cluster's, and finds out whether it can be written to.
    async fn claim(&self, cluster: &str) -> Result<(), DepotError>;
    /// Puts a song there, in place of what was there under its id. Nobody sees any of it before all of it is durable, and
    /// nothing comes of it if `data` ends in an error.
    async fn put(&self, id: &TrackId, data: Data) -> Result<(), DepotError>;
    /// A song's bytes from `offset`, which is below its length, to the end. They are as they are: who reads checks them.
    async fn read(&self, id: &TrackId, offset: u64) -> Result<Data, DepotError>;
    /// All that is there.
    async fn list(&self) -> Result<Listing, DepotError>;
    /// Removes a song. It is no error if there is none.
    async fn remove(&self, id: &TrackId) -> Result<(), DepotError>;
}

/// A song as a depot lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its length.
    pub bytes: u64,
    /// When it was put there, by the depot's clock.
    pub since: SystemTime,
}

/// Why a depot did not do it. None of this concerns the nodes' own copies.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// There is no such song.
    #[error("the songs' store does not have this song")]
    Missing,
    /// It holds the songs of another cluster, which would take ours for songs that nobody needs.
    #[error(
        "the songs' store belongs to cluster {0}: give each cluster a folder or prefix of its own; \
         if that cluster is no more and this one inherits its songs, remove the object 'cluster' there"
    )]
    Foreign(String),
    /// It answers, and won't.
    #[error("the songs' store refuses this; check that it exists, and what its credentials allow")]
    Refused(#[source] object_store::Error),
    /// It does not answer, or something went wrong there or on the way.
    #[error("the songs' store can't be used; check its address, its credentials and the network")]
    Failed(#[source] object_store::Error),
    /// Nothing came in time.
    #[error("the songs' store does not answer in time")]
    Stalled,
    /// What was to be put there could not be read here.
    #[error("the song could not be read here")]
    Unread(#[source] io::Error),
}

impl From<object_store::Error> for DepotError {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as E;
        match error {
            E::NotFound { .. } => Self::Missing,
            E::Generic { .. } | E::JoinError { .. } => Self::Failed(error),
            _ => Self::Refused(error),
        }
    }
}

/// An error and all that it came from, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        // Some libraries repeat the source in the error that wraps it.
        if !line.contains(&more) {
            line = format!("{line}: {more}");
        }
        source = error.source();
    }
    // Stores answer with XML.
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
