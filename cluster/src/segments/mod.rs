//! Songs in segments, as listeners fetch them: cut from the originals, kept in packs, the hot ones in memory.
//!
//! A pack is made when its song is taken, or when somebody asks for the first segment: cutting takes a moment, so
//! packs are a bounded cache and no more. What is given away was checked against the hash in the manifest just before it came
//! into memory; a pack that does not pass is made again.

mod cut;
mod hot;
mod pack;
mod serve;
mod shelf;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use jam_proto::ids::TrackId;
use jam_world::World;
use lru::LruCache;
use tokio::sync::Semaphore;

pub(crate) use cut::cut_new;
pub use pack::Pack;
pub use serve::service;
pub use shelf::Shelf;

use crate::blobs::{Blobs, SongError};
use crate::metrics::Page;
use hot::Hot;

/// A song at one quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rendition {
    /// Which song.
    pub track: TrackId,
    /// About so many thousand bits a second; 0: the original.
    pub kbps: u32,
}

/// What a node serves of songs in segments.
pub struct Segments {
    world: World,
    blobs: Arc<Blobs>,
    shelf: Arc<Shelf>,
    hot: Hot,
    opened: Mutex<LruCache<Rendition, Arc<Pack>>>,
    /// Only one at a time makes a pack of a certain song.
    turns: [tokio::sync::Mutex<()>; TURNS],
    cutting: Semaphore,
}

/// Packs that are kept open: a manifest each, at most 60 KB for two hours.
const OPENED_MAX: NonZeroUsize = NonZeroUsize::new(128).expect("it is not 0");
const TURNS: usize = 16;
/// Packs that are made at once: it takes the disk, and a core.
const CUT_AT_ONCE: usize = 2;

impl Segments {
    /// Of the songs of `blobs`, with packs on `shelf`, and so many bytes of segments in memory.
    pub fn new(
        world: &World,
        blobs: Arc<Blobs>,
        shelf: Arc<Shelf>,
        hot_bytes_max: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            blobs,
            shelf,
            hot: Hot::new(hot_bytes_max),
            opened: Mutex::new(LruCache::new(OPENED_MAX)),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            cutting: Semaphore::new(CUT_AT_ONCE),
        })
    }

    /// What a song is cut into, made if need be.
    ///
    /// # Errors
    /// If there is no such song or rendition, or this node does not have it yet.
    pub async fn pack(&self, of: Rendition) -> Result<Arc<Pack>, SongError> {
        if let Some(pack) = self.opened(of) {
            return Ok(pack);
        }
        // Only what is committed is given away.
        let track = self.blobs.committed(&of.track).await?;
        let _turn = self.turns[usize::from(of.track.0[0]) % TURNS].lock().await;
        if let Some(pack) = self.opened(of) {
            return Ok(pack);
        }
        let pack = match self.find(of).await? {
            Some(pack) => pack,
            None => self.make(of, &track).await?,
        };
        let pack = Arc::new(pack);
        self.lock_opened().put(of, pack.clone());
        Ok(pack)
    }

    /// A segment's bytes, checked.
    ///
    /// # Errors
    /// As [`Segments::pack`]; and if there is no such segment, or its hash is not the one that is asked for.
    pub async fn segment(
        &self,
        of: Rendition,
        index: usize,
        hash: &[u8],
    ) -> Result<Bytes, SongError> {
        // Twice, since a pack may be found damaged once.
        for _ in 0..2 {
            let pack = self.pack(of).await?;
            let Some(info) = pack.manifest().segments().get(index) else {
                let count = pack.manifest().segments().len();
                return Err(SongError::Invalid(format!("it has {count} segments, and no {index}")));
            };
            if info.hash != hash {
                return Err(SongError::ManifestChanged);
            }
            if let Some(bytes) = self.hot.find(of, index, &info.hash) {
                return Ok(bytes);
            }
            if pack.is_loose() {
                self.cut_from(of, index).await?;
                if let Some(bytes) = self.hot.find(of, index, &info.hash) {
                    return Ok(bytes);
                }
                continue;
            }
            let from = pack.clone();
            if let Some(bytes) = self.world.try_blocking(move || from.read(index)).await? {
                self.hot.keep(of, index, info.hash, bytes.clone());
                return Ok(bytes);
            }
            tracing::warn!(song = %of.track, kbps = of.kbps, index, "a segment went bad on the disk; it is made again");
            self.drop_pack(of).await?;
        }
        Err(SongError::NotHere(of.track))
    }

    /// Writes what is kept.
    pub fn tell(&self, page: &mut Page) {
        let (packs, bytes) = self.shelf.total();
        let mut gauge = |name: &str, help: &str, value: u64| page.one(name, "gauge", help, value);
        gauge("jam_packs", "Packs of segments on the disk.", packs as u64);
        gauge("jam_packs_bytes", "Bytes of these packs.", bytes);
        gauge("jam_hot_segments_bytes", "Bytes of segments in memory.", self.hot.bytes());
    }

    fn opened(&self, of: Rendition) -> Option<Arc<Pack>> {
        self.lock_opened().get(&of).cloned()
    }

    fn lock_opened(&self) -> std::sync::MutexGuard<'_, LruCache<Rendition, Arc<Pack>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn drop_pack(&self, of: Rendition) -> Result<(), SongError> {
        self.lock_opened().pop(&of);
        let shelf = self.shelf.clone();
        Ok(self.world.try_blocking(move || shelf.remove(of)).await?)
    }
}
