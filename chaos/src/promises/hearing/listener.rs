//! One listener: what it heard, what it said, and what upset it.

use std::collections::BTreeMap;

use jam_proto::time::{Flicks, SharedTime};

use super::due::{Due, Rooms};
use crate::history::{History, ListenerSample, Sound, What};

/// A listener that is not heard of for so long stands still, or sleeps.
pub const SILENT_NS: i64 = 250_000_000;
/// To come back after it stood still or its clock stepped: the clock has to learn by how much, and a player steers up to 2.5 ms
/// off at 500 ppm rather than jump.
const STOOD_STILL_NS: i64 = 5_000_000_000;
/// To begin: a listener is in phase from its first sample, but the first look at its state may come before that.
const BEGIN_NS: i64 = 1_000_000_000;
/// To follow a change of the room, or of the clock: what is rendered ahead, and a turn of the player.
const CHANGE_NS: i64 = 500_000_000;
/// What a stall upsets may be heard this much later: sound that was ready has run out, and is caught up with.
const STALL_NS: i64 = 1_000_000_000;
/// Changes are announced up to so long ahead.
const LEAD_NS: i64 = 2_500_000_000;
/// What a listener's clock is steered by, and crystals are off, parts per million.
const STEERED_PPM: i64 = 900;
/// Where a clock goes on evenly, its samples do, to this.
pub const STEP_NS: i64 = 20_000;
/// How fine the time line is looked at.
const GRAIN_NS: i64 = 50_000_000;

/// What was heard in one go, with the record that says it.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    pub record: usize,
    pub from_ns: i64,
    pub until_ns: i64,
    pub sound: &'a Sound,
}

/// Record, true time, what it said.
pub type Sample<'a> = (usize, i64, &'a ListenerSample);

/// One start of one listener.
pub struct Listener<'a> {
    name: &'a str,
    life: u32,
    /// In order.
    pub pieces: Vec<Piece<'a>>,
    /// In order.
    pub samples: Vec<Sample<'a>>,
    /// When nobody on its machine could have played: true time, ns.
    stalls: Vec<(i64, i64)>,
}

impl<'a> Listener<'a> {
    /// All that are in a history.
    pub fn all(history: &'a History) -> Vec<Self> {
        let mut all: BTreeMap<(&str, u32), Self> = BTreeMap::new();
        let stalls = history.records.iter().filter_map(|record| match record.what {
            What::Stalled { from_ns, until_ns } => Some((from_ns, until_ns)),
            _ => None,
        });
        let stalls: Vec<_> = stalls.collect();
        for (record, one) in history.records.iter().enumerate() {
            let (name, life) = match &one.what {
                What::Heard(stretch) => (stretch.listener.as_str(), stretch.life),
                What::Listens(sample) => (sample.listener.as_str(), sample.life),
                _ => continue,
            };
            let listener = all.entry((name, life)).or_insert_with(|| Self {
                name,
                life,
                pieces: Vec::new(),
                samples: Vec::new(),
                stalls: stalls.clone(),
            });
            match &one.what {
                What::Heard(stretch) => listener.pieces.push(Piece {
                    record,
                    from_ns: stretch.from_ns,
                    until_ns: stretch.until_ns,
                    sound: &stretch.sound,
                }),
                What::Listens(sample) => listener.samples.push((record, sample.at_ns, sample)),
                _ => {}
            }
        }
        let mut all: Vec<Self> = all.into_values().collect();
        all.iter_mut().for_each(|one| one.pieces.sort_by_key(|piece| piece.from_ns));
        all
    }

    /// For people.
    pub fn name(&self) -> String {
        format!("listener {} (life {})", self.name, self.life)
    }

    /// What was heard at a true time.
    pub fn heard_at(&self, at_ns: i64) -> Option<&Piece<'a>> {
        let behind = self.pieces.partition_point(|piece| piece.from_ns <= at_ns);
        self.pieces.get(behind.checked_sub(1)?).filter(|piece| at_ns < piece.until_ns)
    }

    /// What was due at a true time, by what the listener knew then.
    pub fn due_at(&self, at_ns: i64, rooms: &mut Rooms<'_>) -> Option<Due> {
        let behind = self.samples.partition_point(|(_, sampled_ns, _)| *sampled_ns <= at_ns);
        let (_, sampled_ns, sample) = self.samples.get(behind.saturating_sub(1))?;
        due(sample, at_ns - sampled_ns, rooms)
    }

    /// Spans of true time in which the sound had to move, or could not be as it should: the listener began or stood
    /// still, learned of a change of its room, of another epoch, had no file to play, or its machine stalled.
    pub fn upsets(&self, rooms: &mut Rooms<'_>) -> Vec<(i64, i64)> {
        let mut upsets = Vec::new();
        let plays = |sample: &ListenerSample| sample.state != "joining";
        let begun = self.samples.iter().find(|(_, _, sample)| plays(sample));
        upsets.push((i64::MIN, begun.map_or(i64::MAX, |(_, at_ns, _)| at_ns + BEGIN_NS)));
        for pair in self.samples.windows(2) {
            let ((_, before_ns, before), (_, after_ns, after)) = (pair[0], pair[1]);
            if after_ns - before_ns > SILENT_NS {
                upsets.push((before_ns, after_ns + STOOD_STILL_NS));
            }
            let is_other_time = before.epoch != after.epoch
                || before.shared.is_none()
                || after.shared.is_none()
                || step_ns(&pair[0], &pair[1]).abs() > STEP_NS;
            if is_other_time {
                upsets.push((before_ns, after_ns + STOOD_STILL_NS));
            }
            let dues = (0..=LEAD_NS / GRAIN_NS).map(|step| step * GRAIN_NS);
            let changed = before.revision != after.revision
                && dues.into_iter().any(|ahead_ns| {
                    let known = due(before, after_ns - before_ns + ahead_ns, rooms);
                    moved(known.as_ref(), due(after, ahead_ns, rooms).as_ref())
                });
            if changed {
                upsets.push((before_ns, after_ns + LEAD_NS));
            }
            if !after.song_here {
                upsets.push((before_ns - CHANGE_NS, after_ns + CHANGE_NS));
            }
        }
        upsets
            .extend(self.stalls.iter().map(|(from_ns, until_ns)| (*from_ns, until_ns + STALL_NS)));
        // It may have been killed in the middle of a turn.
        let last = self.samples.last().map_or(i64::MIN, |(_, at_ns, _)| *at_ns);
        upsets.push((last.saturating_sub(CHANGE_NS), i64::MAX));
        upsets
    }
}

/// By how much a listener's shared time stepped between two samples: what is more than steering, ns.
pub fn step_ns(before: &Sample<'_>, after: &Sample<'_>) -> i64 {
    let ((_, before_ns, before), (_, after_ns, after)) = (before, after);
    let (Some(earlier), Some(later)) = (before.shared, after.shared) else { return 0 };
    let ahead_ns = Flicks(later - earlier).as_nanos() - (after_ns - before_ns);
    let steered_ns = (after_ns - before_ns) * STEERED_PPM / 1_000_000;
    ahead_ns.signum() * (ahead_ns.abs() - steered_ns).max(0)
}

/// What is due so long after a sample.
fn due(sample: &ListenerSample, after_ns: i64, rooms: &mut Rooms<'_>) -> Option<Due> {
    let shared = SharedTime(sample.shared? + Flicks::from_nanos(after_ns).0);
    rooms.due(&sample.room, sample.revision, shared)
}

/// The sound is another one. A flick more or less of the time line is a difference of the two samples.
fn moved(one: Option<&Due>, other: Option<&Due>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            let same_place = (one.origin_ns - other.origin_ns).abs() < 1_000_000;
            one.playing != other.playing
                || (one.playing && (one.entry != other.entry || !same_place))
        }
        (one, other) => one.is_some() != other.is_some(),
    }
}
