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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::{Derived, Track};
use jam_world::World;
use lru::LruCache;
use tokio::sync::Semaphore;

pub(crate) use cut::cut_new;
pub use pack::Pack;
pub(crate) use pack::tail as pack_tail;
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

/// The name that a rendition is committed under.
pub(crate) fn rendition_name(kbps: u32) -> String {
    format!("{RENDITION}{kbps}")
}

/// Whether something made of a song is a rendition.
pub(crate) fn is_rendition(derived: &Derived) -> bool {
    derived.name.starts_with(RENDITION)
}

/// The bitrates that a song is there at, besides the original.
pub(crate) fn renditions(track: &Track) -> Vec<u32> {
    let kbps = |one: &Derived| one.name.strip_prefix(RENDITION)?.parse().ok();
    let mut all: Vec<u32> = track.derived.iter().filter_map(kbps).collect();
    all.sort_unstable();
    all
}

const RENDITION: &str = "opus-";

/// What a node serves of songs in segments.
pub struct Segments {
    world: World,
    blobs: Arc<Blobs>,
    shelf: Arc<Shelf>,
    hot: Hot,
    /// With the bytes that they are of.
    opened: Mutex<LruCache<Rendition, (TrackId, Arc<Pack>)>>,
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
        // Only what is committed is given away.
        let track = self.blobs.committed(&of.track).await?;
        let blob = match of.kbps {
            0 => of.track,
            kbps => {
                Blobs::derived(&track, &rendition_name(kbps)).ok_or(SongError::ManifestChanged)?
            }
        };
        if let Some(pack) = self.opened(of, &blob) {
            return Ok(pack);
        }
        let _turn = self.turns[usize::from(of.track.0[0]) % TURNS].lock().await;
        if let Some(pack) = self.opened(of, &blob) {
            return Ok(pack);
        }
        let pack = match of.kbps {
            0 => match self.find(of).await? {
                Some(pack) => pack,
                None => self.make(of, &track).await?,
            },
            _ => self.rendition(blob).await?,
        };
        let pack = Arc::new(pack);
        self.lock_opened().put(of, (blob, pack.clone()));
        Ok(pack)
    }

    /// What a song is cut into at every quality that this node has, by kbit/s: the original first.
    ///
    /// # Errors
    /// As [`Segments::pack`], for the original.
    pub async fn packs(&self, track: TrackId) -> Result<Vec<(u32, Arc<Pack>)>, SongError> {
        let mut packs = vec![(0, self.pack(Rendition { track, kbps: 0 }).await?)];
        for kbps in renditions(&self.blobs.committed(&track).await?) {
            // One that is still on its way is not promised.
            if let Ok(pack) = self.pack(Rendition { track, kbps }).await {
                packs.push((kbps, pack));
            }
        }
        Ok(packs)
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

    fn opened(&self, of: Rendition, blob: &TrackId) -> Option<Arc<Pack>> {
        let mut opened = self.lock_opened();
        opened.get(&of).filter(|(same, _)| same == blob).map(|(_, pack)| pack.clone())
    }

    fn lock_opened(&self) -> MutexGuard<'_, LruCache<Rendition, (TrackId, Arc<Pack>)>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn drop_pack(&self, of: Rendition) -> Result<(), SongError> {
        let dropped = self.lock_opened().pop(&of);
        if of.kbps > 0 {
            // It can't be made again here: it is repaired like any other bytes.
            if let Some((blob, _)) = dropped {
                self.blobs.doubt(&blob);
            }
            return Err(SongError::NotHere(of.track));
        }
        let shelf = self.shelf.clone();
        Ok(self.world.try_blocking(move || shelf.remove(of)).await?)
    }
}
