//! What a node does for the others: gives bytes, and copies some when asked.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use jam_proto::ids::TrackId;
use jam_proto::limits::{CHUNK_BYTES_MAX, SONG_BYTES_MAX};
use jam_proto::wire::peer::v1::blobs_server::{self, BlobsServer};
use jam_proto::wire::peer::v1::{HoldProgress, HoldRequest};
use jam_proto::wire::v1::{DoubtReply, DoubtRequest, FetchChunk, FetchRequest};
use jam_world::File;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::store::Copied;
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
        let Some(song) = self.blobs.song(&id).await else {
            // Gone is said only where there is no copy: one that can't be opened just now may be the only one.
            let is_held = self.blobs.store.held(&id).is_some();
            return Err(if is_held { SongError::NotHere(id) } else { SongError::Gone(id) }.into());
        };
        Ok(Response::new(song.chunks(request.offset, request.length)?))
    }

    async fn doubt(&self, request: Request<DoubtRequest>) -> Result<Response<DoubtReply>, Status> {
        self.blobs.cluster.admit(request.metadata())?;
        let id = TrackId::from_wire(&request.get_ref().id).map_err(SongError::from)?;
        self.blobs.doubt(&id);
        Ok(Response::new(DoubtReply {}))
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

/// A song that this node gives away, from the copy that was here when it was asked for.
pub(crate) struct Song {
    blobs: Arc<Blobs>,
    id: TrackId,
    copy: Copied,
}

impl Blobs {
    /// The song, if it is here and looks whole. One that turns out not to be is repaired from here on.
    pub(crate) async fn song(self: &Arc<Self>, id: &TrackId) -> Option<Song> {
        self.open_song(id).await.map(|(song, _)| song)
    }

    /// The song's file, as [`Blobs::song`].
    pub(crate) async fn file(self: &Arc<Self>, id: &TrackId) -> Option<Arc<dyn File>> {
        self.open_song(id).await.map(|(_, file)| file)
    }

    async fn open_song(self: &Arc<Self>, id: &TrackId) -> Option<(Song, Arc<dyn File>)> {
        let (id, copy) = (*id, self.store.copy(id)?);
        let store = self.store.clone();
        match self.world.try_blocking(move || store.open_copy(&id, copy)).await {
            Ok(Ok(file)) => Some((Song { blobs: self.clone(), id, copy }, file)),
            Ok(Err(damage)) => {
                self.lose(id, copy, damage).await;
                None
            }
            Err(error) => {
                tracing::warn!(song = %id, %error, "could not open a song");
                None
            }
        }
    }
}

impl Song {
    /// Its length.
    pub(crate) fn length(&self) -> u64 {
        self.copy.bytes
    }

    /// Its first bytes, which tell what it is; none if they can't be read.
    pub(crate) async fn head(&self) -> Bytes {
        let size = self.copy.bytes.min(jam_media::HEAD_BYTES as u64);
        self.read(0, size).await.unwrap_or_default()
    }

    /// Its bytes in messages. `length` 0: to the end.
    pub(crate) fn chunks(self, offset: u64, length: u64) -> Result<ChunkStream, SongError> {
        let total = self.copy.bytes;
        if offset > total {
            return Err(SongError::Invalid(format!(
                "the song has {total} bytes; there are none at {offset}"
            )));
        }
        let left = match length {
            0 => total - offset,
            length => length.min(total - offset),
        };
        let chunks = self.bytes(offset, left);
        #[cfg(feature = "planted")]
        let chunks = chunks.map_ok(spoilt);
        let chunks = chunks.map_ok(|data| FetchChunk { data });
        Ok(Box::pin(chunks.map_err(|error| SongError::Disk(error).into())))
    }

    /// `left` of its bytes from `offset` on, in chunks that are read as they are taken. They end in an error once the copy is
    /// known to be no good.
    pub(crate) fn bytes(self, offset: u64, left: u64) -> ByteStream {
        Box::pin(stream::try_unfold((self, offset, left), |(song, offset, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let size = left.min(CHUNK_BYTES_MAX as u64);
            let chunk = song.read(offset, size).await?;
            Ok(Some((chunk, (song, offset + size, left - size))))
        }))
    }

    async fn read(&self, offset: u64, size: u64) -> io::Result<Bytes> {
        if self.blobs.store.copy(&self.id) != Some(self.copy) {
            return Err(io::Error::other("this copy of the song is not used any more; ask again"));
        }
        // Opened for each chunk: whoever takes no more of them keeps no file open.
        let (store, id, copy) = (self.blobs.store.clone(), self.id, self.copy);
        let read = move || {
            let file = store.open_copy(&id, copy)?.map_err(io::Error::other)?;
            let mut chunk = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut chunk, offset)?;
            Ok(Bytes::from(chunk))
        };
        let chunk = self.blobs.world.try_blocking(read).await;
        if chunk.is_err() {
            self.blobs.doubt(&self.id);
        }
        chunk
    }
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
