//! The folder of packs, and a bound on what they take together.
//!
//! Nothing here is synced: what a power cut leaves of a pack is no whole one, or fails its hashes, and is made again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jam_proto::ids::TrackId;
use jam_world::{File, Open, World};
use lru::LruCache;

use super::Rendition;
use crate::draft::{Draft, Drafts};

/// What a pack's name ends in while it is written.
const DRAFT: &str = "draft";

/// Packs on a disk.
pub struct Shelf {
    world: World,
    folder: PathBuf,
    bytes_max: u64,
    packs: Mutex<Packs>,
    pub(super) drafts: Drafts,
}

/// By name, with their sizes.
struct Packs {
    sizes: LruCache<String, u64>,
    bytes: u64,
}

impl Shelf {
    /// Opens the folder in a node's data folder, or makes it. Blocks.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(world: &World, data: &Path, bytes_max: u64) -> io::Result<Arc<Self>> {
        let folder = data.join("packs");
        world.disk.make_folder(&folder)?;
        let mut found = world.disk.list(&folder)?;
        found.sort_by(|(a, one), (b, other)| (one.modified, a).cmp(&(other.modified, b)));
        let mut packs = Packs { sizes: LruCache::unbounded(), bytes: 0 };
        for (name, meta) in found {
            if Path::new(&name).extension().is_some_and(|extension| extension == DRAFT) {
                world.disk.remove(&folder.join(name))?;
            } else {
                packs.put(name, meta.len);
            }
        }
        Ok(Arc::new(Self {
            world: world.clone(),
            drafts: Drafts::new(world.disk.clone(), folder.clone(), DRAFT),
            folder,
            bytes_max,
            packs: Mutex::new(packs),
        }))
    }

    /// The file of a pack. Blocks.
    pub(super) fn find(&self, of: Rendition) -> io::Result<Option<Arc<dyn File>>> {
        let name = name(of);
        if self.lock().sizes.get(&name).is_none() {
            return Ok(None);
        }
        let path = self.folder.join(&name);
        match self.world.disk.open(&path, Open::Read) {
            Ok(file) => {
                // So that the order survives a restart.
                self.world.disk.touch(&path, self.world.clock.wall())?;
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.lock().take(&name);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a pack in that is written; others go if there are too many. Blocks.
    pub(crate) fn take_in(&self, of: Rendition, draft: Draft) -> io::Result<()> {
        let name = name(of);
        self.world.disk.rename(draft.path(), &self.folder.join(&name))?;
        self.lock().put(name.clone(), draft.bytes());
        loop {
            let oldest = {
                let mut packs = self.lock();
                let over = packs.bytes > self.bytes_max;
                let oldest = packs.sizes.peek_lru().map(|(oldest, _)| oldest.clone());
                let oldest = oldest.filter(|oldest| over && *oldest != name);
                oldest.inspect(|oldest| packs.take(oldest))
            };
            let Some(oldest) = oldest else { return Ok(()) };
            self.unlink(&oldest)?;
        }
    }

    /// Removes a pack, if it is here. Blocks.
    pub(super) fn remove(&self, of: Rendition) -> io::Result<()> {
        let name = name(of);
        self.lock().take(&name);
        self.unlink(&name)
    }

    /// Removes all packs of a song. Blocks.
    pub(crate) fn remove_all(&self, track: &TrackId) -> io::Result<()> {
        let song = track.to_string();
        let of_song: Vec<String> = {
            let packs = self.lock();
            let names = packs.sizes.iter().map(|(name, _)| name);
            names.filter(|name| name.starts_with(&song)).cloned().collect()
        };
        for name in of_song {
            self.lock().take(&name);
            self.unlink(&name)?;
        }
        Ok(())
    }

    /// How many packs, and their bytes.
    pub(super) fn total(&self) -> (usize, u64) {
        let packs = self.lock();
        (packs.sizes.len(), packs.bytes)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        match self.world.disk.remove(&self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Packs> {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Packs {
    fn put(&mut self, name: String, bytes: u64) {
        self.bytes += bytes;
        self.bytes -= self.sizes.put(name, bytes).unwrap_or(0);
    }

    fn take(&mut self, name: &str) {
        self.bytes -= self.sizes.pop(name).unwrap_or(0);
    }
}

fn name(of: Rendition) -> String {
    match of.kbps {
        0 => of.track.to_string(),
        kbps => format!("{}.{kbps}", of.track),
    }
}
