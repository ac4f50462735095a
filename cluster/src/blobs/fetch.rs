//! Gets the bytes of songs from other nodes.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, FuturesUnordered};
use futures_util::{StreamExt, TryStreamExt};
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::{DoubtRequest, FetchChunk, FetchRequest};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Streaming;

use super::depot::TakenOutside;
use super::peers::signed;
use super::{Blobs, Neighbour, SongError, Via, Want};

/// A song's bytes on their way in.
type Chunks = BoxStream<'static, Result<Bytes, SongError>>;

/// Songs that are fetched at once.
const AT_ONCE: usize = 3;
/// Between two rounds over what could not be fetched.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Another node that sends nothing for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// For telling another node that it gave wrong bytes.
const DOUBT_TIMEOUT: Duration = Duration::from_secs(2);

impl Blobs {
    /// Fetches what this node lacks, looks after what it holds and clears away what nobody needs, for as long as it is
    /// polled.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(
            self.keep_complete(),
            self.keep_scrubbed(),
            self.keep_doubts_checked(),
            self.keep_looked_at(),
            self.keep_tidy(),
            self.keep_outside(),
        );
    }

    async fn keep_complete(&self) {
        let mut running = FuturesUnordered::new();
        let mut busy = BTreeSet::new();
        // Tried in vain: they wait for the next round.
        let mut later = BTreeSet::new();
        let mut pause = RETRY_FIRST;
        let mut next_round = Instant::now();
        loop {
            let wanted: Vec<_> = self.wanted().keys().copied().collect();
            for id in wanted {
                if busy.len() < AT_ONCE && !later.contains(&id) && busy.insert(id) {
                    running.push(async move { (id, self.fetch(id).await) });
                }
            }
            tokio::select! {
                Some((id, fetched)) = running.next() => {
                    busy.remove(&id);
                    if fetched {
                        pause = RETRY_FIRST;
                    } else {
                        if later.is_empty() {
                            next_round = Instant::now() + pause;
                        }
                        later.insert(id);
                    }
                }
                () = self.wake.notified() => {}
                () = sleep_until(next_round), if !later.is_empty() => {
                    later.clear();
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn fetch(&self, id: TrackId) -> bool {
        let Some(want) = self.still_wanted(&id) else { return true };
        let mut full = None;
        let mut gone = true;
        for node in self.others() {
            match self.pull(&node, id, want.bytes, |_| ()).await {
                Ok(()) => {
                    tracing::info!(song = %id, node = node.id, "fetched a song that this node lacked");
                    self.settle(id, want).await;
                    return true;
                }
                Err(error @ SongError::DiskFull { .. }) => (full, gone) = (Some(error), false),
                Err(error) => {
                    gone &= says_gone(&error) || node.is_replaced;
                    tracing::debug!(song = %id, node = node.id, %error, "could not fetch a song")
                }
            }
        }
        if want.damaged && self.tidied(id, self.store.put_back(id).await) {
            tracing::warn!(song = %id, "a copy that was read wrong before is right; it is used again");
            self.settle(id, want).await;
            return true;
        }
        if let Some(error) = full {
            if self.is_first_complaint(&id) {
                tracing::warn!(song = %id, %error, "a song that this node lacks was not fetched; trying on, and saying no more of it");
            }
            if want.damaged {
                self.make_room(id, want.bytes).await;
            }
            self.note_gone(&id, false);
            return false;
        }
        match self.take_outside(id, want.bytes).await {
            TakenOutside::Here => {
                self.settle(id, want).await;
                return true;
            }
            TakenOutside::Missing => {}
            TakenOutside::Unknown => gone = false,
        }
        self.note_gone(&id, gone);
        if self.is_first_complaint(&id) {
            tracing::warn!(song = %id, damaged = want.damaged, "no other node gave a good copy of this song yet; trying on, and saying no more of it");
        }
        false
    }

    /// Whether nothing was logged yet of a song that can't be had.
    fn is_first_complaint(&self, id: &TrackId) -> bool {
        let mut wanted = self.wanted();
        wanted.get_mut(id).is_some_and(Want::is_first_complaint)
    }

    fn others(&self) -> impl Iterator<Item = Neighbour> + use<> {
        let own = self.cluster.own_id();
        self.cluster.members().into_iter().filter(move |node| node.id != own)
    }

    /// Whether all said at this try that they have none.
    fn note_gone(&self, id: &TrackId, all_said_so: bool) {
        if let Some(want) = self.wanted().get_mut(id) {
            want.gone = want.gone.after(all_said_so, Instant::now());
        }
    }

    /// A damaged copy that was set aside may take the very room that the repair needs. It may be the only one, so it goes
    /// only once another node has given all the right bytes: they are checked as they come, and kept nowhere.
    async fn make_room(&self, id: TrackId, bytes: u64) {
        if !self.store.has_aside(&id) {
            return;
        }
        for node in self.others() {
            match self.gives(&node, id, bytes).await {
                Ok(true) => {
                    self.tidied(id, self.store.drop_aside(id).await);
                    tracing::warn!(song = %id, node = node.id, "removed a damaged copy to make room: another node has a good one");
                    return;
                }
                Ok(false) => self.tell_doubt(&node, id).await,
                Err(error) => {
                    tracing::debug!(song = %id, node = node.id, %error, "could not check another node's copy")
                }
            }
        }
    }

    /// Whether another node gives all the right bytes of a song.
    async fn gives(&self, node: &Neighbour, id: TrackId, bytes: u64) -> Result<bool, SongError> {
        let request = FetchRequest { id: id.to_wire(), offset: 0, length: 0 };
        let mut chunks = self.read_from(node, request).await?;
        let (mut hasher, mut came) = (blake3::Hasher::new(), 0);
        loop {
            let next = timeout(STALLED_AFTER, chunks.message()).await;
            let next = next.map_err(|_| SongError::Incomplete { held: came, bytes })?;
            let Some(chunk) = next.map_err(SongError::Relayed)? else { break };
            came += chunk.data.len() as u64;
            hasher.update(&chunk.data);
        }
        Ok(hasher.finalize().as_bytes() == &id.0)
    }

    /// What is wanted of a song, if anything: it may have been forgotten since, or be here.
    fn still_wanted(&self, id: &TrackId) -> Option<Want> {
        let want = self.wanted().remove(id)?;
        // Behind the removal: a commit that comes now wants it anew.
        let want = Want { bytes: self.cluster.blob(id)?, ..want };
        if self.store.held(id) == Some(want.bytes) {
            return None;
        }
        self.wanted().insert(*id, want);
        Some(want)
    }

    /// A wanted song is here.
    async fn settle(&self, id: TrackId, want: Want) {
        let removed = {
            let mut wanted = self.wanted();
            // It may have been found damaged again.
            let is_here = self.store.held(&id).is_some();
            if is_here { wanted.remove(&id) } else { None }
        };
        // Also if it was found damaged only while it was fetched.
        if want.damaged || removed.is_some_and(|now| now.damaged) {
            self.tally.repaired();
            self.tidied(id, self.store.drop_aside(id).await);
        }
    }

    fn tidied(&self, id: TrackId, done: io::Result<bool>) -> bool {
        done.unwrap_or_else(|error| {
            tracing::error!(song = %id, %error, "could not tidy up a damaged song");
            false
        })
    }

    /// Copies a song from a node, verifies it and makes it durable. `progress` hears how many bytes are here.
    pub(super) async fn pull(
        &self,
        from: &Neighbour,
        id: TrackId,
        bytes: u64,
        progress: impl FnMut(u64),
    ) -> Result<(), SongError> {
        let open = async |offset| {
            let request = FetchRequest { id: id.to_wire(), offset, length: 0 };
            let chunks = self.read_from(from, request).await?;
            Ok::<Chunks, SongError>(
                chunks.map_ok(|chunk| chunk.data).map_err(SongError::Relayed).boxed(),
            )
        };
        let pulled = self.take(id, bytes, open, STALLED_AFTER, progress).await;
        if matches!(pulled, Err(SongError::HashMismatch)) {
            self.tell_doubt(from, id).await;
        }
        pulled
    }

    /// As [`Blobs::pull`], from wherever `open` gets the bytes behind an offset: it is asked once, unless all are here.
    pub(super) async fn take(
        &self,
        id: TrackId,
        bytes: u64,
        open: impl AsyncFnOnce(u64) -> Result<Chunks, SongError>,
        patience: Duration,
        mut progress: impl FnMut(u64),
    ) -> Result<(), SongError> {
        let pen = self.store.pen(id, Via::Pull).await;
        if self.count_on(id).await? == Some(bytes) {
            return Ok(());
        }
        if pen.length() > bytes {
            pen.discard()?;
        }
        let mut held = pen.length();
        let mut chunks = match held < bytes {
            true => open(held).await?,
            false => stream::empty().boxed(),
        };
        let writer = pen.write_on(bytes, self.store.room.promise(bytes - held)?);
        while held < bytes {
            let Ok(Some(data)) = timeout(patience, chunks.next()).await else { break };
            let data = data?;
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
        let pen = self.blocking(move || pen.verify().map(|()| pen)).await?;
        pen.finish().await.map_err(|error| SongError::of_write(error, bytes))
    }

    /// Tells a node that it gave wrong bytes. If it can't be told, its own scrubbing finds them.
    async fn tell_doubt(&self, node: &Neighbour, id: TrackId) {
        tracing::warn!(song = %id, node = node.id, "another node gave wrong bytes for a song; it is told");
        let told = async {
            let request = signed(&*self.cluster, node.id, DoubtRequest { id: id.to_wire() })?;
            self.peers.to(node)?.doubt(request).await
        };
        if let Ok(Err(status)) = timeout(DOUBT_TIMEOUT, told).await {
            tracing::debug!(node = node.id, %status, "it could not be told");
        }
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
}

/// Whether another node answered that it has no such bytes.
fn says_gone(error: &SongError) -> bool {
    let SongError::Relayed(status) = error else { return false };
    status.metadata().get("jam-error").is_some_and(|code| code == "track_gone")
}
