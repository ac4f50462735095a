//! Fetches songs ahead of the music: the current one, the next, then more, each whole and checked, from any node.
//!
//! What is here plays on whatever happens to the cluster, so fetching early is what carries the music through an outage.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1 as wire;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::disk::{DiskCache, Part};
use crate::audio::SongSource;
use crate::connection::{Backoff, Door};
use crate::news::{News, Reporter};
use crate::nodes::Nodes;
use crate::refusal::Refusal;

/// A node that sends nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// For telling a node that it gave wrong bytes: the song is waited for.
const DOUBT_TIMEOUT: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// The current song and the next are fetched whatever they take; more only while they leave half the cache free.
const ALWAYS_FETCHED: usize = 2;

/// One of the songs that are ready is read again so often: what was right when it came may go bad on the disk.
const REREAD_EVERY: Duration = Duration::from_secs(10);

/// The songs that are ready to be played, and the task that makes them so.
pub struct SongCache {
    disk: DiskCache,
    ready: ArcSwap<BTreeMap<TrackId, PathBuf>>,
    nodes: Arc<Nodes>,
    reporter: Reporter,
    went_bad: Notify,
}

impl SongSource for SongCache {
    fn path(&self, track: &TrackId) -> Option<PathBuf> {
        self.ready.load().get(track).cloned()
    }
}

impl SongCache {
    /// Songs in `disk`, fetched from `nodes`.
    pub fn new(disk: DiskCache, nodes: Arc<Nodes>, reporter: Reporter) -> Arc<Self> {
        Arc::new(Self { disk, ready: ArcSwap::default(), nodes, reporter, went_bad: Notify::new() })
    }

    /// Fetches what is wanted, the most urgent first, for ever. A change of mind interrupts a fetch; what has come
    /// by then is kept.
    pub async fn run(self: Arc<Self>, mut wanted: watch::Receiver<Vec<TrackId>>) {
        tokio::select! {
            () = self.keep_fetched(&mut wanted) => {}
            () = self.keep_checked() => {}
        }
    }

    /// Reads what is ready in turn. What has gone bad is fetched again.
    async fn keep_checked(&self) {
        let mut last = None;
        loop {
            sleep(REREAD_EVERY).await;
            let ready = self.ready.load();
            let behind = |last| ready.range((Bound::Excluded(last), Bound::Unbounded)).next();
            let Some((&id, _)) = last.and_then(behind).or_else(|| ready.first_key_value()) else {
                continue;
            };
            last = Some(id);
            if let Ok(None) = self.on_disk(move |disk| disk.verified(&id)).await {
                self.reporter.tell(News::Trouble(
                    "a song in the cache went bad on the disk; it is fetched again".to_owned(),
                ));
                self.unready(id);
            }
        }
    }

    async fn keep_fetched(&self, wanted: &mut watch::Receiver<Vec<TrackId>>) {
        loop {
            let now = wanted.borrow_and_update().clone();
            self.forget_others(&now);
            let Some(next) = self.next_missing(&now) else {
                tokio::select! {
                    changed = wanted.changed() => if changed.is_err() {
                        return;
                    },
                    () = self.went_bad.notified() => {}
                }
                continue;
            };
            let mind_changed = async {
                loop {
                    if wanted.changed().await.is_err() {
                        return;
                    }
                    if self.next_missing(&wanted.borrow_and_update()) != Some(next) {
                        return;
                    }
                }
            };
            tokio::select! {
                () = mind_changed => {}
                () = self.bring(next, &now) => {}
            }
        }
    }

    fn next_missing(&self, wanted: &[TrackId]) -> Option<TrackId> {
        let ready = self.ready.load();
        let place = wanted.iter().position(|id| !ready.contains_key(id))?;
        let fits = place < ALWAYS_FETCHED
            || self.disk.bytes_of(&wanted[..place]) < self.disk.bytes_max() / 2;
        fits.then_some(wanted[place])
    }

    /// What is not wanted any more may be evicted, so it is not promised either.
    fn forget_others(&self, wanted: &[TrackId]) {
        let ready = self.ready.load();
        if ready.keys().any(|id| !wanted.contains(id)) {
            let kept = ready.iter().filter(|(id, _)| wanted.contains(id));
            self.ready.store(Arc::new(kept.map(|(id, path)| (*id, path.clone())).collect()));
        }
    }

    /// Gets one song ready, from the disk or from a node, however long that takes.
    async fn bring(&self, id: TrackId, wanted: &[TrackId]) {
        if let Ok(Some(path)) = self.on_disk(move |disk| disk.verified(&id)).await {
            self.add_ready(id, path);
            return;
        }
        let mut backoff = Backoff::default();
        let mut told = false;
        loop {
            match self.fetch(id).await {
                Ok(path) => {
                    self.add_ready(id, path);
                    let keep = wanted.to_vec();
                    if let Err(error) = self.on_disk(move |disk| disk.evict(&keep)).await {
                        self.reporter
                            .tell(News::Trouble(format!("can't tidy the song cache: {error}")));
                    }
                    return;
                }
                Err(FetchError::Passing) => {}
                Err(FetchError::Lasting(why)) if !told => {
                    told = true;
                    self.reporter.tell(News::Trouble(why));
                }
                Err(FetchError::Lasting(_)) => {}
            }
            sleep(backoff.next_pause(PAUSE_MAX)).await;
        }
    }

    /// From another node each time.
    async fn fetch(&self, id: TrackId) -> Result<PathBuf, FetchError> {
        let door = self.nodes.dial_next().await.map_err(|_| FetchError::Passing)?;
        let mut part = self.on_disk(move |disk| disk.part(&id)).await.map_err(local)?;
        if !part.is_whole() {
            Self::fill(&door, id, &mut part).await?;
        }
        let whole = self.on_disk(move |_| part.finish()).await.map_err(local)?;
        if whole.is_none() {
            // The bytes were not the song's; they are dropped, and the node that gave the last of them is told.
            let doubt = wire::DoubtRequest { id: id.to_wire() };
            let told = timeout(DOUBT_TIMEOUT, async { door.songs().doubt(doubt).await }).await;
            tracing::warn!(%id, heard = matches!(told, Ok(Ok(_))), "a node gave wrong bytes for a song");
        }
        whole.ok_or(FetchError::Passing)
    }

    async fn fill(door: &Door, id: TrackId, part: &mut Part) -> Result<(), FetchError> {
        let request = wire::FetchRequest { id: id.to_wire(), offset: part.bytes(), length: 0 };
        let asked = timeout(SILENCE_MAX, async { door.songs().fetch(request).await });
        let mut chunks = within(asked.await)?.into_inner();
        while let Some(chunk) = within(timeout(SILENCE_MAX, chunks.message()).await)? {
            // In line: it goes to the page cache.
            part.append(&chunk.data).map_err(local)?;
        }
        Ok(())
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DiskCache) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let disk = self.disk.clone();
        self.nodes.dialer().world().try_blocking(move || work(&disk)).await
    }

    fn unready(&self, id: TrackId) {
        let mut ready = BTreeMap::clone(&self.ready.load());
        ready.remove(&id);
        self.ready.store(Arc::new(ready));
        self.went_bad.notify_one();
    }

    fn add_ready(&self, id: TrackId, path: PathBuf) {
        let mut ready = BTreeMap::clone(&self.ready.load());
        ready.insert(id, path);
        self.ready.store(Arc::new(ready));
        self.reporter.tell(News::SongReady(id));
    }
}

enum FetchError {
    /// Another node or another moment will do.
    Passing,
    /// Someone should hear of it.
    Lasting(String),
}

fn local(error: io::Error) -> FetchError {
    FetchError::Lasting(format!(
        "can't write the song cache: {error}; free some space or pass --cache-dir"
    ))
}

fn within<T>(
    answer: Result<Result<T, tonic::Status>, tokio::time::error::Elapsed>,
) -> Result<T, FetchError> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(status)) => Err(match Refusal::of(&status) {
            Refusal::Final { message, .. } => {
                FetchError::Lasting(format!("a song can't be fetched: {message}"))
            }
            _ => FetchError::Passing,
        }),
        Err(_) => Err(FetchError::Passing),
    }
}
