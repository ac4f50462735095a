//! Room on the disk, which songs promise to each other and leave to the log.
//!
//! What is on its way counts from when it begins, so that many at once never count on the same room. Below the floor songs write
//! nothing: without room for the log the node stops, and could not start again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jam_world::{Disk, World};

use super::SongError;

/// Bytes of the disk that songs leave to the log.
pub const FLOOR_BYTES: u64 = 128 << 20;
/// With less than this a node may not come up.
const START_BYTES: u64 = 16 << 20;

/// What is promised of one disk.
#[derive(Debug)]
pub struct DiskRoom {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    promised: Arc<Mutex<u64>>,
}

/// Room for bytes that are on their way. What is left of it when it is dropped is free again.
#[derive(Debug)]
pub struct Promise {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    promised: Arc<Mutex<u64>>,
    left: u64,
}

impl DiskRoom {
    /// Of the disk where `folder` is.
    pub fn new(world: &World, folder: &Path) -> Self {
        Self { disk: world.disk.clone(), folder: folder.into(), promised: Arc::default() }
    }

    /// Promises room for so many bytes, unless there is none besides what is promised already.
    pub fn promise(&self, bytes: u64) -> Result<Promise, SongError> {
        let mut promised = lock(&self.promised);
        if self.disk.free_bytes(&self.folder)? < bytes.saturating_add(*promised + FLOOR_BYTES) {
            return Err(SongError::DiskFull { needed: bytes });
        }
        *promised += bytes;
        let (disk, folder) = (self.disk.clone(), self.folder.clone());
        Ok(Promise { disk, folder, promised: self.promised.clone(), left: bytes })
    }
}

impl Promise {
    /// Before so many of the bytes are written: others may have filled the disk meanwhile. Blocks.
    pub fn check(&self, bytes: usize) -> Result<(), SongError> {
        let bytes = bytes as u64;
        if self.disk.free_bytes(&self.folder)? < bytes.saturating_add(FLOOR_BYTES) {
            return Err(SongError::DiskFull { needed: self.left.max(bytes) });
        }
        Ok(())
    }

    /// So many of them are written: the disk itself says so from here on.
    pub fn written(&mut self, bytes: usize) {
        self.free((bytes as u64).min(self.left));
    }

    fn free(&mut self, bytes: u64) {
        *lock(&self.promised) -= bytes;
        self.left -= bytes;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.free(self.left);
    }
}

fn lock(promised: &Mutex<u64>) -> MutexGuard<'_, u64> {
    promised.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Before the log is opened: on a full disk, what can be sent or made again goes. Blocks.
///
/// # Errors
/// Those of the disk.
pub fn make_room_to_start(world: &World, data: &Path) -> io::Result<()> {
    let disk = world.disk.as_ref();
    if !jam_world::exists(disk, data)? || disk.free_bytes(data)? >= FLOOR_BYTES {
        return Ok(());
    }
    // A copy that was set aside may be the only one.
    let unfinished = |name: &str| !name.ends_with(".aside");
    let mut removed = 0;
    for (folder, may_go) in
        [("uploads", &unfinished as &dyn Fn(&str) -> bool), ("packs", &|_| true)]
    {
        let folder = data.join(folder);
        if !jam_world::exists(disk, &folder)? {
            continue;
        }
        for (name, _) in disk.list(&folder)?.into_iter().filter(|(name, _)| may_go(name)) {
            disk.remove(&folder.join(name))?;
            removed += 1;
        }
        if disk.free_bytes(data)? >= FLOOR_BYTES {
            break;
        }
    }
    let free = disk.free_bytes(data)?;
    if removed > 0 {
        tracing::warn!(
            removed,
            free,
            "the disk was full: removed uploads that had not ended, and songs' segments"
        );
    }
    if free < START_BYTES {
        tracing::error!(free, "{}", advice(data));
    }
    Ok(())
}

/// What is to be done about a full disk, if it is full.
pub fn advice_if_full(world: &World, data: &Path) -> Option<String> {
    let free = world.disk.free_bytes(data).ok()?;
    (free < START_BYTES).then(|| advice(data))
}

fn advice(data: &Path) -> String {
    let needed = FLOOR_BYTES >> 20;
    let data = data.display();
    format!(
        "the disk that holds {data} is full: free {needed} MiB there, of files that are not Jam's, or move the folder to a larger disk, and start this node again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_counts_until_it_is_written_or_dropped() {
        let room = DiskRoom::new(&World::real(), Path::new("/"));
        let free = room.disk.free_bytes(&room.folder).expect("a disk");
        let most = free.saturating_sub(FLOOR_BYTES);
        let mut half = room.promise(most / 2).expect("there is room");
        assert!(matches!(room.promise(most), Err(SongError::DiskFull { .. })), "half is promised");
        half.written(1000);
        assert_eq!(*lock(&room.promised), most / 2 - 1000);
        half.written(usize::MAX);
        assert_eq!(*lock(&room.promised), 0);
        drop(room.promise(most / 2).expect("there is room"));
        assert_eq!(*lock(&room.promised), 0);
    }
}
