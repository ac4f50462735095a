//! Songs as files, named by their hash.
//!
//! `songs/ab/<hash>` is a whole song: its bytes were hashed, synced, and only then given that name, so
//! whatever has such a name is right and survives a power cut. `uploads/<hash>.part` and
//! `.pull` are on their way from a client and from another node; nobody sees them, they can be gone on
//! with, and they go a day after the last write. So does `.aside`, a damaged song that could not be repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jam_proto::ids::TrackId;
use jam_world::{Cursor, Disk, File, Meta, World};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pen::{Pen, Via};
use super::room::DiskRoom;
use super::slots::Origin;
use crate::draft::Drafts;

/// How long an unfinished file is kept after the last write to it.
pub const UNFINISHED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The folder of songs.
#[derive(Debug)]
pub struct Store {
    pub(super) world: World,
    pub(super) songs: PathBuf,
    pub(super) uploads: PathBuf,
    /// What is made here.
    pub(super) drafts: Drafts,
    /// Never locked while the disk works: those who apply the log look here too.
    held: Mutex<Holdings>,
    /// Songs that somebody counted on, and when.
    counted: Mutex<BTreeMap<TrackId, Instant>>,
    pub(super) writing: Mutex<BTreeSet<(TrackId, Via)>>,
    /// Where the uploads came from that have not ended; not known of those that an earlier process took.
    pub(super) origins: Mutex<BTreeMap<TrackId, Origin>>,
    pub(super) room: DiskRoom,
    freed: Notify,
}

/// One copy of a whole song, told from those that had its place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its length.
    pub bytes: u64,
    number: u64,
}

/// Whole songs.
#[derive(Debug, Default)]
struct Holdings {
    songs: BTreeMap<TrackId, Copied>,
    bytes: u64,
    copies: u64,
}

impl Holdings {
    fn insert(&mut self, id: TrackId, bytes: u64) {
        self.copies += 1;
        let copy = Copied { bytes, number: self.copies };
        let before = self.songs.insert(id, copy);
        self.bytes += bytes;
        self.bytes -= before.map_or(0, |before| before.bytes);
    }

    fn remove(&mut self, id: &TrackId) -> bool {
        let removed = self.songs.remove(id);
        self.bytes -= removed.map_or(0, |removed| removed.bytes);
        removed.is_some()
    }
}

impl Store {
    /// Opens the folder within a node's data folder, and makes it if it is not there.
    pub fn open(world: &World, data: &Path) -> io::Result<Self> {
        let disk = world.disk.as_ref();
        let (songs, uploads) = (data.join("songs"), data.join("uploads"));
        disk.make_folder(&songs)?;
        disk.make_folder(&uploads)?;
        disk.sync_folder(data)?;
        let held = scan(disk, &songs)?;
        Ok(Self {
            world: world.clone(),
            songs,
            drafts: Drafts::new(world.disk.clone(), uploads.clone(), "made"),
            uploads,
            held: Mutex::new(held),
            counted: Mutex::default(),
            writing: Mutex::default(),
            origins: Mutex::default(),
            room: DiskRoom::new(world, data),
            freed: Notify::new(),
        })
    }

    /// The length of a song that is here, whole and durable.
    pub fn held(&self, id: &TrackId) -> Option<u64> {
        self.copy(id).map(|copy| copy.bytes)
    }

    /// The copy that is here.
    pub fn copy(&self, id: &TrackId) -> Option<Copied> {
        lock(&self.held).songs.get(id).copied()
    }

    /// All songs that are here.
    pub fn all_held(&self) -> Vec<TrackId> {
        lock(&self.held).songs.keys().copied().collect()
    }

    /// The songs that follow this one, by id, at most so many.
    pub fn held_after(&self, last: Option<TrackId>, count: usize) -> Vec<(TrackId, Copied)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let held = lock(&self.held);
        let following = held.songs.range((from, Bound::Unbounded));
        following.take(count).map(|(id, copy)| (*id, *copy)).collect()
    }

    /// How many songs are here, and their bytes.
    pub fn total(&self) -> (usize, u64) {
        let held = lock(&self.held);
        (held.songs.len(), held.bytes)
    }

    /// Bytes of an unfinished file.
    pub fn unfinished(&self, id: &TrackId, via: Via) -> u64 {
        self.disk().look(&self.unfinished_path(id, via)).map_or(0, |meta| meta.len)
    }

    /// Waits for the right to write a song's unfinished file.
    pub async fn pen(self: &Arc<Self>, id: TrackId, via: Via) -> Pen {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Before the look, or a release between both would be missed.
            freed.as_mut().enable();
            if lock(&self.writing).insert((id, via)) {
                return Pen { store: self.clone(), id, via };
            }
            freed.await;
        }
    }

    /// Removes unfinished files that nobody has written to for a day.
    pub fn expire(&self, now: SystemTime) -> io::Result<usize> {
        lock(&self.counted).retain(|_, at| at.elapsed() <= UNFINISHED_KEPT);
        let mut gone = 0;
        for (name, meta) in self.disk().list(&self.uploads)? {
            let path = self.uploads.join(name);
            let writing = lock(&self.writing);
            let open = writing.iter().any(|(id, via)| self.unfinished_path(id, *via) == path);
            if !open && has_expired(&meta, now) {
                self.disk().remove(&path)?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    pub(super) fn free(&self, id: &TrackId, via: Via) {
        lock(&self.writing).remove(&(*id, via));
        self.freed.notify_waiters();
    }

    /// A song is here from now on. Its caller has the right to it, as of all that follow.
    pub(super) fn add(&self, id: TrackId, bytes: u64) {
        lock(&self.held).insert(id, bytes);
    }

    /// It is not here any more. Whether it was.
    pub(super) fn remove(&self, id: &TrackId) -> bool {
        lock(&self.held).remove(id)
    }

    /// A copy is no good: it is not served or counted from here on. False: it had gone already.
    pub fn disown(&self, id: &TrackId, copy: Copied) -> bool {
        let mut held = lock(&self.held);
        held.songs.get(id) == Some(&copy) && held.remove(id)
    }

    /// Somebody counts on a copy from now on.
    pub(super) fn count(&self, id: TrackId) {
        lock(&self.counted).insert(id, Instant::now());
    }

    /// Whether nobody has counted on a song for a day.
    pub(super) fn is_left(&self, id: &TrackId) -> bool {
        lock(&self.counted).get(id).is_none_or(|at| at.elapsed() > UNFINISHED_KEPT)
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        self.world.disk.as_ref()
    }

    pub(super) fn place(&self, id: &TrackId) -> PathBuf {
        let name = id.to_string();
        self.songs.join(&name[..2]).join(name)
    }

    pub(super) fn unfinished_path(&self, id: &TrackId, via: Via) -> PathBuf {
        self.uploads.join(format!("{id}.{}", via.extension()))
    }
}

/// Whether a file holds the bytes that the id stands for. Blocks.
pub(crate) fn is_song(file: &Arc<dyn File>, id: &TrackId) -> io::Result<bool> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(Cursor::new(file.clone()))?;
    Ok(hasher.finalize().as_bytes() == &id.0)
}

pub(super) fn has_expired(meta: &Meta, now: SystemTime) -> bool {
    now.duration_since(meta.modified).is_ok_and(|age| age > UNFINISHED_KEPT)
}

fn scan(disk: &dyn Disk, songs: &Path) -> io::Result<Holdings> {
    let mut held = Holdings::default();
    disk.sync_folder(songs)?;
    for (folder, _) in disk.list(songs)?.iter().filter(|(_, meta)| meta.is_folder) {
        // What has a name here counts as durable, and an earlier process may have failed to make the name so.
        disk.sync_folder(&songs.join(folder))?;
        for (name, meta) in disk.list(&songs.join(folder))? {
            if let Some(id) = parse_name(&name) {
                held.insert(id, meta.len);
            }
        }
    }
    Ok(held)
}

pub(super) fn parse_name(name: &str) -> Option<TrackId> {
    let hash = blake3::Hash::from_hex(name).ok()?;
    Some(TrackId(*hash.as_bytes()))
}

/// Nothing that holds these locks can leave them half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::SongError;
    use super::*;

    fn id_of(bytes: &[u8]) -> TrackId {
        TrackId(*blake3::hash(bytes).as_bytes())
    }

    #[tokio::test]
    async fn a_whole_song_is_found_again_and_a_wrong_one_is_not_kept() {
        let data = tempfile::tempdir().expect("a folder");
        let store = Arc::new(Store::open(&World::real(), data.path()).expect("opens"));
        let id = id_of(b"song");

        let pen = store.pen(id, Via::Upload).await;
        fs::write(pen.path(), b"sang").expect("writes");
        assert!(matches!(pen.verify(), Err(SongError::HashMismatch)));
        assert_eq!(pen.length(), 0);

        fs::write(pen.path(), b"song").expect("writes");
        assert_eq!(store.held(&id), None);
        pen.verify().expect("its hash");
        pen.finish().await.expect("finishes");
        assert_eq!(store.held(&id), Some(4));

        let again = Store::open(&World::real(), data.path()).expect("opens");
        assert_eq!(again.held(&id), Some(4));
        assert_eq!(fs::read(again.place(&id)).expect("reads"), b"song");
    }

    #[tokio::test]
    async fn unfinished_files_expire_unless_somebody_writes() {
        let data = tempfile::tempdir().expect("a folder");
        let store = Arc::new(Store::open(&World::real(), data.path()).expect("opens"));
        let (left, open) = (id_of(b"left"), id_of(b"open"));
        fs::write(store.pen(left, Via::Upload).await.path(), b"le").expect("writes");
        let pen = store.pen(open, Via::Pull).await;
        fs::write(pen.path(), b"op").expect("writes");

        let now = SystemTime::now();
        assert_eq!(store.expire(now).expect("looks"), 0);
        assert_eq!(store.expire(now + UNFINISHED_KEPT * 2).expect("looks"), 1);
        assert_eq!((store.unfinished(&left, Via::Upload), pen.length()), (0, 2));
    }

    #[tokio::test]
    async fn one_writer_at_a_time() {
        let data = tempfile::tempdir().expect("a folder");
        let store = Arc::new(Store::open(&World::real(), data.path()).expect("opens"));
        let id = id_of(b"song");
        let first = store.pen(id, Via::Upload).await;
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { drop(store.pen(id, Via::Upload).await) }
        });
        // Another source has a file of its own.
        drop(store.pen(id, Via::Pull).await);
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.expect("its turn came");
    }
}
