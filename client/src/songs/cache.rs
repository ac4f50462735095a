//! Keeps the songs that are wanted on this machine: fetches their segments in the order in which they sound, at the quality that
//! the line carries, from any node.
//!
//! What is here plays on whatever happens to the cluster, so fetching early is what carries the music through an outage.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::FuturesUnordered;
use jam_media::Manifest;
use jam_proto::event::Entry;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1 as wire;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::disk::DiskCache;
use super::fetch::{FetchError, Fetcher};
use super::local::{LocalRendition, LocalSong};
use super::meter::Meter;
use super::plan::{Errand, Known, Wish, plan};
use super::quality::{Chooser, Offer, Quality};
use super::sound::{SegmentSound, Shelf};
use crate::audio::{SongSource, Sound};
use crate::connection::Backoff;
use crate::news::{News, Reporter};
use crate::nodes::Nodes;

const PAUSE_MAX: Duration = Duration::from_secs(3);
/// Segments that are on their way at once: enough that a long line has no pauses.
const AT_ONCE: usize = 3;
/// How often it is looked at what came while something is on its way.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What the nodes have of a song is asked for anew so often, where another quality is wished for.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Of a song's frames per second: so much has to be here for it to begin.
const BEGINS_WITH: u32 = 20;

/// The songs that are here, and the task that makes them so.
pub struct SongCache {
    pub(super) shelf: Shelf,
    fetcher: Fetcher,
    pub(super) reporter: Reporter,
    quality: Quality,
    nodes: Arc<Nodes>,
    pub(super) known: ArcSwap<BTreeMap<TrackId, Known>>,
    /// Which quality the line carries, and of which song it was asked.
    chooser: Mutex<Chooser>,
}

/// What an errand brought.
enum Brought {
    Manifests(Vec<wire::Rendition>),
    Segment,
    /// The manifest is an old one.
    Changed,
}

impl SongSource for SongCache {
    fn open(&self, entry: &Entry) -> Option<Result<Box<dyn Sound>, String>> {
        let known = self.known.load();
        let song = known.get(&entry.track)?.song.clone();
        Some(Ok(Box::new(SegmentSound::new(song, self.shelf.clone()))))
    }

    fn has(&self, track: &TrackId, from: u64, to: u64) -> bool {
        self.known.load().get(track).is_some_and(|known| known.song.covers(from, to))
    }

    fn here_until(&self, track: &TrackId, frame: u64) -> u64 {
        self.known.load().get(track).map_or(frame, |known| known.song.here_until(frame))
    }
}

impl SongCache {
    /// Segments in `disk`, fetched from `nodes`, at most at `quality`.
    pub fn new(
        disk: DiskCache,
        nodes: Arc<Nodes>,
        quality: Quality,
        reporter: Reporter,
    ) -> Arc<Self> {
        Arc::new(Self {
            shelf: Shelf { disk, lost: Arc::default() },
            fetcher: Fetcher::new(nodes.clone()),
            reporter,
            quality,
            nodes,
            known: ArcSwap::default(),
            chooser: Mutex::default(),
        })
    }

    /// Fetches what is wanted, the most urgent first, for ever.
    pub async fn run(self: Arc<Self>, wanted: watch::Receiver<Vec<Wish>>) {
        tokio::select! {
            () = self.keep_fetched(wanted) => {}
            () = self.keep_checked() => {}
        }
    }

    async fn keep_fetched(&self, mut wanted: watch::Receiver<Vec<Wish>>) {
        let mut running = FuturesUnordered::new();
        let mut handles: BTreeMap<Errand, AbortHandle> = BTreeMap::new();
        let mut meter = Meter::new(&self.fetcher);
        let mut asked_at: BTreeMap<TrackId, Instant> = BTreeMap::new();
        let mut told = BTreeSet::new();
        loop {
            let wishes = wanted.borrow_and_update().clone();
            self.keep_only(&wishes).await;
            asked_at.retain(|track, _| wishes.iter().any(|wish| wish.track == *track));
            told.retain(|track| wishes.iter().any(|wish| wish.track == *track));
            self.tell_ready(&wishes, &mut told);
            let mut errands = self.plan(&wishes);
            errands.extend(self.to_ask_again(&wishes, &asked_at));
            handles.retain(|errand, handle| {
                let goes_on = errands.contains(errand);
                if !goes_on {
                    handle.abort();
                }
                goes_on
            });
            if handles.is_empty() {
                meter.rest(&self.fetcher);
            }
            for errand in errands {
                if handles.len() >= AT_ONCE {
                    break;
                }
                if handles.contains_key(&errand) {
                    continue;
                }
                if let Errand::Manifest(track, _) = errand {
                    asked_at.insert(track, Instant::now());
                }
                let (task, handle) = abortable(self.run_errand(errand));
                handles.insert(errand, handle);
                running.push(async move { (errand, task.await) });
            }
            tokio::select! {
                Some((errand, done)) = running.next() => if let Ok(brought) = done {
                    handles.remove(&errand);
                    meter.look(&self.fetcher, &self.chooser);
                    self.take(errand, brought).await;
                },
                changed = wanted.changed() => if changed.is_err() {
                    return;
                },
                () = self.shelf.lost.notified() => {}
                () = sleep(LOOK_EVERY), if !handles.is_empty() => {
                    meter.look(&self.fetcher, &self.chooser);
                }
                () = sleep(ASK_AGAIN), if handles.is_empty() => {}
            }
        }
    }

    fn plan(&self, wishes: &[Wish]) -> Vec<Errand> {
        let known = self.known.load();
        let ahead_s = wishes.first().map_or(0.0, |wish| {
            let until = known.get(&wish.track).map_or(0, |one| one.song.here_until(wish.frame));
            let whole = if until >= wish.frames { 60.0 } else { 0.0 };
            until.saturating_sub(wish.frame) as f64 / f64::from(wish.rate.max(1)) + whole
        });
        let choose = |offers: &[Offer]| self.chooser().choose(offers, ahead_s).unwrap_or(0);
        plan(wishes, &known, choose, self.shelf.disk.bytes_max() / 2)
    }

    /// Songs of which the nodes may have more by now: renditions are made after a song is taken.
    fn to_ask_again(&self, wishes: &[Wish], asked_at: &BTreeMap<TrackId, Instant>) -> Vec<Errand> {
        let known = self.known.load();
        let best = wishes.iter().take(2).filter(|wish| {
            let Some(known) = known.get(&wish.track) else { return false };
            let bytes_per_s = known.offers.first().map_or(0, |offer| offer.bytes_per_s);
            let slow =
                self.chooser().bytes_per_s().is_some_and(|line| line < bytes_per_s as f64 * 2.0);
            known.offers.len() == 1 && (slow || self.quality != Quality::Original)
        });
        let due =
            |wish: &&Wish| asked_at.get(&wish.track).is_none_or(|at| at.elapsed() >= ASK_AGAIN);
        best.filter(due).map(|wish| Errand::Manifest(wish.track, 0)).collect()
    }

    /// What is not wanted any more may be evicted, so it is not promised either. What is new is looked for on the disk.
    async fn keep_only(&self, wishes: &[Wish]) {
        let known = self.known.load_full();
        let wanted = |track: &TrackId| wishes.iter().any(|wish| wish.track == *track);
        if known.keys().all(wanted) && wishes.iter().all(|wish| known.contains_key(&wish.track)) {
            return;
        }
        let mut next = BTreeMap::clone(&known);
        next.retain(|track, _| wanted(track));
        for wish in wishes {
            if !next.contains_key(&wish.track) {
                let song = Arc::new(LocalSong::new(wish.track, wish.frames, wish.rate));
                let kept = self.kept_manifests(wish.track).await;
                let offers = kept.into_iter().filter_map(|(kbps, wire)| {
                    add_manifest(&song, kbps, &wire).ok().map(|added| offer(&added))
                });
                let offers = self.quality.allowed(&offers.collect::<Vec<_>>());
                next.insert(wish.track, Known { song, offers });
            }
        }
        self.known.store(Arc::new(next));
    }

    async fn kept_manifests(&self, track: TrackId) -> Vec<(u32, Vec<u8>)> {
        let disk = self.shelf.disk.clone();
        let load = move || {
            let kept = |kbps| Some((kbps, disk.load_manifest(&track, kbps).ok()??));
            Ok([0, 320, 160, 96, 24].into_iter().filter_map(kept).collect())
        };
        self.on_disk(load).await.unwrap_or_default()
    }

    fn tell_ready(&self, wishes: &[Wish], told: &mut BTreeSet<TrackId>) {
        for wish in wishes {
            let enough = wish.frame + u64::from(wish.rate / BEGINS_WITH);
            if !told.contains(&wish.track) && self.has(&wish.track, wish.frame, enough) {
                told.insert(wish.track);
                self.reporter.tell(News::SongReady(wish.track));
            }
        }
    }

    /// Does it, however long that takes.
    async fn run_errand(&self, errand: Errand) -> Brought {
        let mut backoff = Backoff::default();
        let mut told = false;
        loop {
            let done = match errand {
                Errand::Manifest(track, kbps) => {
                    self.fetcher.manifests(track, kbps).await.map(Brought::Manifests)
                }
                Errand::Segment(track, kbps, index) => self.segment(track, kbps, index).await,
            };
            match done {
                Ok(brought) => return brought,
                Err(FetchError::Changed) => return Brought::Changed,
                Err(FetchError::Lasting(why)) if !told => {
                    told = true;
                    self.reporter.tell(News::Trouble(why));
                }
                Err(FetchError::Lasting(_) | FetchError::Passing) => {}
            }
            sleep(backoff.next_pause(PAUSE_MAX)).await;
        }
    }

    /// Gets a segment ready, from the disk or from a node.
    async fn segment(
        &self,
        track: TrackId,
        kbps: u32,
        index: usize,
    ) -> Result<Brought, FetchError> {
        let known = self.known.load().get(&track).map(|known| known.song.clone());
        let Some(rendition) = known.and_then(|song| song.rendition(kbps)) else {
            return Err(FetchError::Changed);
        };
        let hash = rendition.manifest.segments()[index].hash;
        let disk = self.shelf.disk.clone();
        if let Ok(Some(_)) = self.on_disk(move || disk.load(&hash)).await {
            rendition.set_ready(index, true);
            return Ok(Brought::Segment);
        }
        let bytes = self.fetcher.segment(track, &rendition, index).await?;
        let (disk, keep) = (self.shelf.disk.clone(), self.kept());
        let stored = self.on_disk(move || {
            let stored = disk.store(&hash, &bytes);
            Ok((stored.and_then(|()| disk.tidy(&keep)), bytes))
        });
        match stored.await {
            Ok((Ok(()), _)) => rendition.set_ready(index, true),
            Ok((Err(error), bytes)) => {
                rendition.hold(index, bytes);
                self.reporter.tell(News::Trouble(format!(
                    "can't write the song cache: {error}; free some space or pass --cache-dir"
                )));
            }
            Err(_) => return Err(FetchError::Passing),
        }
        Ok(Brought::Segment)
    }

    /// Segments that must not be evicted.
    fn kept(&self) -> BTreeSet<[u8; 32]> {
        let known = self.known.load();
        let all = known.values().flat_map(|known| known.song.renditions().to_vec());
        all.flat_map(|rendition| {
            let ready = rendition.manifest.segments().iter().enumerate();
            let ready = ready.filter(|(index, _)| rendition.is_ready(*index));
            ready.map(|(_, segment)| segment.hash).collect::<Vec<_>>()
        })
        .collect()
    }

    /// What an errand brought is known from here on.
    async fn take(&self, errand: Errand, brought: Brought) {
        match (errand, brought) {
            (Errand::Manifest(track, _), Brought::Manifests(renditions)) => {
                let Some(known) = self.known.load().get(&track).cloned() else { return };
                if let Err(why) = self.take_manifests(&known, renditions).await {
                    tracing::warn!(%track, "a node gave a strange manifest: {why}");
                    // Whatever it is, it takes a moment until it is another one.
                    sleep(LOOK_EVERY).await;
                }
            }
            (Errand::Manifest(track, kbps) | Errand::Segment(track, kbps, _), Brought::Changed) => {
                if let Some(known) = self.known.load().get(&track) {
                    known.song.remove(kbps);
                }
            }
            _ => {}
        }
    }

    async fn take_manifests(
        &self,
        known: &Known,
        renditions: Vec<wire::Rendition>,
    ) -> Result<(), String> {
        let (song, track) = (known.song.clone(), known.song.track);
        let seconds = (song.frames / u64::from(song.rate.max(1))).max(1);
        let of = |one: &wire::Rendition| Offer { kbps: one.kbps, bytes_per_s: one.bytes / seconds };
        let offers = self.quality.allowed(&renditions.iter().map(of).collect::<Vec<_>>());
        for rendition in renditions {
            let (kbps, wire) = (rendition.kbps, rendition.manifest);
            let unchanged = song.rendition(kbps).is_some_and(|one| one.manifest.encode() == *wire);
            if wire.is_empty() || unchanged {
                continue;
            }
            add_manifest(&song, kbps, &wire)?;
            let disk = self.shelf.disk.clone();
            // Without it the next process asks a node.
            let _ = self.on_disk(move || disk.store_manifest(&track, kbps, &wire)).await;
        }
        self.known.rcu(|all| {
            let mut all = BTreeMap::clone(all);
            if let Some(known) = all.get_mut(&track) {
                known.offers.clone_from(&offers);
            }
            all
        });
        Ok(())
    }

    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.nodes.dialer().world().try_blocking(work).await
    }

    fn chooser(&self) -> std::sync::MutexGuard<'_, Chooser> {
        self.chooser.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add_manifest(song: &LocalSong, kbps: u32, wire: &[u8]) -> Result<Arc<LocalRendition>, String> {
    let manifest = Manifest::decode(wire).map_err(|error| error.to_string())?;
    let (rate, frames) = (manifest.sample_rate(), manifest.frames());
    let due = match kbps {
        0 => song.frames,
        _ => {
            let frames = u128::from(song.frames) * u128::from(rate);
            u64::try_from(frames.div_ceil(u128::from(song.rate))).unwrap_or(u64::MAX)
        }
    };
    if frames != due || (kbps == 0 && rate != song.rate) {
        return Err(format!("it has {frames} frames at {rate} a second, and the song {due}"));
    }
    Ok(song.add(kbps, manifest))
}

fn offer(rendition: &LocalRendition) -> Offer {
    let bytes = rendition.manifest.segments().iter().map(|segment| u64::from(segment.bytes));
    let seconds = rendition.manifest.frames() / u64::from(rendition.manifest.sample_rate());
    Offer { kbps: rendition.kbps, bytes_per_s: bytes.sum::<u64>() / seconds.max(1) }
}
