//! A song's way in: received, verified, inspected, durable here and at a majority, committed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jam_proto::ids::TrackId;
use jam_proto::limits::{CHUNK_BYTES_MAX, SONG_BYTES_MAX, TAG_BYTES_MAX};
use jam_proto::wire::v1::{FetchRequest, Track};
use jam_world::Open;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tracing::field::display;

use super::pen::Pen;
use super::serve::ChunkStream;
use super::{Blobs, Found, Origin, SongError, Via};
use crate::refusal::{TOO_FEW_COPIES, code_of};
use crate::{media, request, segments};

/// In so much time that it was waited for, a client sends at least [`SLOWEST_BYTES`], or is dropped; what it sent stays.
const SLOWEST_SPAN: Duration = Duration::from_secs(20);
/// 8 KiB/s: a song takes an hour so, and a slot meanwhile.
const SLOWEST_BYTES: usize = 160 << 10;
/// Waiting for another upload of the same song.
const TURN_WAIT: Duration = Duration::from_secs(60);
/// How often a song is proposed before its client is told that too few nodes hold it.
const COMMIT_TRIES: u32 = 4;
/// Waiting for this node to apply a commit that the client has seen elsewhere.
const APPLY_WAIT: Duration = Duration::from_secs(2);

/// How an upload begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its hash.
    pub id: TrackId,
    /// Its length.
    pub bytes: u64,
    /// Where the bytes that follow begin.
    pub offset: u64,
    /// The title, if the file has none.
    pub file_name: String,
    /// Where they come from.
    pub origin: Origin,
}

/// A song that is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// What it is.
    pub track: Track,
    /// Frames that are missing at its end, if it was inspected for this upload.
    pub missing_frames: u64,
}

impl Received {
    fn check(&self) -> Result<(), SongError> {
        if self.bytes > SONG_BYTES_MAX {
            return Err(SongError::TooLarge(self.bytes));
        }
        if self.file_name.len() > TAG_BYTES_MAX {
            return Err(SongError::NameTooLong);
        }
        if self.offset > self.bytes {
            return Err(SongError::Invalid(format!(
                "offset {} is past the file's end",
                self.offset
            )));
        }
        Ok(())
    }
}

/// How quickly a client sends.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    came: usize,
}

impl Pace {
    /// The next chunk, if it comes in time.
    async fn next<E>(
        &mut self,
        data: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    ) -> Option<Result<Bytes, E>> {
        if self.waited >= SLOWEST_SPAN {
            if self.came < SLOWEST_BYTES {
                return None;
            }
            *self = Self::default();
        }
        let began = Instant::now();
        let next = timeout(SLOWEST_SPAN, data.next()).await.ok()??;
        self.waited += began.elapsed();
        self.came += next.as_ref().map_or(0, Bytes::len);
        Some(next)
    }
}

impl Blobs {
    /// The committed track, or else how many of its bytes are here.
    pub fn have(&self, id: &TrackId) -> Result<Track, u64> {
        let held = || self.store.held(id).unwrap_or_else(|| self.store.unfinished(id, Via::Upload));
        self.kept(id).ok_or_else(held)
    }

    /// The committed track, unless its bytes are lost: then it is taken like a new one.
    fn kept(&self, id: &TrackId) -> Option<Track> {
        self.cluster.track(id).filter(|_| !self.cluster.is_lost(id))
    }

    /// Takes a song and returns once it is committed. Whatever goes wrong, nobody sees any of it, and what came
    /// stays for the next try.
    pub async fn upload(
        self: &Arc<Self>,
        start: Received,
        data: impl Stream<Item = Result<Bytes, Status>> + Send,
    ) -> Result<Added, SongError> {
        let (began, id, bytes) = (Instant::now(), start.id, start.bytes);
        let uploaded = self.take_upload(start, data).await;
        let (request, took_ms) =
            (request::current().map(display), began.elapsed().as_millis() as u64);
        match &uploaded {
            Ok(_) => tracing::info!(request, song = %id, bytes, took_ms, "took a song"),
            Err(error) => {
                let code = error.code();
                tracing::info!(request, song = %id, bytes, code, took_ms, "did not take a song");
            }
        }
        uploaded
    }

    async fn take_upload(
        self: &Arc<Self>,
        start: Received,
        data: impl Stream<Item = Result<Bytes, Status>> + Send,
    ) -> Result<Added, SongError> {
        start.check()?;
        if let Some(track) = self.kept(&start.id) {
            return Ok(Added { track, missing_frames: 0 });
        }
        let (mut track, found) = match self.inspect_held(&start).await? {
            Some(inspected) => inspected,
            None => self.receive(&start, data).await?,
        };
        let missing_frames = found.missing_frames;
        track.derived = self.keep_found(found).await?;
        let track = self.commit(start.id, track).await?;
        Ok(Added { track, missing_frames })
    }

    /// Copies a song to a majority and registers it. If the leader counts fewer copies, since the members have changed
    /// meanwhile, this node catches up with the log and copies it further.
    async fn commit(self: &Arc<Self>, id: TrackId, track: Track) -> Result<Track, SongError> {
        let mut tries = COMMIT_TRIES;
        loop {
            // The right to write is given back by now: two nodes that take the same song at once
            // copy it to each other.
            let holders = self.copy_to_majority(id, track.bytes).await?;
            self.spread(&track.derived).await?;
            tries -= 1;
            match self.cluster.register(track.clone(), holders).await {
                Err(status) if tries > 0 && code_of(&status) == Some(TOO_FEW_COPIES) => {
                    tracing::info!(song = %id, reason = status.message(), "copying a song further");
                    self.cluster.catch_up().await.map_err(SongError::Relayed)?;
                }
                registered => return registered.map_err(SongError::Relayed),
            }
        }
    }

    async fn receive(
        &self,
        start: &Received,
        data: impl Stream<Item = Result<Bytes, Status>> + Send,
    ) -> Result<(Track, Found), SongError> {
        let turn = async {
            let permit = self.receiving.take(start.origin).await;
            (permit, self.store.pen(start.id, Via::Upload).await)
        };
        let (_permit, pen) = timeout(TURN_WAIT, turn).await.map_err(|_| SongError::Busy)?;
        if let Some(inspected) = self.inspect_held(start).await? {
            return Ok(inspected);
        }
        let pen = self.write(start, pen, data).await?;
        let (id, bytes) = (start.id, start.bytes);
        let start = start.clone();
        let permit = self.inspecting.acquire().await.map_err(|_| SongError::Busy)?;
        let began = Instant::now();
        let (world, shelf) = (self.world.clone(), self.shelf.clone());
        let done = self
            .heavy(move || {
                pen.verify()?;
                let file = world.disk.open(&pen.path(), Open::Read)?;
                let taken = media::ingest(file.clone(), start.id, bytes, &start.file_name)
                    .map_err(SongError::from)
                    .and_then(|(track, found)| {
                        Ok((segments::cut_new(&shelf, file, &track)?, track, found))
                    });
                if let Err(SongError::Unsupported(_)) = &taken {
                    // Sent again it would be refused again.
                    pen.discard()?;
                }
                let (draft, track, found) = taken?;
                Ok((pen, draft, (track, found)))
            })
            .await;
        drop(permit);
        let (pen, draft, inspected) = done?;
        let (request, took_ms) =
            (request::current().map(display), began.elapsed().as_millis() as u64);
        tracing::info!(request, song = %id, bytes, took_ms, "checked and decoded a song");
        pen.finish().await.map_err(|error| SongError::of_write(error, bytes))?;
        let (shelf, original) = (self.shelf.clone(), segments::Rendition { track: id, kbps: 0 });
        if let Some(draft) = draft
            && let Err(error) =
                self.world.try_blocking(move || shelf.take_in(original, draft)).await
        {
            tracing::warn!(song = %id, %error, "a new song's segments were not kept; they are cut again when they are asked for");
        }
        Ok(inspected)
    }

    /// Appends what comes, leaving out what is here already.
    async fn write(
        &self,
        start: &Received,
        pen: Pen,
        data: impl Stream<Item = Result<Bytes, Status>> + Send,
    ) -> Result<Pen, SongError> {
        let bytes = start.bytes;
        if pen.length() > bytes {
            pen.discard()?;
        }
        let mut held = pen.length();
        if start.offset > held {
            return Err(SongError::WrongOffset { held, offset: start.offset });
        }
        let (store, id, origin) = (self.store.clone(), start.id, start.origin);
        let make_way = move || store.make_way(id, origin, bytes - held);
        let mut at = start.offset;
        let writer = pen.write_on(bytes, self.blocking(make_way).await?);
        let mut data = std::pin::pin!(data);
        let mut pace = Pace::default();
        while at < bytes {
            let Some(Ok(chunk)) = pace.next(&mut data).await else { break };
            if chunk.len() > CHUNK_BYTES_MAX {
                return Err(SongError::Invalid(format!(
                    "a chunk may have {CHUNK_BYTES_MAX} bytes"
                )));
            }
            let end = at + chunk.len() as u64;
            if end > bytes {
                return Err(SongError::Invalid(format!(
                    "more than the promised {bytes} bytes came"
                )));
            }
            let known =
                usize::try_from(held.saturating_sub(at)).unwrap_or(usize::MAX).min(chunk.len());
            let fresh = chunk.slice(known..);
            held += fresh.len() as u64;
            at = end;
            if !writer.write(fresh).await {
                break;
            }
        }
        let pen = writer.close().await?;
        if held != bytes {
            return Err(SongError::Incomplete { held, bytes });
        }
        Ok(pen)
    }

    /// For bytes that came before, and were not committed then, or were forgotten since.
    async fn inspect_held(&self, start: &Received) -> Result<Option<(Track, Found)>, SongError> {
        if self.store.held(&start.id).is_none() {
            return Ok(None);
        }
        let _permit = self.inspecting.acquire().await.map_err(|_| SongError::Busy)?;
        let Some(bytes) = self.count_on(start.id).await? else { return Ok(None) };
        if bytes != start.bytes {
            return Err(SongError::Invalid(format!("the song with this hash has {bytes} bytes")));
        }
        let start = start.clone();
        let file = self.world.disk.open(&self.store.place(&start.id), Open::Read)?;
        let inspect = move || Ok(media::ingest(file, start.id, bytes, &start.file_name)?);
        self.heavy(inspect).await.map(Some)
    }

    /// The bytes of a committed song, from here or, if they are not here yet, straight from a node that has
    /// them. `length` 0: to the end.
    pub async fn read(self: &Arc<Self>, request: &FetchRequest) -> Result<ChunkStream, SongError> {
        let id = TrackId::from_wire(&request.id)?;
        let track = self.committed(&id).await?;
        if let Some(song) = self.song(&id).await {
            return song.chunks(request.offset, request.length);
        }
        self.want(&id, track.bytes);
        let own = self.cluster.own_id();
        for node in self.cluster.members().into_iter().filter(|node| node.id != own) {
            if let Ok(chunks) = self.read_from(&node, request.clone()).await {
                return Ok(Box::pin(chunks));
            }
        }
        Err(SongError::Unreachable(id))
    }

    /// The track, also if this node is a moment behind.
    pub(crate) async fn committed(&self, id: &TrackId) -> Result<Track, SongError> {
        let applied = async {
            loop {
                let applied = self.applied.notified();
                tokio::pin!(applied);
                // Before the look, or a commit between both would be missed.
                applied.as_mut().enable();
                if let Some(track) = self.cluster.track(id) {
                    return track;
                }
                applied.await;
            }
        };
        timeout(APPLY_WAIT, applied).await.map_err(|_| SongError::Gone(*id))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::time::sleep;

    use super::*;

    /// Chunks of so many bytes, one in so much time.
    async fn taken(bytes: usize, every: Duration) -> Duration {
        let began = Instant::now();
        let mut data = Box::pin(stream::unfold((), |()| async {
            sleep(every).await;
            Some((Ok::<_, ()>(Bytes::from(vec![0; bytes])), ()))
        }));
        let mut pace = Pace::default();
        while pace.next(&mut data).await.is_some() && began.elapsed() < 10 * SLOWEST_SPAN {}
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_is_dropped_and_a_slow_line_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(taken(1, second).await, SLOWEST_SPAN);
        assert_eq!(taken(1, 3600 * second).await, SLOWEST_SPAN);
        assert!(taken(10 << 10, second).await >= 10 * SLOWEST_SPAN);
    }
}
