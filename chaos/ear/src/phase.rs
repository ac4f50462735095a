//! A listener's phase: song position against time. A change of the leader must not move it.

use serde::Serialize;

use crate::Heard;

/// Looked at before an instant, to know where the phase was going: the clock of this machine and the
/// cluster's shared time may differ in rate by some ppm.
const BEFORE_NS: i64 = 4_000_000_000;
/// Looked at behind it.
const AFTER_NS: i64 = 5_000_000_000;
const STEP_NS: i64 = 25_000_000;
/// Fewer looks than this tell nothing.
const LOOKS_MIN: usize = 20;

/// How the phase moved at an instant.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PhaseChange {
    /// The largest distance from where the phase was going, in the five seconds after the instant.
    pub max_ns: i64,
    /// The distance at the end of them.
    pub last_ns: i64,
}

/// The change of a listener's phase after `at_ns`; none if it did not play one song before and after.
pub fn phase_change(heard: &Heard, at_ns: i64) -> Option<PhaseChange> {
    let before = phases(heard, at_ns - BEFORE_NS, at_ns);
    let after = phases(heard, at_ns, at_ns + AFTER_NS);
    if before.len() < LOOKS_MIN || after.len() < LOOKS_MIN {
        return None;
    }
    // Songs are gapless, so behind a seam the phase goes on from the new song's begin: only changes
    // within one song are compared.
    let song = before.last()?.song;
    let line = Line::through(before.iter().filter(|look| look.song == song))?;
    let mut change = None;
    for look in after.iter().filter(|look| look.song == song) {
        let off = look.phase_ns - line.at(look.at_ns);
        let max_ns = change.map_or(0, |change: PhaseChange| change.max_ns).max(off.abs() as i64);
        change = Some(PhaseChange { max_ns, last_ns: off as i64 });
    }
    change
}

struct Look {
    at_ns: f64,
    phase_ns: f64,
    song: usize,
}

fn phases(heard: &Heard, from_ns: i64, to_ns: i64) -> Vec<Look> {
    (from_ns..to_ns)
        .step_by(STEP_NS as usize)
        .filter_map(|at| {
            let (song, position) = heard.position_at(at)?;
            // Counted from an instant nearby, to keep the digits that matter.
            let at_ns = (at - from_ns) as f64;
            Some(Look { at_ns: at as f64, phase_ns: position * 1e9 - at_ns - from_ns as f64, song })
        })
        .collect()
}

/// A straight line through points, least squares, about their middle.
struct Line {
    middle: (f64, f64),
    slope: f64,
}

impl Line {
    fn through<'a>(looks: impl Iterator<Item = &'a Look> + Clone) -> Option<Self> {
        let count = looks.clone().count() as f64;
        if count < LOOKS_MIN as f64 {
            return None;
        }
        let mean = |value: fn(&Look) -> f64| looks.clone().map(value).sum::<f64>() / count;
        let middle = (mean(|look| look.at_ns), mean(|look| look.phase_ns));
        let (mut across, mut along) = (0.0, 0.0);
        for look in looks {
            across += (look.at_ns - middle.0) * (look.phase_ns - middle.1);
            along += (look.at_ns - middle.0).powi(2);
        }
        Some(Self { middle, slope: across / along })
    }

    fn at(&self, at_ns: f64) -> f64 {
        self.middle.1 + (at_ns - self.middle.0) * self.slope
    }
}
