//! Files on their way into the store, and the right to change one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jam_proto::ids::TrackId;
use jam_world::Open;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::SongError;
use super::room::Promise;
use super::store::{Store, is_song};

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
    /// None: a damaged copy, kept until there is a good one.
    Aside,
    /// None: the whole song itself. Who removes, replaces or counts on it has this right.
    Whole,
}

impl Via {
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Upload => "part",
            Self::Pull => "pull",
            Self::Aside => "aside",
            Self::Whole => "song",
        }
    }
}

/// The right to change one file. Only one at a time has it.
#[derive(Debug)]
pub struct Pen {
    pub(super) store: Arc<Store>,
    pub(super) id: TrackId,
    pub(super) via: Via,
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
    pub fn write_on(self, expected: u64, mut promise: Promise) -> Writer {
        let (chunks, mut queue) = mpsc::channel::<Bytes>(CHUNKS_QUEUED);
        let written = tokio::spawn(async move {
            let opened = self.store.disk().open(&self.path(), Open::Make);
            let file = opened.map_err(|error| SongError::of_write(error, expected))?;
            let mut at = file.len()?;
            while let Some(chunk) = queue.recv().await {
                let (length, into) = (chunk.len() as u64, file.clone());
                let writing = move || {
                    promise.check(chunk.len())?;
                    let full = |error| SongError::of_write(error, expected.saturating_sub(at));
                    into.write_at(&chunk, at).map_err(full)?;
                    promise.written(chunk.len());
                    Ok::<_, SongError>(promise)
                };
                promise = self.store.world.blocking(writing).await??;
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
        if !is_song(&file, &self.id)? {
            self.discard()?;
            return Err(SongError::HashMismatch);
        }
        Ok(())
    }

    /// Makes it a whole song that survives a power cut. It was verified. What had its place is gone.
    pub async fn finish(self) -> io::Result<()> {
        let place = self.store.pen(self.id, Via::Whole).await;
        let world = self.store.world.clone();
        world.try_blocking(move || self.store.take_in(&place.id, &self.path())).await
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
        self.store.free(&self.id, self.via);
    }
}
