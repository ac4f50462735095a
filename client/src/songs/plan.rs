//! What to fetch, in which order: what sounds first, first.
//!
//! The segment that is due, then what follows within half a minute, then the rest of the song and the head of the next one;
//! then more, as far as the cache reaches, and last what has sounded already.
//!
//! Pure: a plan is made anew whenever something has come, or what is wanted has changed.

use std::collections::{BTreeMap, BTreeSet};
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

impl Errand {
    /// Which song it is for.
    pub fn track(&self) -> TrackId {
        let (Self::Manifest(track, _) | Self::Segment(track, ..)) = self;
        *track
    }
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

/// The next errands, the most urgent first, besides those that are `running`. `kbps`: the quality that each song is fetched at.
pub fn plan(
    wishes: &[Wish],
    known: &BTreeMap<TrackId, Known>,
    running: &BTreeSet<Errand>,
    kbps: impl Fn(&TrackId) -> u32,
    bytes_max: u64,
) -> Vec<Errand> {
    let mut plan = Plan { known, running, kbps: &kbps, errands: Vec::new() };
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
    running: &'a BTreeSet<Errand>,
    kbps: &'a dyn Fn(&TrackId) -> u32,
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
        let kbps = (self.kbps)(&wish.track);
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
                let comes = self.running.contains(&Errand::Segment(wish.track, one.kbps, index));
                (comes || good && one.is_ready(index)).then(|| one.span(index).1)
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
        let kbps = (self.kbps)(&wish.track);
        let chosen = known.offers.iter().find(|offer| offer.kbps == kbps);
        let seconds = wish.frames / u64::from(wish.rate.max(1)) + 1;
        chosen.map_or(0, |offer| offer.bytes_per_s * seconds)
    }

    fn add(&mut self, errand: Errand) {
        if !self.errands.contains(&errand) && !self.running.contains(&errand) {
            self.errands.push(errand);
        }
    }
}

#[cfg(test)]
mod tests {
    use jam_media::{Manifest, Refusal};

    use super::*;

    const RATE: u32 = 8000;
    /// A segment's frames: as many of the demuxer's packets as there are in five seconds.
    const SEGMENT: u64 = 34 * 1152;

    fn track(number: u8) -> TrackId {
        TrackId([number; 32])
    }

    /// From within a segment on, of so many.
    fn wish(number: u8, from: u64, segments: u64) -> Wish {
        let frame = if from > 0 { from * SEGMENT + 77 } else { 0 };
        Wish { track: track(number), frame, frames: segments * SEGMENT, rate: RATE }
    }

    fn manifest(frames: u64) -> Manifest {
        let mut whole = std::io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut whole, spec).expect("a cursor takes all");
        (0..frames).for_each(|n| writer.write_sample(n as i16).expect("a cursor takes all"));
        writer.finalize().expect("a cursor takes all");
        let length = whole.get_ref().len() as u64;
        whole.set_position(0);
        let source = jam_media::source(whole, length);
        let cut = jam_media::cut(source, frames, RATE, |_, _| Ok::<_, Refusal>(()));
        cut.expect("a song")
    }

    const OFFERS: [Offer; 2] =
        [Offer { kbps: 24, bytes_per_s: 3000 }, Offer { kbps: 0, bytes_per_s: 16_000 }];

    /// Songs whose manifests are here, at both qualities.
    fn known(wishes: &[Wish]) -> BTreeMap<TrackId, Known> {
        let of = |wish: &Wish| {
            let song = Arc::new(LocalSong::new(wish.track, wish.frames, wish.rate));
            for kbps in [0, 24] {
                song.add(kbps, manifest(wish.frames));
            }
            (wish.track, Known { song, offers: OFFERS.to_vec() })
        };
        wishes.iter().map(of).collect()
    }

    /// Carries out all that is planned; in which order.
    fn carry_out(wishes: &[Wish], known: &BTreeMap<TrackId, Known>, kbps: u32) -> Vec<Errand> {
        let mut order = Vec::new();
        loop {
            let errands = plan(wishes, known, &BTreeSet::new(), |_| kbps, u64::MAX);
            let Some(first) = errands.first().copied() else { return order };
            let Errand::Segment(track, kbps, index) = first else { panic!("{first:?}") };
            known[&track].song.rendition(kbps).expect("it is here").set_ready(index, true);
            order.push(first);
        }
    }

    #[test]
    fn what_sounds_first_comes_first() {
        let wishes = [wish(1, 1, 12), wish(2, 0, 8), wish(3, 0, 2)];
        let known = known(&wishes);
        let segments = |number, indexes: std::ops::Range<usize>| {
            indexes.map(move |index| Errand::Segment(track(number), 0, index))
        };
        let due: Vec<Errand> = segments(1, 1..12)
            .chain(segments(2, 0..8))
            .chain(segments(3, 0..2))
            .chain(segments(1, 0..1))
            .collect();
        assert_eq!(carry_out(&wishes, &known, 0), due);
    }

    #[test]
    fn near_its_end_the_next_song_comes_before_the_rest() {
        let wishes = [wish(1, 10, 12), wish(2, 0, 12)];
        let known = known(&wishes);
        let order = carry_out(&wishes, &known, 0);
        let first: Vec<TrackId> = order.iter().take(6).map(Errand::track).collect();
        assert_eq!(first, [1, 1, 2, 2, 2, 2].map(track));
    }

    #[test]
    fn manifests_come_before_segments_and_the_cache_is_not_overrun() {
        let wishes = [wish(1, 0, 2), wish(2, 0, 2), wish(3, 0, 2)];
        let mut known = known(&wishes);
        known.get_mut(&track(1)).expect("known").song.remove(24);
        known.get_mut(&track(2)).expect("known").offers.clear();
        let planned = plan(&wishes, &known, &BTreeSet::new(), |_| 24, 0);
        assert_eq!(planned, [Errand::Manifest(track(1), 24), Errand::Manifest(track(2), 0)]);
    }

    #[test]
    fn a_better_quality_replaces_what_is_not_due_soon_and_nothing_is_fetched_twice() {
        let wishes = [wish(1, 0, 6)];
        let known = known(&wishes);
        assert_eq!(carry_out(&wishes, &known, 24).len(), 6);
        assert_eq!(plan(&wishes, &known, &BTreeSet::new(), |_| 24, u64::MAX), []);
        let running = BTreeSet::from([Errand::Segment(track(1), 24, 3)]);
        let better = plan(&wishes, &known, &running, |_| 0, u64::MAX);
        let due = [2, 4, 5].map(|index| Errand::Segment(track(1), 0, index));
        assert_eq!(better, due);
        // What is better than needed will do.
        carry_out(&wishes, &known, 0);
        assert_eq!(plan(&wishes, &known, &BTreeSet::new(), |_| 24, u64::MAX), []);
    }
}
