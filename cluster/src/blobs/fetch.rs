//! Gets the bytes of songs from other nodes, and clears away what nobody needs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::{FetchChunk, FetchRequest};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::peers::signed;
use super::{Blobs, Neighbour, SongError, Via};

/// Songs that are fetched at once.
const AT_ONCE: usize = 3;
/// Between two rounds over what could not be fetched.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Another node that sends nothing for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// Between two looks for files that have expired.
const TIDY_EVERY: Duration = Duration::from_secs(3600);

impl Blobs {
    /// Fetches what this node lacks, for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.keep_complete(), self.keep_tidy());
    }

    async fn keep_complete(&self) {
        let mut running = FuturesUnordered::new();
        let mut busy = BTreeSet::new();
        // Tried in vain: they wait for the next round.
        let mut later = BTreeSet::new();
        let mut pause = RETRY_FIRST;
        loop {
            let wanted: Vec<_> = self.wanted().iter().map(|(id, bytes)| (*id, *bytes)).collect();
            for (id, bytes) in wanted {
                if busy.len() < AT_ONCE && !later.contains(&id) && busy.insert(id) {
                    running.push(async move { (id, self.fetch(id, bytes).await) });
                }
            }
            tokio::select! {
                Some((id, fetched)) = running.next() => {
                    busy.remove(&id);
                    if fetched {
                        pause = RETRY_FIRST;
                    } else {
                        later.insert(id);
                    }
                }
                () = self.wake.notified() => {}
                () = sleep(pause), if !later.is_empty() => {
                    later.clear();
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn fetch(&self, id: TrackId, bytes: u64) -> bool {
        let own = self.cluster.own_id();
        for node in self.cluster.members().into_iter().filter(|node| node.id != own) {
            match self.pull(&node, id, bytes, |_| ()).await {
                Ok(()) => {
                    tracing::info!(song = %id, node = node.id, "fetched a song that this node lacked");
                    self.wanted().remove(&id);
                    return true;
                }
                Err(error) => {
                    tracing::debug!(song = %id, node = node.id, %error, "could not fetch a song")
                }
            }
        }
        tracing::warn!(song = %id, "no other node gave this song's bytes yet");
        false
    }

    /// Copies a song from a node, verifies it and makes it durable. `progress` hears how many bytes are here.
    pub(super) async fn pull(
        &self,
        from: &Neighbour,
        id: TrackId,
        bytes: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<(), SongError> {
        let pen = self.store.pen(id, Via::Pull).await;
        if self.store.renew(&id)? == Some(bytes) {
            return Ok(());
        }
        if pen.length() > bytes {
            pen.discard()?;
        }
        let mut held = pen.length();
        self.store.check_room(bytes - held)?;
        let request = FetchRequest { id: id.to_wire(), offset: held, length: 0 };
        let mut chunks = self.read_from(from, request).await?;
        let writer = pen.write_on(bytes);
        while held < bytes {
            let chunk = match timeout(STALLED_AFTER, chunks.message()).await {
                Ok(chunk) => chunk.map_err(SongError::Relayed)?,
                Err(_) => None,
            };
            let Some(FetchChunk { data }) = chunk else { break };
            held += data.len() as u64;
            if held > bytes || !writer.write(data).await {
                break;
            }
            progress(held);
        }
        let pen = writer.close().await?;
        if held != bytes {
            return Err(SongError::Incomplete { held, bytes });
        }
        self.blocking(move || {
            pen.verify()?;
            Ok(pen.finish()?)
        })
        .await
    }

    /// A song's bytes as another node has them.
    pub(super) async fn read_from(
        &self,
        node: &Neighbour,
        request: FetchRequest,
    ) -> Result<Streaming<FetchChunk>, SongError> {
        let request = signed(&*self.cluster, node.id, request).map_err(SongError::Relayed)?;
        let mut client = self.peers.to(node).map_err(SongError::Relayed)?;
        match timeout(STALLED_AFTER, client.read(request)).await {
            Ok(reply) => Ok(reply.map_err(SongError::Relayed)?.into_inner()),
            Err(_) => Err(SongError::Relayed(tonic::Status::deadline_exceeded(
                "the node does not answer",
            ))),
        }
    }

    async fn keep_tidy(&self) {
        loop {
            if let Err(error) = self.store.expire(self.world.clock.wall()) {
                tracing::error!(%error, "could not look for uploads that have expired");
            }
            if let Err(error) = self.drop_uncommitted(self.world.clock.wall()).await {
                tracing::debug!(%error, "songs that were never committed stay for now");
            }
            sleep(TIDY_EVERY).await;
        }
    }

    /// Removes whole songs that nobody committed within a day: uploads that found no quorum, and whose clients
    /// never came back.
    ///
    /// A copy here may be one of a majority whose commit this node has not applied yet, so it first catches
    /// up with the log.
    async fn drop_uncommitted(&self, now: SystemTime) -> Result<(), SongError> {
        let mut left = self.store.all_held();
        left.retain(|id| self.cluster.track(id).is_none() && self.store.is_old(id, now));
        if left.is_empty() {
            return Ok(());
        }
        self.cluster.catch_up().await.map_err(SongError::Relayed)?;
        for id in left {
            if self.cluster.track(&id).is_none() && self.store.remove_old(&id, now)? {
                tracing::info!(song = %id, "removed a song that was never committed");
            }
        }
        Ok(())
    }
}
