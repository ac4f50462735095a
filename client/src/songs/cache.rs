//! Keeps the songs that are wanted on this machine: fetches their segments in the order in which they sound, at the quality that
//! the line carries, from any node.
//!
//! What is here plays on whatever happens to the cluster, so fetching early is what carries the music through an outage.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::FuturesUnordered;
use jam_proto::event;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1 as wire;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::disk::DiskCache;
use super::fetch::{FetchError, Fetcher};
use super::later::Later;
use super::local::{LocalSongs, rank};
use super::meter::Meter;
use super::plan::{Errand, Known, Wish, plan};
use super::quality::{Chooser, Quality};
use super::sound::{SegmentSound, Shelf};
use crate::audio::{SongSource, Sound};
use crate::news::{News, Reporter};
use crate::nodes::Nodes;

/// Segments that are on their way at once: enough that a long line has no pauses.
const AT_ONCE: usize = 3;
/// How often it is looked at what came while something is on its way.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What the nodes have of a song is asked for anew so often, where another quality is wished for.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(10);
/// While less is ahead than this, only what sounds next is fetched, and nothing better than the line carries: seconds.
const THIN_S: f64 = 3.0;
/// While more is ahead than this, the line gets a rest after each segment, half as long as that took: seconds.
const CALM_S: f64 = 10.0;
const REST_MAX: Duration = Duration::from_secs(1);
/// A line that nothing came over for so long carries nothing.
const SILENT_AFTER: Duration = Duration::from_secs(1);
const REST_MIN: Duration = Duration::from_millis(20);
/// Of a song's frames per second: so much has to be here for it to begin.
const BEGINS_WITH: u32 = 20;

/// The songs that are here, and the task that makes them so.
pub struct SongCache {
    pub(super) shelf: Shelf,
    fetcher: Fetcher,
    pub(super) reporter: Reporter,
    pub(super) quality: Quality,
    nodes: Arc<Nodes>,
    pub(super) known: ArcSwap<BTreeMap<TrackId, Known>>,
    /// Which quality the line carries, and of which song it was asked.
    chooser: Mutex<Chooser>,
    /// It was told that segments can't be written. They are kept in memory then, and once is enough.
    pub(super) told_unwritable: AtomicBool,
}

/// What an errand brought.
enum Brought {
    Manifests(Vec<wire::Rendition>),
    Segment,
}

/// The quality at which each song is fetched for now.
type Choices = BTreeMap<TrackId, u32>;

impl SongSource for SongCache {
    fn open(&self, entry: &event::Entry) -> Option<Result<Box<dyn Sound>, String>> {
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
            told_unwritable: AtomicBool::new(false),
        })
    }

    /// What shows the cluster that this listener has fetched sound; empty: it has not.
    pub fn receipt(&self) -> Vec<u8> {
        self.fetcher.receipt()
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
        let (mut songs, mut told) = (LocalSongs::default(), BTreeSet::new());
        let mut later = Later::default();
        let mut rest_until = Instant::now();
        let (mut received, mut heard_at) = (self.fetcher.received(), Instant::now());
        loop {
            let wishes = wanted.borrow_and_update().clone();
            if !handles.is_empty() {
                meter.look(&self.fetcher, &self.chooser, false);
            }
            self.keep_only(&wishes, &mut songs).await;
            let is_wanted = |track: TrackId| wishes.iter().any(|wish| wish.track == track);
            asked_at.retain(|track, _| is_wanted(*track));
            told.retain(|track| is_wanted(*track));
            later.retain(|errand| is_wanted(errand.track()));
            self.tell_ready(&wishes, &mut told);
            let ahead_s = self.ahead_s(&wishes);
            // Once, so that what is called off is not planned again in the same turn.
            let choices = self.choose(&wishes, ahead_s);
            handles.retain(|errand, handle| {
                let goes_on = is_wanted(errand.track()) && self.goes_on(*errand, &choices, ahead_s);
                if !goes_on {
                    handle.abort();
                }
                goes_on
            });
            let now = Instant::now();
            let passed = handles.keys().copied().chain(later.lasting(now)).collect();
            let mut errands = self.plan(&wishes, &choices, &passed);
            errands.extend(self.to_ask_again(&wishes, &asked_at));
            errands.retain(|errand| !later.waits(*errand, now));
            // A line that nobody knows yet, or that is poor, is not filled with several at once; and what else it carries,
            // such as the leader's time, gets its turn before what is not urgent.
            // One that carries nothing keeps nobody from what is on the disk.
            if self.fetcher.received() != received {
                (received, heard_at) = (self.fetcher.received(), Instant::now());
            }
            let carries = heard_at.elapsed() < SILENT_AFTER;
            let at_once = if self.chooser().is_poor() && carries { 1 } else { AT_ONCE };
            let rests = ahead_s > CALM_S && Instant::now() < rest_until;
            // What is due does not wait for what is not.
            if ahead_s < THIN_S
                && handles.len() >= at_once
                && errands.first().is_some_and(|errand| self.is_due(*errand, &wishes))
                && let Some(other) =
                    handles.keys().find(|one| !self.is_due(**one, &wishes)).copied()
                && let Some(handle) = handles.remove(&other)
            {
                handle.abort();
            }
            for errand in errands {
                if handles.len() >= at_once || rests {
                    break;
                }
                if handles.contains_key(&errand) {
                    continue;
                }
                if let Errand::Manifest(track, _) = errand {
                    asked_at.insert(track, Instant::now());
                }
                if handles.is_empty() {
                    meter.rest(&self.fetcher);
                }
                let (task, handle) = abortable(self.run_errand(errand));
                handles.insert(errand, handle);
                let began = Instant::now();
                running.push(async move { (errand, began, task.await) });
            }
            tokio::select! {
                Some((errand, began, done)) = running.next() => if let Ok(brought) = done {
                    handles.remove(&errand);
                    meter.look(&self.fetcher, &self.chooser, true);
                    let rest = (began.elapsed() / 2).min(REST_MAX);
                    rest_until = Instant::now() + if rest < REST_MIN { Duration::ZERO } else { rest };
                    match brought {
                        Ok(brought) => {
                            later.done(errand);
                            self.take(errand, brought, &mut later).await;
                        }
                        Err(error) => self.failed(errand, error, &mut later),
                    }
                },
                changed = wanted.changed() => if changed.is_err() {
                    return;
                },
                () = self.shelf.lost.notified() => {}
                () = sleep(LOOK_EVERY), if !handles.is_empty() => {}
                // Timers may be early by a little: then it is over all the same.
                () = sleep_until(rest_until), if rests => rest_until = Instant::now(),
                () = sleep_until(later.next(now).unwrap_or(now + ASK_AGAIN)) => {}
            }
        }
    }

    /// Seconds of sound that are here from where it plays on; a whole song counts as a minute more.
    fn ahead_s(&self, wishes: &[Wish]) -> f64 {
        let known = self.known.load();
        wishes.first().map_or(0.0, |wish| {
            let until = known.get(&wish.track).map_or(0, |one| one.song.here_until(wish.frame));
            let whole = if until >= wish.frames { 60.0 } else { 0.0 };
            until.saturating_sub(wish.frame) as f64 / f64::from(wish.rate.max(1)) + whole
        })
    }

    /// Whether what is on its way is still of use. While there is time, what was begun is brought to its end, also if another
    /// quality would be chosen now.
    fn goes_on(&self, errand: Errand, choices: &Choices, ahead_s: f64) -> bool {
        let Errand::Segment(track, kbps, index) = errand else { return true };
        let known = self.known.load();
        let Some(known) = known.get(&track) else { return false };
        let Some(rendition) = known.song.rendition(kbps) else { return false };
        let bytes = f64::from(rendition.manifest.segments()[index].bytes);
        let in_time = self.chooser().bytes_per_s().is_none_or(|line| bytes / line < ahead_s);
        in_time || choices.get(&track).is_none_or(|now| rank(kbps) <= rank(*now))
    }

    /// The quality of each song; staying with one is about the song that plays.
    fn choose(&self, wishes: &[Wish], ahead_s: f64) -> Choices {
        let known = self.known.load();
        let mut chooser = self.chooser();
        let mut choices = Choices::new();
        for (place, wish) in wishes.iter().enumerate() {
            let offers = known.get(&wish.track).map_or(&[][..], |known| &known.offers);
            let kbps = match place {
                0 => chooser.choose(offers, ahead_s),
                _ => chooser.fitting(offers, ahead_s),
            };
            choices.extend(kbps.map(|kbps| (wish.track, kbps)));
        }
        choices
    }

    /// Whether it is what sounds now, or in a moment.
    fn is_due(&self, errand: Errand, wishes: &[Wish]) -> bool {
        let Some(first) = wishes.first().filter(|first| first.track == errand.track()) else {
            return false;
        };
        let Errand::Segment(track, kbps, index) = errand else { return true };
        let known = self.known.load();
        let rendition = known.get(&track).and_then(|known| known.song.rendition(kbps));
        rendition.is_some_and(|rendition| {
            let (start, end) = rendition.span(index);
            end > first.frame && start < first.frame + THIN_S as u64 * u64::from(first.rate)
        })
    }

    fn plan(&self, wishes: &[Wish], choices: &Choices, running: &BTreeSet<Errand>) -> Vec<Errand> {
        let known = self.known.load();
        let kbps = |track: &TrackId| choices.get(track).copied().unwrap_or(0);
        plan(wishes, &known, running, kbps, self.shelf.disk.bytes_max() / 2)
    }

    /// What is not wanted any more may be evicted, so it is not promised either. What is new is looked for on the disk.
    async fn keep_only(&self, wishes: &[Wish], songs: &mut LocalSongs) {
        let known = self.known.load_full();
        let wanted = |track: &TrackId| wishes.iter().any(|wish| wish.track == *track);
        if known.keys().all(wanted) && wishes.iter().all(|wish| known.contains_key(&wish.track)) {
            return;
        }
        let mut next = BTreeMap::clone(&known);
        next.retain(|track, _| wanted(track));
        for wish in wishes {
            if let Entry::Vacant(place) = next.entry(wish.track) {
                let song = songs.begin(wish.track, wish.frames, wish.rate);
                let offers = self.kept_offers(&song).await;
                place.insert(Known { song, offers });
            }
        }
        self.known.store(Arc::new(next));
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

    async fn run_errand(&self, errand: Errand) -> Result<Brought, FetchError> {
        match errand {
            Errand::Manifest(track, kbps) => {
                self.fetcher.manifests(track, kbps).await.map(Brought::Manifests)
            }
            Errand::Segment(track, kbps, index) => self.segment(track, kbps, index).await,
        }
    }

    /// It is tried again later, and nothing else waits for it.
    fn failed(&self, errand: Errand, error: FetchError, later: &mut Later) {
        let lasting = match error {
            FetchError::Changed => {
                let (Errand::Manifest(track, kbps) | Errand::Segment(track, kbps, _)) = errand;
                if let Some(known) = self.known.load().get(&track) {
                    known.song.remove(kbps);
                }
                return later.done(errand);
            }
            FetchError::Lasting(why) => Some(why),
            FetchError::Passing => None,
        };
        if later.failed(errand, Instant::now(), lasting.is_some())
            && let Some(why) = lasting
        {
            self.reporter.tell(News::Trouble(why));
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
                self.tell_unwritable(&error);
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
    async fn take(&self, errand: Errand, brought: Brought, later: &mut Later) {
        let Brought::Manifests(renditions) = brought else { return };
        let Some(known) = self.known.load().get(&errand.track()).cloned() else { return };
        if let Err(why) = self.take_manifests(&known, renditions).await {
            let why = format!("a node gave a song's segments that are none of its: {why}");
            self.failed(errand, FetchError::Lasting(why), later);
        }
    }

    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.nodes.dialer().world().try_blocking(work).await
    }

    pub(super) fn chooser(&self) -> std::sync::MutexGuard<'_, Chooser> {
        self.chooser.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
