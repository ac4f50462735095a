//! What to fetch, in which order: what sounds first, first.
//!
//! The segment that is due, then what follows within half a minute, then the rest of the song and the head of the next one;
//! then more, as far as the cache reaches, and last what has sounded already.
//!
//! Pure: a plan is made anew whenever something has come, or what is wanted has changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jam_proto::ids::TrackId;

use super::local::{LocalRendition, LocalSong, rank};
use super::quality::Offer;

/// A song that is to be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which one.
    pub track: TrackId,
    /// From which frame on.
    pub frame: u64,
    /// How many it has.
    pub frames: u64,
    /// Frames a second.
    pub rate: u32,
}

/// Something to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    /// What a song is cut into, at a quality.
    Manifest(TrackId, u32),
    /// A segment of it.
    Segment(TrackId, u32, usize),
}

/// What is known of one of the songs.
#[derive(Clone, Debug)]
pub struct Known {
    /// What of it is here.
    pub song: Arc<LocalSong>,
    /// Which qualities there are, as far as the listener allows them, from low to high; empty: nobody was asked yet.
    pub offers: Vec<Offer>,
}

/// Errands that a plan names at most.
pub const ERRANDS_MAX: usize = 8;
/// Seconds that come before the rest of a song.
const NEAR_S: u64 = 30;
/// Seconds from where it plays, within which any quality will do: a better one would come too late.
const SOON_S: u64 = 6;

/// The next errands, the most urgent first. `kbps`: the quality that the line carries, of those that are offered.
pub fn plan(
    wishes: &[Wish],
    known: &BTreeMap<TrackId, Known>,
    kbps: impl Fn(&[Offer]) -> u32,
    bytes_max: u64,
) -> Vec<Errand> {
    let mut plan = Plan { known, kbps: &kbps, errands: Vec::new() };
    let Some(first) = wishes.first() else { return Vec::new() };
    let near =
        |wish: &Wish, seconds: u64| (wish.frame + seconds * u64::from(wish.rate)).min(wish.frames);
    let left_s = (first.frames - first.frame.min(first.frames)) / u64::from(first.rate.max(1));
    plan.range(first, first.frame, near(first, NEAR_S));
    if let Some(next) = wishes.get(1)
        && left_s < NEAR_S
    {
        plan.range(next, next.frame, near(next, NEAR_S - left_s));
    }
    plan.range(first, first.frame, first.frames);
    if let Some(next) = wishes.get(1) {
        plan.range(next, next.frame, near(next, NEAR_S));
        plan.range(next, next.frame, next.frames);
    }
    // The first two are fetched whatever they take.
    let mut bytes: u64 = wishes.iter().take(2).map(|wish| plan.bytes(wish)).sum();
    for later in wishes.iter().skip(2) {
        if bytes >= bytes_max {
            return plan.errands;
        }
        plan.range(later, later.frame, later.frames);
        bytes += plan.bytes(later);
    }
    if bytes < bytes_max {
        plan.range(first, 0, first.frame.min(first.frames));
    }
    plan.errands
}

struct Plan<'a> {
    known: &'a BTreeMap<TrackId, Known>,
    kbps: &'a dyn Fn(&[Offer]) -> u32,
    errands: Vec<Errand>,
}

impl Plan<'_> {
    /// Adds what is missing of a song from one frame to another.
    fn range(&mut self, wish: &Wish, from: u64, to: u64) {
        if self.errands.len() >= ERRANDS_MAX || from >= to {
            return;
        }
        let Some(known) = self.known.get(&wish.track) else { return };
        if known.offers.is_empty() {
            return self.add(Errand::Manifest(wish.track, 0));
        }
        let kbps = (self.kbps)(&known.offers);
        let Some(chosen) = known.song.rendition(kbps) else {
            return self.add(Errand::Manifest(wish.track, kbps));
        };
        let soon = wish.frame + SOON_S * u64::from(wish.rate);
        let renditions = known.song.renditions();
        let mut at = from;
        while at < to && self.errands.len() < ERRANDS_MAX {
            let ready = |one: &Arc<LocalRendition>| {
                let index = one.segment_at(at)?;
                let good = at < soon || rank(one.kbps) >= rank(kbps);
                (good && one.is_ready(index)).then(|| one.span(index).1)
            };
            at = match renditions.iter().filter_map(ready).max() {
                Some(end) => end,
                None => {
                    let Some(index) = chosen.segment_at(at) else { return };
                    self.add(Errand::Segment(wish.track, kbps, index));
                    chosen.span(index).1
                }
            };
        }
    }

    /// What a song takes, at the quality that is chosen.
    fn bytes(&self, wish: &Wish) -> u64 {
        let Some(known) = self.known.get(&wish.track) else { return 0 };
        let chosen = known.offers.iter().find(|offer| offer.kbps == (self.kbps)(&known.offers));
        let seconds = wish.frames / u64::from(wish.rate.max(1)) + 1;
        chosen.map_or(0, |offer| offer.bytes_per_s * seconds)
    }

    fn add(&mut self, errand: Errand) {
        if !self.errands.contains(&errand) {
            self.errands.push(errand);
        }
    }
}
