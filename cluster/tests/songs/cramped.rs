//! A disk that can be full.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use jam_world::{Database, Disk, File, Meta, Open, World};

/// This machine's disk, until it is full.
#[derive(Debug)]
pub struct Cramped {
    disk: Arc<dyn Disk>,
    is_full: AtomicBool,
    /// Bytes that can still be written, whatever it says of its room.
    left: Arc<AtomicU64>,
    /// What it says that it has free, in place of the truth.
    claimed: AtomicU64,
}

impl Cramped {
    /// With room, and the machine that has it.
    pub fn new() -> (Arc<Self>, World) {
        let real = World::real();
        let left = Arc::new(AtomicU64::new(u64::MAX));
        let is_full = AtomicBool::new(false);
        let cramped = Arc::new(Self {
            disk: real.disk.clone(),
            is_full,
            left,
            claimed: AtomicU64::new(u64::MAX),
        });
        (cramped.clone(), World { disk: cramped, ..real })
    }

    pub fn fill(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
        self.left.store(u64::MAX, Ordering::Relaxed);
    }

    /// It says that so many bytes are free from now on.
    pub fn claim(&self, bytes: u64) {
        self.claimed.store(bytes, Ordering::Relaxed);
    }

    /// Somebody else takes the rest as soon as so many bytes are written.
    pub fn leave(&self, bytes: u64) {
        self.fill(false);
        self.left.store(bytes, Ordering::Relaxed);
    }
}

impl Disk for Cramped {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if self.is_full.load(Ordering::Relaxed) && matches!(how, Open::Make | Open::Anew) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.disk.open(path, how)?;
        Ok(Arc::new(Metered { file, left: self.left.clone() }))
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
        match self.claimed.load(Ordering::Relaxed) {
            _ if self.is_full.load(Ordering::Relaxed) => Ok(0),
            u64::MAX => self.disk.free_bytes(folder),
            claimed => Ok(claimed),
        }
    }
    fn database(&self, folder: &Path, cache_bytes: u64) -> io::Result<Arc<dyn Database>> {
        self.disk.database(folder, cache_bytes)
    }
}

/// A file on it.
#[derive(Debug)]
struct Metered {
    file: Arc<dyn File>,
    left: Arc<AtomicU64>,
}

impl File for Metered {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let left = self.left.load(Ordering::Relaxed);
        if left == u64::MAX {
            return self.file.write_at(bytes, offset);
        }
        // As a disk does, as much as fits.
        let fits = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file.write_at(&bytes[..fits], offset)?;
        self.left.store(left - fits as u64, Ordering::Relaxed);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
