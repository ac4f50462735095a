//! What of a song is on this machine: its manifests, and which of their segments are ready to be played.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use jam_media::Manifest;
use jam_proto::ids::TrackId;

/// A song, as far as it is here. Whoever plays it reads along while it comes.
#[derive(Debug)]
pub struct LocalSong {
    /// Which one.
    pub track: TrackId,
    /// Its committed length.
    pub frames: u64,
    /// Frames a second.
    pub rate: u32,
    renditions: ArcSwap<Vec<Arc<LocalRendition>>>,
}

/// Every song that somebody reads along, whether it is wanted now or not.
#[derive(Debug, Default)]
pub struct LocalSongs(BTreeMap<TrackId, Weak<LocalSong>>);

/// A song at one quality.
#[derive(Debug)]
pub struct LocalRendition {
    /// About so many thousand bits a second; 0: the original.
    pub kbps: u32,
    /// What it is cut into.
    pub manifest: Arc<Manifest>,
    ready: Box<[AtomicBool]>,
    /// Segments that the disk did not take.
    held: Mutex<BTreeMap<usize, Vec<u8>>>,
    /// Of the song: frames a second, and how many.
    rate: u32,
    frames: u64,
}

impl LocalSongs {
    /// A song that is wanted from now on, and of which nothing is known to be here. Whoever has opened it before, when it was
    /// wanted earlier, reads what comes now as well.
    pub fn begin(&mut self, track: TrackId, frames: u64, rate: u32) -> Arc<LocalSong> {
        self.0.retain(|_, song| song.strong_count() > 0);
        let opened = self.0.get(&track).and_then(Weak::upgrade);
        let song = match opened.filter(|song| (song.frames, song.rate) == (frames, rate)) {
            Some(song) => {
                song.renditions.store(Arc::default());
                song
            }
            None => Arc::new(LocalSong::new(track, frames, rate)),
        };
        self.0.insert(track, Arc::downgrade(&song));
        song
    }
}

impl LocalSong {
    /// One of which nothing is here.
    pub fn new(track: TrackId, frames: u64, rate: u32) -> Self {
        Self { track, frames, rate, renditions: ArcSwap::default() }
    }

    /// The qualities whose manifests are here, the best first.
    pub fn renditions(&self) -> Arc<Vec<Arc<LocalRendition>>> {
        self.renditions.load_full()
    }

    /// The one of a quality.
    pub fn rendition(&self, kbps: u32) -> Option<Arc<LocalRendition>> {
        self.renditions.load().iter().find(|one| one.kbps == kbps).cloned()
    }

    /// Adds a quality, in place of what it was.
    pub fn add(&self, kbps: u32, manifest: Manifest) -> Arc<LocalRendition> {
        let ready = manifest.segments().iter().map(|_| AtomicBool::new(false)).collect();
        let (rate, frames) = (self.rate, self.frames);
        let added = Arc::new(LocalRendition {
            kbps,
            manifest: Arc::new(manifest),
            ready,
            held: Mutex::default(),
            rate,
            frames,
        });
        let mut all = Vec::clone(&self.renditions.load());
        all.retain(|one| one.kbps != kbps);
        all.push(added.clone());
        all.sort_by_key(|one| std::cmp::Reverse(rank(one.kbps)));
        self.renditions.store(Arc::new(all));
        added
    }

    /// Forgets a quality: its manifest is no longer the one that nodes have.
    pub fn remove(&self, kbps: u32) {
        let mut all = Vec::clone(&self.renditions.load());
        all.retain(|one| one.kbps != kbps);
        self.renditions.store(Arc::new(all));
    }

    /// Whether all from one frame to another is here, at whatever qualities.
    pub fn covers(&self, from: u64, to: u64) -> bool {
        let renditions = self.renditions.load();
        let mut at = from;
        while at < to.min(self.frames) {
            let ends = renditions.iter().filter_map(|one| {
                let index = one.segment_at(at)?;
                one.is_ready(index).then(|| one.span(index).1)
            });
            match ends.max() {
                Some(end) if end > at => at = end,
                _ => return false,
            }
        }
        true
    }

    /// Up to where the song is here without a hole from `frame` on, at whatever qualities; `frame`: not at all.
    pub fn here_until(&self, frame: u64) -> u64 {
        let renditions = self.renditions.load();
        let mut at = frame;
        while let Some(further) =
            renditions.iter().filter_map(|one| one.ready_until(at)).max().filter(|end| *end > at)
        {
            at = further;
        }
        at
    }
}

/// Segments in memory at most: about half a minute of a large one.
const HELD_MAX: usize = 16;

/// Qualities in order: the original is above all.
pub fn rank(kbps: u32) -> u32 {
    if kbps == 0 { u32::MAX } else { kbps }
}

impl LocalRendition {
    /// Which segment holds a frame of the song.
    pub fn segment_at(&self, frame: u64) -> Option<usize> {
        // The last frames of a song may lie behind a rendition's last whole one.
        let last = self.manifest.frames() - 1;
        self.manifest.segment_at(self.own_frame(frame).min(last))
    }

    /// The first frame of the song that a segment has, and the one behind its last.
    pub fn span(&self, index: usize) -> (u64, u64) {
        let segment = &self.manifest.segments()[index];
        let is_last = index + 1 == self.manifest.segments().len();
        let end = if is_last { self.frames } else { self.song_frame(segment.end()) };
        (self.song_frame(segment.first_frame), end)
    }

    /// Its own frame at a frame of the song.
    pub fn own_frame(&self, frame: u64) -> u64 {
        scale(frame, self.manifest.sample_rate(), self.rate)
    }

    /// Whether its frames are the song's.
    pub fn is_in_step(&self) -> bool {
        self.manifest.sample_rate() == self.rate
    }

    /// Frames a second of the song.
    pub fn song_rate(&self) -> u32 {
        self.rate
    }

    /// The first frame of the song at or after one of its own.
    fn song_frame(&self, own: u64) -> u64 {
        let (to, from) = (u128::from(self.rate), u128::from(self.manifest.sample_rate()));
        u64::try_from((u128::from(own) * to).div_ceil(from)).unwrap_or(u64::MAX)
    }

    /// Whether a segment can be loaded.
    pub fn is_ready(&self, index: usize) -> bool {
        self.ready.get(index).is_some_and(|ready| ready.load(Ordering::Acquire))
    }

    /// A segment can be loaded from now on, or no more.
    pub fn set_ready(&self, index: usize, ready: bool) {
        if let Some(flag) = self.ready.get(index) {
            flag.store(ready, Ordering::Release);
        }
    }

    /// Keeps a segment in memory: there is no other place for it. The earliest one goes if there are too many.
    pub fn hold(&self, index: usize, bytes: Vec<u8>) {
        let mut held = self.lock_held();
        held.insert(index, bytes);
        if held.len() > HELD_MAX
            && let Some((first, _)) = held.pop_first()
        {
            self.set_ready(first, false);
        }
        self.set_ready(index, held.contains_key(&index));
    }

    /// A segment that is in memory.
    pub fn held(&self, index: usize) -> Option<Vec<u8>> {
        self.lock_held().get(&index).cloned()
    }

    fn lock_held(&self) -> MutexGuard<'_, BTreeMap<usize, Vec<u8>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all from one frame of the song to another is ready.
    pub fn covers(&self, from: u64, to: u64) -> bool {
        let Some(first) = self.segment_at(from) else { return false };
        let last = self.segment_at(to.saturating_sub(1)).unwrap_or(first);
        (first..=last).all(|index| self.is_ready(index))
    }

    /// Up to where it is ready from a frame of the song on.
    fn ready_until(&self, frame: u64) -> Option<u64> {
        if frame >= self.frames {
            return None;
        }
        let first = self.segment_at(frame)?;
        let ready = (first..self.ready.len()).take_while(|index| self.is_ready(*index));
        ready.last().map(|last| self.span(last).1)
    }
}

/// `frame` at `from` frames a second, in whole ones of `to`.
fn scale(frame: u64, to: u32, from: u32) -> u64 {
    u64::try_from(u128::from(frame) * u128::from(to) / u128::from(from)).unwrap_or(u64::MAX)
}
