//! Songs as files, named by their hash.
//!
//! `songs/ab/<hash>` is a whole song: its bytes were hashed, synced, and only then given that name, so
//! whatever has such a name is right and survives a power cut. `uploads/<hash>.part` and
//! `.pull` are on their way from a client and from another node; nobody sees them, they can be gone on
//! with, and they go a day after the last write.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jam_proto::ids::TrackId;
use jam_world::{Cursor, Disk, Meta, Open, World};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::blobs::SongError;

/// How long an unfinished file is kept after the last write to it.
pub const UNFINISHED_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Bytes of the disk that songs leave to the log: without room for that the node stops.
const RESERVE_BYTES: u64 = 128 << 20;
/// Chunks that may wait for the disk.
const CHUNKS_QUEUED: usize = 4;

/// Where bytes on their way come from. Each source has a file of its own, so that a slow client never
/// keeps a node from copying the song.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// A client.
    Upload,
    /// Another node.
    Pull,
}

impl Via {
    fn extension(self) -> &'static str {
        match self {
            Self::Upload => "part",
            Self::Pull => "pull",
        }
    }
}

/// The folder of songs.
#[derive(Debug)]
pub struct Store {
    world: World,
    songs: PathBuf,
    uploads: PathBuf,
    /// Whole songs, with their lengths.
    held: Mutex<BTreeMap<TrackId, u64>>,
    writing: Mutex<BTreeSet<(TrackId, Via)>>,
    freed: Notify,
}

/// The right to write one unfinished file. Only one at a time has it.
#[derive(Debug)]
pub struct Pen {
    store: Arc<Store>,
    id: TrackId,
    via: Via,
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
            uploads,
            held: Mutex::new(held),
            writing: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// The length of a song that is here, whole and durable.
    pub fn held(&self, id: &TrackId) -> Option<u64> {
        lock(&self.held).get(id).copied()
    }

    /// All songs that are here.
    pub fn all_held(&self) -> Vec<TrackId> {
        lock(&self.held).keys().copied().collect()
    }

    /// Where a whole song's bytes are.
    pub fn path(&self, id: &TrackId) -> Option<PathBuf> {
        self.held(id).map(|_| self.place(id))
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

    /// As [`Store::held`], for somebody who is about to count on the copy: it won't be cleared away as one
    /// that nobody came back for.
    pub fn renew(&self, id: &TrackId) -> io::Result<Option<u64>> {
        let held = lock(&self.held);
        if held.contains_key(id) {
            self.disk().touch(&self.place(id), self.world.clock.wall())?;
        }
        Ok(held.get(id).copied())
    }

    /// Whether a whole song came, or was counted on, more than a day ago.
    pub fn is_old(&self, id: &TrackId, now: SystemTime) -> bool {
        self.disk().look(&self.place(id)).is_ok_and(|meta| has_expired(&meta, now))
    }

    /// Removes a whole song if it is old, and says whether it was. The caller has made sure that it is not
    /// committed.
    pub fn remove_old(&self, id: &TrackId, now: SystemTime) -> io::Result<bool> {
        let mut held = lock(&self.held);
        if !self.is_old(id, now) {
            return Ok(false);
        }
        self.disk().remove(&self.place(id))?;
        held.remove(id);
        Ok(true)
    }

    /// Removes unfinished files that nobody has written to for a day.
    pub fn expire(&self, now: SystemTime) -> io::Result<usize> {
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

    /// Whether the disk has room for so many more bytes, and for the log beside them.
    pub fn check_room(&self, needed: u64) -> Result<(), SongError> {
        if self.disk().free_bytes(&self.uploads)? < needed.saturating_add(RESERVE_BYTES) {
            return Err(SongError::DiskFull { needed });
        }
        Ok(())
    }

    fn disk(&self) -> &dyn Disk {
        self.world.disk.as_ref()
    }

    fn place(&self, id: &TrackId) -> PathBuf {
        let name = id.to_string();
        self.songs.join(&name[..2]).join(name)
    }

    fn unfinished_path(&self, id: &TrackId, via: Via) -> PathBuf {
        self.uploads.join(format!("{id}.{}", via.extension()))
    }
}

impl Pen {
    /// The unfinished file.
    pub fn path(&self) -> PathBuf {
        self.store.unfinished_path(&self.id, self.via)
    }

    /// Bytes in it.
    pub fn length(&self) -> u64 {
        self.store.unfinished(&self.id, self.via)
    }

    /// Starts to write on. The pen comes back when all is written: whoever else waits for it never sees a
    /// write that is still on its way, also if the one who writes is cancelled.
    pub fn write_on(self, expected: u64) -> Writer {
        let (chunks, mut queue) = mpsc::channel::<Bytes>(CHUNKS_QUEUED);
        let written = tokio::spawn(async move {
            let file = self.store.disk().open(&self.path(), Open::Make)?;
            let mut at = file.len()?;
            while let Some(chunk) = queue.recv().await {
                let (length, into) = (chunk.len() as u64, file.clone());
                let writing = move || into.write_at(&chunk, at);
                let full = |error| SongError::of_write(error, expected.saturating_sub(at));
                self.store.world.try_blocking(writing).await.map_err(full)?;
                at += length;
            }
            Ok(self)
        });
        Writer { chunks, written }
    }

    /// Drops what is in it.
    pub fn discard(&self) -> io::Result<()> {
        match self.store.disk().remove(&self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Hashes it, and discards it if it is not what its name says. Blocks.
    pub fn verify(&self) -> Result<(), SongError> {
        let file = self.store.disk().open(&self.path(), Open::Read)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(Cursor::new(file))?;
        if hasher.finalize().as_bytes() != &self.id.0 {
            self.discard()?;
            return Err(SongError::HashMismatch);
        }
        Ok(())
    }

    /// Makes it a whole song that survives a power cut. It was verified. Blocks.
    pub fn finish(self) -> io::Result<()> {
        let disk = self.store.disk();
        let file = disk.open(&self.path(), Open::Change)?;
        let length = file.len()?;
        file.sync_all()?;
        let place = self.store.place(&self.id);
        let folder = place.parent().unwrap_or(&self.store.songs);
        disk.make_folder(folder)?;
        // Also if it was there: whoever made it may have failed to make its name durable.
        disk.sync_folder(&self.store.songs)?;
        disk.rename(&self.path(), &place)?;
        disk.sync_folder(folder)?;
        lock(&self.store.held).insert(self.id, length);
        Ok(())
    }
}

/// Writes on an unfinished file.
#[derive(Debug)]
pub struct Writer {
    chunks: mpsc::Sender<Bytes>,
    written: JoinHandle<Result<Pen, SongError>>,
}

impl Writer {
    /// Takes a chunk; false once writing has failed, which [`Writer::close`] tells more about.
    pub async fn write(&self, chunk: Bytes) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    /// Waits until all is written.
    pub async fn close(self) -> Result<Pen, SongError> {
        drop(self.chunks);
        self.written.await.map_err(|error| SongError::Disk(io::Error::other(error)))?
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        lock(&self.store.writing).remove(&(self.id, self.via));
        self.store.freed.notify_waiters();
    }
}

fn has_expired(meta: &Meta, now: SystemTime) -> bool {
    now.duration_since(meta.modified).is_ok_and(|age| age > UNFINISHED_KEPT)
}

fn scan(disk: &dyn Disk, songs: &Path) -> io::Result<BTreeMap<TrackId, u64>> {
    let mut held = BTreeMap::new();
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

fn parse_name(name: &str) -> Option<TrackId> {
    let hash = blake3::Hash::from_hex(name).ok()?;
    Some(TrackId(*hash.as_bytes()))
}

/// Nothing that holds these locks can leave them half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert_eq!(store.path(&id), None);
        pen.verify().expect("its hash");
        pen.finish().expect("finishes");
        assert_eq!(store.held(&id), Some(4));

        let again = Store::open(&World::real(), data.path()).expect("opens");
        assert_eq!(again.held(&id), Some(4));
        assert_eq!(fs::read(again.path(&id).expect("held")).expect("reads"), b"song");
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
