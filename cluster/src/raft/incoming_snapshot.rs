//! Snapshots that a leader sends. They go to a file as they come, and are read and checked before Raft hears of them.
//!
//! Whoever can call this node may begin one and never end it. So there are few at one time, each is bounded in bytes and in
//! time, and the disk keeps some room.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jam_proto::level::{self, FeatureLevel};
use jam_proto::limits::SNAPSHOT_BYTES_MAX;
use jam_proto::shard::Shard;
use jam_proto::wire::log::v1::ShardSnapshot;
use jam_world::{File, Open, World};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::handle::SNAPSHOT_TTL;
use super::incoming::Part;

/// Snapshots that may be on their way to a node at one time: the leader's, and one that was cut off and has not ended yet.
pub const AT_ONE_TIME_MAX: usize = 2;
/// One that brings nothing for so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Bytes that stay free on the disk.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// Receives snapshots. Clones share what is on its way.
#[derive(Clone, Debug)]
pub struct IncomingSnapshots {
    /// The machine.
    pub world: World,
    folder: Arc<Path>,
    free: Arc<Semaphore>,
    begun: Arc<AtomicU64>,
}

impl IncomingSnapshots {
    /// Receives into `folder`, which is made or emptied: what a process left there is of no use. Blocks.
    pub fn open(world: &World, folder: &Path) -> io::Result<Self> {
        world.disk.make_folder(folder)?;
        for (name, meta) in world.disk.list(folder)? {
            if !meta.is_folder {
                world.disk.remove(&folder.join(name))?;
            }
        }
        Ok(Self {
            world: world.clone(),
            folder: folder.into(),
            free: Arc::new(Semaphore::new(AT_ONE_TIME_MAX)),
            begun: Arc::default(),
        })
    }

    /// Begins to receive one.
    ///
    /// # Errors
    /// `resource_exhausted` if too many are on their way.
    pub fn begin(&self) -> Result<Incoming, Status> {
        let permit = self.free.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{AT_ONE_TIME_MAX} snapshots are on their way to this node already; send it again later"
            ))
        })?;
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number}.part"));
        let deadline = Instant::now() + SNAPSHOT_TTL;
        Ok(Incoming { snapshots: self.clone(), path, deadline, _permit: permit })
    }
}

/// One on its way. It counts, and its file is there, until this is dropped.
#[derive(Debug)]
pub struct Incoming {
    snapshots: IncomingSnapshots,
    path: PathBuf,
    deadline: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Incoming {
    /// The next part, if it comes in time.
    pub async fn next(
        &self,
        parts: &mut (impl Stream<Item = Result<Part, Status>> + Unpin),
    ) -> Result<Option<Part>, Status> {
        let until = self.deadline.min(Instant::now() + IDLE_MAX);
        let late = |_| Status::deadline_exceeded("the snapshot took too long to come");
        timeout_at(until, parts.next()).await.map_err(late)?.transpose()
    }

    /// Takes the `announced` bytes, and returns them once all are here.
    pub async fn receive(
        &self,
        announced: u64,
        mut parts: impl Stream<Item = Result<Part, Status>> + Unpin,
    ) -> Result<Bytes, Status> {
        if announced > SNAPSHOT_BYTES_MAX {
            return Err(Status::resource_exhausted(format!(
                "a snapshot of {announced} bytes is above the limit of {SNAPSHOT_BYTES_MAX}"
            )));
        }
        let file = self.make_file(announced).await.map_err(failed)??;
        let mut at = 0_u64;
        while let Some(part) = self.next(&mut parts).await? {
            let Part::Bytes(bytes) = part else {
                return Err(Status::invalid_argument("a snapshot has one head"));
            };
            let end = at.saturating_add(bytes.len() as u64);
            if bytes.is_empty() || end > announced {
                return Err(Status::invalid_argument("the snapshot is not as long as it said"));
            }
            let into = file.clone();
            let writing = move || into.write_at(&bytes, at);
            self.snapshots.world.try_blocking(writing).await.map_err(failed)?;
            at = end;
        }
        if at < announced {
            return Err(Status::invalid_argument("the snapshot was cut off"));
        }
        let (disk, path) = (self.snapshots.world.disk.clone(), self.path.clone());
        let read = self.snapshots.world.try_blocking(move || disk.read(&path)).await;
        read.map(Bytes::from).map_err(failed)
    }

    async fn make_file(&self, announced: u64) -> io::Result<Result<Arc<dyn File>, Status>> {
        let (snapshots, path) = (self.snapshots.clone(), self.path.clone());
        let make = move || {
            let disk = &snapshots.world.disk;
            if disk.free_bytes(&snapshots.folder)?.saturating_sub(FREE_BYTES_MIN) < announced {
                return Ok(Err(Status::resource_exhausted(format!(
                    "there is no room on this node's disk for a snapshot of {announced} bytes"
                ))));
            }
            disk.open(&path, Open::Anew).map(Ok)
        };
        self.snapshots.world.try_blocking(make).await
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Most were never made, or the disk has failed: the folder is emptied at the next start.
        drop(self.snapshots.world.disk.remove(&self.path));
    }
}

fn failed(error: io::Error) -> Status {
    Status::internal(format!("the snapshot could not be kept: {error}"))
}

/// Whether a snapshot is one that this build can go on from. Takes its time.
///
/// # Errors
/// Why not, in a sentence.
pub fn check_content(bytes: Bytes) -> Result<(), String> {
    let wire = ShardSnapshot::decode(bytes)
        .map_err(|error| format!("the snapshot can't be read: {error}"))?;
    level::check_snapshot(&wire, FeatureLevel::CURRENT).map_err(|newer| {
        format!("the snapshot was made by a newer jamd: {newer}; update this node")
    })?;
    Shard::from_wire(&wire).map_err(|error| format!("the snapshot can't be: {error}"))?;
    Ok(())
}

#[cfg(test)]
mod tests;
