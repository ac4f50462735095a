//! Offset and drift from the quickest ways there and back, each by itself.
//!
//! On a path whose delays scatter by milliseconds the fastest of a few round trips is still off by much: both of its ways have to
//! be quick at once. But no way is quicker than the path: seen from here, each receipt lies above the line of the other clock by the
//! delay there, and each reply below it by the delay back. The line that both envelopes touch, with one slope, is known ever better
//! by the number of exchanges, not by its root (Moon, Skelly and Towsley, "Estimation and Removal of Clock Skew from Network Delay
//! Measurements", INFOCOM 1999, for one way). What it can't tell is by how much the quickest way there is longer than the quickest
//! way back.

use std::collections::VecDeque;

use super::filter::Probe;
use super::map::SharedMap;
use crate::time::Flicks;

/// How long exchanges count, and how many at most.
const WINDOW_NS: i64 = 90_000_000_000;
const POINTS_MAX: usize = 2048;
/// Before so many, and so long, there is no line.
const POINTS_MIN: usize = 32;
const SPAN_NS_MIN: i64 = 3_000_000_000;
/// Two crystals run apart by no more than this: ns/s.
const SLOPE_MAX: f64 = 200_000.0;
/// Golden sections of that: down to a hundredth of a ns/s.
const SECTIONS: u32 = 36;
/// From so many of the lowest points it is taken how densely they lie there.
const LOWEST: usize = 8;
/// Stamps are no better than this: ns.
const STAMP_NS: f64 = 2_000.0;
/// How fast a crystal wanders with temperature: as the filter has it.
const WALK_NS_PER_S: f64 = 10.0;
/// Delays that seldom come near their floor look denser there than they are.
const CAUTION: f64 = 2.0;
/// Slopes are as good as the best one if their envelopes come closer by no more than so many times what the floors are known to.
const SLACK: f64 = 2.0;
const HALVINGS: u32 = 20;

/// Exchanges with one clock that runs at one rate.
#[derive(Clone, Debug, Default)]
pub(super) struct Envelope {
    points: VecDeque<Point>,
    base: Option<SharedMap>,
    fit: Option<Fit>,
}

/// One exchange, as seconds and nanoseconds from the base line.
#[derive(Clone, Copy, Debug)]
struct Point {
    raw_ns: i64,
    out_s: f64,
    out_ns: f64,
    back_s: f64,
    back_ns: f64,
}

/// What the envelopes say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// The line, anchored at the last exchange.
    pub map: SharedMap,
    /// One standard deviation of the offset there, ns.
    pub sigma_ns: f64,
    /// One of the drift, ns/s.
    pub drift_sigma: f64,
    /// How far the envelopes lie apart: the quickest round trip, ns.
    pub floor_ns: f64,
}

impl Fit {
    /// One standard deviation of the offset at a later reading of the raw clock, ns.
    pub fn sigma_at(&self, raw_ns: i64) -> f64 {
        let secs = (raw_ns - self.map.raw_ns).max(0) as f64 * 1e-9;
        let walk = WALK_NS_PER_S.powi(2) * secs.powi(3) / 3.0;
        (self.sigma_ns.powi(2) + (self.drift_sigma * secs).powi(2) + walk).sqrt()
    }
}

impl Envelope {
    /// The other clock may run at another rate from now on.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// What the envelopes said last.
    pub fn fit(&self) -> Option<&Fit> {
        self.fit.as_ref()
    }

    /// Takes exchanges, in order.
    pub fn observe(&mut self, probes: &[Probe]) {
        let Some(last) = probes.last() else { return };
        let first = SharedMap { raw_ns: last.sent_ns, shared: last.received, drift: 0.0 };
        let base = *self.base.get_or_insert(first);
        let seconds = |raw_ns: i64| (raw_ns - base.raw_ns) as f64 * 1e-9;
        self.points.extend(probes.iter().map(|probe| Point {
            raw_ns: probe.back_ns,
            out_s: seconds(probe.sent_ns),
            out_ns: probe.received.since(base.at(probe.sent_ns)).as_nanos() as f64,
            back_s: seconds(probe.back_ns),
            back_ns: probe.replied.since(base.at(probe.back_ns)).as_nanos() as f64,
        }));
        let from_ns = last.back_ns - WINDOW_NS;
        let surplus = self.points.len().saturating_sub(POINTS_MAX);
        let old = self.points.iter().take_while(|point| point.raw_ns < from_ns).count();
        self.points.drain(..surplus.max(old));
    }

    /// Finds the line anew.
    pub fn draw(&mut self) {
        self.fit = self.line();
    }

    fn line(&self) -> Option<Fit> {
        let (first, last) = (self.points.front()?, self.points.back()?);
        let span_ns = last.raw_ns - first.raw_ns;
        if self.points.len() < POINTS_MIN || span_ns < SPAN_NS_MIN {
            return None;
        }
        let base = self.base?;
        let best = self.furthest_apart();
        let (_, gap) = self.settled(best);
        let (least, most) = self.as_good_as(best, SLACK * gap);
        let slope = (least + most) / 2.0;
        let ((out, back), gap) = self.settled(slope);
        let span_s = span_ns as f64 * 1e-9;
        let drift_sigma = (most - least) / 2.0;
        let walk = WALK_NS_PER_S * (span_s.powi(3) / 12.0).sqrt();
        let at_s = (last.raw_ns - base.raw_ns) as f64 * 1e-9;
        let offset_ns = (out + back) / 2.0 + slope * at_s;
        Some(Fit {
            map: SharedMap {
                raw_ns: last.raw_ns,
                shared: base.at(last.raw_ns) + Flicks::from_nanos(offset_ns.round() as i64),
                drift: slope * 1e-9,
            },
            sigma_ns: gap.hypot(drift_sigma * span_s / 2.0).hypot(walk),
            drift_sigma: drift_sigma.hypot(WALK_NS_PER_S * span_s.sqrt()),
            floor_ns: (out - back).max(0.0),
        })
    }

    /// Where the floors of both ways probably lie for a slope, and how well that is known: ns. The lowest point lies above its
    /// floor by about as much as the next one lies above it.
    fn settled(&self, slope: f64) -> ((f64, f64), f64) {
        let (out, back) = self.levels(slope);
        let (out_gap, back_gap) = (
            spacing(self.points.iter().map(|point| point.out_ns - slope * point.out_s - out)),
            spacing(self.points.iter().map(|point| back - (point.back_ns - slope * point.back_s))),
        );
        ((out - out_gap, back + back_gap), CAUTION * out_gap.hypot(back_gap) / 2.0 + STAMP_NS)
    }

    /// How far the envelopes of a slope lie apart: a concave function. The closer they come to their points, the further.
    fn apart(&self, slope: f64) -> f64 {
        let (out, back) = self.levels(slope);
        out - back
    }

    /// The slope at which they lie furthest apart.
    fn furthest_apart(&self) -> f64 {
        let golden = (5.0f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = (-SLOPE_MAX, SLOPE_MAX);
        let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
        let (mut at_left, mut at_right) = (self.apart(left), self.apart(right));
        for _ in 0..SECTIONS {
            if at_left > at_right {
                (high, right, at_right) = (right, left, at_left);
                left = high - golden * (high - low);
                at_left = self.apart(left);
            } else {
                (low, left, at_left) = (left, right, at_right);
                right = low + golden * (high - low);
                at_right = self.apart(right);
            }
        }
        (low + high) / 2.0
    }

    /// From which to which slope the envelopes lie nearly as far apart as at the best one.
    fn as_good_as(&self, best: f64, less_by: f64) -> (f64, f64) {
        let enough = self.apart(best) - less_by;
        let edge = |mut good: f64, mut bad: f64| {
            for _ in 0..HALVINGS {
                let middle = (good + bad) / 2.0;
                if self.apart(middle) >= enough {
                    good = middle;
                } else {
                    bad = middle;
                }
            }
            good
        };
        (edge(best, -SLOPE_MAX), edge(best, SLOPE_MAX))
    }

    /// Where the envelopes of that slope lie at the base: below all receipts, and above all replies.
    fn levels(&self, slope: f64) -> (f64, f64) {
        let nothing = (f64::INFINITY, f64::NEG_INFINITY);
        self.points.iter().fold(nothing, |(out, back), point| {
            (
                out.min(point.out_ns - slope * point.out_s),
                back.max(point.back_ns - slope * point.back_s),
            )
        })
    }
}

/// How far the lowest of these lie apart from each other.
fn spacing(above: impl Iterator<Item = f64>) -> f64 {
    let mut above: Vec<f64> = above.collect();
    let place = LOWEST.min(above.len() - 1);
    let (_, value, _) = above.select_nth_unstable_by(place, f64::total_cmp);
    *value / place.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SharedTime;

    /// In 0..1, without an order.
    fn dice(n: u64) -> f64 {
        let mixed = (n ^ 0x51_7C_C1).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 31).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A path of 20 ms each way, give or take 10, to a clock that is fast by `ppm` and ahead by 7 s.
    fn probes(ppm: f64, every_ns: i64, count: u64, seed: u64) -> Vec<Probe> {
        let shared = |true_ns: i64| {
            let ns = 7_000_000_000.0 + true_ns as f64 * (1.0 + ppm * 1e-6);
            SharedTime(Flicks::from_nanos(ns.round() as i64).0)
        };
        let delay = |n: u64| (10e6 + 20e6 * dice(seed.wrapping_mul(7919) + n)) as i64;
        (0..count)
            .map(|n| {
                let sent_ns = 1_000_000_000 + n as i64 * every_ns;
                let there_ns = sent_ns + delay(2 * n);
                let back_ns = there_ns + 50_000 + delay(2 * n + 1);
                let (received, replied) = (shared(there_ns), shared(there_ns + 50_000));
                Probe { sent_ns, received, replied, back_ns }
            })
            .collect()
    }

    #[test]
    fn a_path_that_scatters_by_20_ms_is_seen_through_to_a_tenth_of_one() {
        let (mut within, mut worst) = (0, 0.0f64);
        for seed in 0..200 {
            let ppm = 200.0 * dice(seed + 77) - 100.0;
            let taken = probes(ppm, 60_000_000, 1000, seed);
            let mut envelope = Envelope::default();
            taken.chunks(8).for_each(|burst| envelope.observe(burst));
            envelope.draw();
            let fit = envelope.fit().expect("there is enough");
            let raw_ns = taken[999].back_ns;
            let truth = 7_000_000_000.0 + raw_ns as f64 * (1.0 + ppm * 1e-6);
            let error = fit.map.at(raw_ns).as_nanos() as f64 - truth;
            within += u32::from(error.abs() <= 2.0 * fit.sigma_at(raw_ns));
            worst = worst.max(error.abs());
            assert!((fit.floor_ns - 20e6).abs() < 1e6, "{fit:?}");
            assert!((fit.map.drift * 1e6 - ppm).abs() < 10.0, "{ppm}: {fit:?}");
        }
        eprintln!("within 2 sigma: {within} of 200; worst {worst} ns");
        assert!(within >= 190 && worst < 300e3, "{within} of 200, worst {worst} ns");
    }

    #[test]
    fn with_too_little_there_is_no_line() {
        let mut envelope = Envelope::default();
        envelope.observe(&probes(0.0, 60_000_000, 20, 1));
        envelope.draw();
        assert!(envelope.fit().is_none());
        envelope.observe(&probes(0.0, 1_000_000, 200, 1));
        envelope.draw();
        assert!(envelope.fit().is_none());
    }
}
