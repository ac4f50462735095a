//! Snapshots on disk: chunks under a new generation, then one pointer flipped.
//!
//! A power cut leaves the old snapshot or the new one, never a mixture. Each group of chunks is a
//! write of its own, so that the log goes on between them however large the state is. Loading
//! never waits for a save: applying waits for a load.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jam_world::Database;
use serde::{Deserialize, Serialize};
use tokio::sync;

use super::layout::{self, VALUE_BYTES_MAX};
use super::pending::encode;
use super::recover::meta;
use super::store::Shared;
use super::types::SnapshotMeta;

/// Chunks in one write: small enough that log entries never wait long for it.
const CHUNKS_PER_WRITE: usize = 64;

/// The pointer to the current snapshot.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Pointer {
    generation: u64,
    chunks: u32,
    crc: u32,
}

/// A snapshot as its chunks hold it.
#[derive(Serialize, Deserialize)]
struct Stored {
    meta: SnapshotMeta,
    body: Bytes,
}

/// Saves and loads snapshots. Clones share them.
#[derive(Clone)]
pub struct Snapshots {
    shared: Arc<Shared>,
    /// One save at a time.
    saving: Arc<sync::Mutex<()>>,
    /// What the one on disk covers, once that is known.
    current: Arc<Mutex<Option<SnapshotMeta>>>,
}

impl Snapshots {
    /// The snapshots of an open store.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, saving: Arc::default(), current: Arc::default() }
    }

    /// Makes a snapshot the current one. Once this returns it is durable, and the log that it
    /// covers may be purged.
    pub async fn save(&self, meta: SnapshotMeta, body: Bytes) -> io::Result<()> {
        let _saving = self.saving.lock().await;
        // After a restart openraft installs the one that it just loaded. And one that was being built
        // while a newer one was installed must not take its place: the log before that may be gone.
        let covered = self.lock_current().as_ref().map(|current| current.last_log_id);
        if covered.is_some_and(|covered| covered >= meta.last_log_id) {
            return Ok(());
        }
        let this = self.clone();
        let covers = meta.clone();
        let (bytes, current) = self
            .blocking(move || {
                let bytes =
                    postcard::to_stdvec(&Stored { meta, body }).map_err(io::Error::other)?;
                Ok((Bytes::from(bytes), this.pointer()?))
            })
            .await?;
        // Around the end, past 0: only that it is another one than the current one matters.
        let generation = current.map_or(1, |pointer| pointer.generation.wrapping_add(1));
        // What a save that was cut off left under this generation.
        self.sweep(current.map(|pointer| pointer.generation)).await?;

        let mut chunks: u32 = 0;
        for group in bytes.chunks(VALUE_BYTES_MAX * CHUNKS_PER_WRITE) {
            let mut pairs = Vec::new();
            for chunk in group.chunks(VALUE_BYTES_MAX) {
                pairs.push((layout::chunk_key(generation, chunks), Some(chunk.to_vec())));
                chunks += 1;
            }
            self.put(pairs).await?;
        }
        let pointer = Pointer { generation, chunks, crc: crc32fast::hash(&bytes) };
        self.put(vec![(layout::SNAPSHOT.to_vec(), Some(encode(&pointer)?))]).await?;
        *self.lock_current() = Some(covers);
        self.sweep(Some(generation)).await
    }

    /// The current snapshot.
    pub async fn load(&self) -> io::Result<Option<(SnapshotMeta, Bytes)>> {
        let this = self.clone();
        let loaded = self.blocking(move || this.shared.with_db(load_from)).await?;
        if let Some((meta, _)) = &loaded {
            // A save that ended meanwhile knows better.
            self.lock_current().get_or_insert_with(|| meta.clone());
        }
        Ok(loaded)
    }

    fn lock_current(&self) -> MutexGuard<'_, Option<SnapshotMeta>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pointer(&self) -> io::Result<Option<Pointer>> {
        self.shared.with_db(pointer)
    }

    /// Removes the chunks of all generations but one.
    async fn sweep(&self, keep: Option<u64>) -> io::Result<()> {
        let shared = self.shared.clone();
        let stale = self
            .blocking(move || {
                shared.with_db(|db| {
                    let mut stale = Vec::new();
                    for key in db.keys(layout::all_chunk_keys(), usize::MAX)? {
                        if Some(layout::chunk_generation(&key)?) != keep {
                            stale.push(key);
                        }
                    }
                    Ok(stale)
                })
            })
            .await?;
        for group in stale.chunks(CHUNKS_PER_WRITE) {
            self.put(group.iter().map(|key| (key.clone(), None)).collect()).await?;
        }
        Ok(())
    }

    async fn put(&self, pairs: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()> {
        self.shared.put(pairs).await
    }

    /// Does what takes long where it holds up nothing else.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.shared.world.try_blocking(work).await
    }
}

/// The current snapshot in a database.
///
/// A save may flip the pointer and sweep the chunks that are being read: then the next ones are
/// there, whole. Only chunks that are current before and after they were read can be damaged.
pub fn load_from(db: &dyn Database) -> io::Result<Option<(SnapshotMeta, Bytes)>> {
    let mut current = pointer(db)?;
    while let Some(reading) = current {
        let read = read(db, reading);
        current = pointer(db)?;
        if read.is_ok() || current == Some(reading) {
            return read.map(Some);
        }
    }
    Ok(None)
}

fn read(db: &dyn Database, pointer: Pointer) -> io::Result<(SnapshotMeta, Bytes)> {
    // How many chunks there are is told by the pointer, which has no checksum: no room is made on its word.
    let mut bytes = Vec::new();
    for chunk in 0..pointer.chunks {
        let value = db.get(&layout::chunk_key(pointer.generation, chunk))?;
        bytes.extend_from_slice(&value.ok_or_else(|| layout::damaged("the snapshot"))?);
    }
    if crc32fast::hash(&bytes) != pointer.crc {
        return Err(layout::damaged("the snapshot"));
    }
    let stored: Stored = postcard::from_bytes(&bytes).map_err(|_| layout::newer("the snapshot"))?;
    Ok((stored.meta, stored.body))
}

fn pointer(db: &dyn Database) -> io::Result<Option<Pointer>> {
    meta(db, layout::SNAPSHOT)
}

#[cfg(test)]
mod tests {
    use jam_world::World;

    use super::*;

    #[test]
    fn a_damaged_pointer_is_named_and_takes_no_memory() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let db = World::real().disk.database(folder.path(), 1 << 20)?;
        assert!(load_from(db.as_ref())?.is_none());
        // 25 TB, by its word.
        let pointer = Pointer { generation: 1, chunks: u32::MAX, crc: 0 };
        db.apply(vec![(layout::SNAPSHOT.to_vec(), Some(encode(&pointer)?))])?;
        let error = load_from(db.as_ref()).err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::InvalidData));
        Ok(())
    }
}
