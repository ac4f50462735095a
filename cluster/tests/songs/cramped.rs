//! A disk that can be full.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use jam_world::{Database, Disk, File, Meta, Open, World};

/// This machine's disk, until it is full.
#[derive(Debug)]
pub struct Cramped {
    disk: Arc<dyn Disk>,
    is_full: AtomicBool,
}

impl Cramped {
    /// With room, and the machine that has it.
    pub fn new() -> (Arc<Self>, World) {
        let real = World::real();
        let cramped = Arc::new(Self { disk: real.disk.clone(), is_full: AtomicBool::new(false) });
        (cramped.clone(), World { disk: cramped, ..real })
    }

    pub fn fill(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }
}

impl Disk for Cramped {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if self.is_full.load(Ordering::Relaxed) && matches!(how, Open::Make | Open::Anew) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.open(path, how)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk.read(path)
    }
    fn look(&self, path: &Path) -> io::Result<Meta> {
        self.disk.look(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, Meta)>> {
        self.disk.list(folder)
    }
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.make_folder(folder)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn touch(&self, path: &Path, now: SystemTime) -> io::Result<()> {
        self.disk.touch(path, now)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.disk.lock(path)
    }
    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        if self.is_full.load(Ordering::Relaxed) { Ok(0) } else { self.disk.free_bytes(folder) }
    }
    fn database(&self, folder: &Path, cache_bytes: u64) -> io::Result<Arc<dyn Database>> {
        self.disk.database(folder, cache_bytes)
    }
}
