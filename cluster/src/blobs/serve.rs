//! What a node does for the others: gives bytes, and copies some when asked.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use jam_proto::ids::TrackId;
use jam_proto::limits::{CHUNK_BYTES_MAX, SONG_BYTES_MAX};
use jam_proto::wire::peer::v1::blobs_server::{self, BlobsServer};
use jam_proto::wire::peer::v1::{HoldProgress, HoldRequest};
use jam_proto::wire::v1::{FetchChunk, FetchRequest};
use jam_world::{Open, World};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Blobs, Neighbour, SongError};

/// Between two words on how far a copy is: well within the caller's patience.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// Bytes of a file, chunk by chunk.
pub(crate) type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A song's bytes on their way out.
pub(crate) type ChunkStream = Pin<Box<dyn Stream<Item = Result<FetchChunk, Status>> + Send>>;

/// The service for the other nodes.
pub fn peer_service(blobs: Arc<Blobs>) -> BlobsServer<impl blobs_server::Blobs> {
    BlobsServer::new(ForPeers { blobs })
}

struct ForPeers {
    blobs: Arc<Blobs>,
}

#[tonic::async_trait]
impl blobs_server::Blobs for ForPeers {
    type HoldStream = ReceiverStream<Result<HoldProgress, Status>>;
    type ReadStream = ChunkStream;

    async fn hold(
        &self,
        request: Request<HoldRequest>,
    ) -> Result<Response<Self::HoldStream>, Status> {
        self.blobs.cluster.admit(request.metadata())?;
        let request = request.into_inner();
        let id = TrackId::from_wire(&request.id).map_err(SongError::from)?;
        if request.bytes > SONG_BYTES_MAX {
            return Err(SongError::TooLarge(request.bytes).into());
        }
        let members = self.blobs.cluster.members();
        let from = members.into_iter().find(|node| node.id == request.from);
        let from = from.ok_or_else(|| {
            SongError::Invalid(format!("node {} is no member here", request.from))
        })?;
        let (tell, told) = mpsc::channel(2);
        // On its own: a copy that was begun is of use even if the one who asked is gone.
        tokio::spawn(hold(self.blobs.clone(), from, id, request.bytes, tell));
        Ok(Response::new(ReceiverStream::new(told)))
    }

    async fn read(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        self.blobs.cluster.admit(request.metadata())?;
        let request = request.into_inner();
        let id = TrackId::from_wire(&request.id).map_err(SongError::from)?;
        let (Some(path), Some(length)) = (self.blobs.store.path(&id), self.blobs.store.held(&id))
        else {
            return Err(SongError::Gone(id).into());
        };
        Ok(Response::new(chunks(&self.blobs.world, path, length, request.offset, request.length)?))
    }
}

async fn hold(
    blobs: Arc<Blobs>,
    from: Neighbour,
    id: TrackId,
    bytes: u64,
    tell: mpsc::Sender<Result<HoldProgress, Status>>,
) {
    let (progress, seen) = watch::channel(0);
    let pull = blobs.pull(&from, id, bytes, |held| {
        progress.send_replace(held);
    });
    tokio::pin!(pull);
    let mut ticks = interval(TOLD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            done = &mut pull => {
                let last = done.map(|()| HoldProgress { bytes, durable: true }).map_err(Status::from);
                // Nobody listens any more: the copy is there all the same.
                let _ = tell.send(last).await;
                return;
            }
            _ = ticks.tick() => {
                let held = *seen.borrow();
                let _ = tell.try_send(Ok(HoldProgress { bytes: held, durable: false }));
            }
        }
    }
}

/// Bytes of a file of `total` bytes, in chunks that are read as they are taken. `length` 0: to the end.
pub(crate) fn chunks(
    world: &World,
    path: PathBuf,
    total: u64,
    offset: u64,
    length: u64,
) -> Result<ChunkStream, SongError> {
    if offset > total {
        return Err(SongError::Invalid(format!(
            "the song has {total} bytes; there are none at {offset}"
        )));
    }
    let left = match length {
        0 => total - offset,
        length => length.min(total - offset),
    };
    let chunks = bytes(world.clone(), path, offset, left);
    #[cfg(feature = "planted")]
    let chunks = chunks.map_ok(spoilt);
    let chunks = chunks.map_ok(|data| FetchChunk { data });
    Ok(Box::pin(chunks.map_err(|error| SongError::Disk(error).into())))
}

#[cfg(feature = "planted")]
fn spoilt(data: Bytes) -> Bytes {
    if !jam_proto::planted::Bug::BadSong.is_planted() {
        return data;
    }
    let mut data = data.to_vec();
    data.iter_mut().take(1).for_each(|byte| *byte ^= 1);
    data.into()
}

/// `left` bytes of a file from `offset` on.
pub(crate) fn bytes(world: World, path: PathBuf, offset: u64, left: u64) -> ByteStream {
    let start = (world, None, offset, left);
    Box::pin(stream::try_unfold(start, move |(world, file, offset, left)| {
        let path = path.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES_MAX);
            let disk = world.disk.clone();
            let read = move || {
                let file = match file {
                    Some(file) => file,
                    None => disk.open(&path, Open::Read)?,
                };
                let mut chunk = vec![0; size];
                file.read_exact_at(&mut chunk, offset)?;
                Ok((chunk, file))
            };
            let (chunk, file) = world.try_blocking(read).await?;
            let left = left - size as u64;
            Ok(Some((Bytes::from(chunk), (world, Some(file), offset + size as u64, left))))
        }
    }))
}
