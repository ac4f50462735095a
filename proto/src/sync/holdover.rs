//! From estimates to the map that a player plays by: it never steps while something sounds.
//!
//! Estimates change: each burst of probes moves them a little, another leader's clock may differ by its error
//! bound, and for a while there may be no leader at all. What is published only ever bends: it runs on from where it is, toward
//! the newest estimate, at a rate that nobody hears and that a player's own controller follows. While no estimate comes, it
//! runs on at the last known drift: holding over.

use super::map::SharedMap;

/// How fast an error is let in at most: 200 µs in a second is a third of a cent of pitch, and far below the 500 ppm
/// that a player can follow.
pub const SLEW_MAX: f64 = 200e-6;
/// An error is let in at a rate that would take so long: small ones fade out instead of being overshot. Steering has
/// to come round well within this.
const FADE_SECS: f64 = 1.0;
/// An error beyond this is no estimate's: time was not continued (the machine slept), and slewing would take minutes.
pub const STEP_NS: i64 = 100_000_000;

/// The published map and how it moves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holdover {
    published: Option<SharedMap>,
}

/// What is published after steering.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steered {
    /// The map to play by, anchored at the reading that it was steered at.
    pub map: SharedMap,
    /// How far it still is from the estimate, ns: shared time by the estimate minus by the map.
    pub left_ns: i64,
}

impl Holdover {
    /// Moves toward `estimate`. `may_step`: nothing sounds, or the clock's epoch was bumped, so that the move may be
    /// made at once.
    pub fn steer(&mut self, raw_now_ns: i64, estimate: &SharedMap, may_step: bool) -> Steered {
        let estimate = estimate.anchored(raw_now_ns);
        let steered = match &self.published {
            Some(published) if !may_step => bend(published, raw_now_ns, &estimate),
            _ => Steered { map: estimate, left_ns: 0 },
        };
        self.published = Some(steered.map);
        steered
    }

    /// What is published, if anything.
    pub fn published(&self) -> Option<&SharedMap> {
        self.published.as_ref()
    }
}

fn bend(published: &SharedMap, raw_now_ns: i64, estimate: &SharedMap) -> Steered {
    let here = published.anchored(raw_now_ns);
    let left_ns = estimate.shared.since(here.shared).as_nanos();
    if left_ns.saturating_abs() > STEP_NS {
        return Steered { map: *estimate, left_ns: 0 };
    }
    let rate = (left_ns as f64 * 1e-9 / FADE_SECS).clamp(-SLEW_MAX, SLEW_MAX);
    Steered { map: SharedMap { drift: estimate.drift + rate, ..here }, left_ns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Flicks, SharedTime};
    use proptest::prelude::*;

    const TICK_NS: i64 = 100_000_000;

    fn map(offset_ns: i64, drift: f64) -> SharedMap {
        SharedMap { raw_ns: 0, shared: SharedTime(1 << 40) + Flicks::from_nanos(offset_ns), drift }
    }

    #[test]
    fn the_first_estimate_is_taken_as_it_is() {
        let mut holdover = Holdover::default();
        let steered = holdover.steer(5 * TICK_NS, &map(0, 20e-6), false);
        assert_eq!(steered, Steered { map: map(0, 20e-6).anchored(5 * TICK_NS), left_ns: 0 });
    }

    #[test]
    fn another_leader_is_let_in_slowly_and_wholly() {
        let mut holdover = Holdover::default();
        holdover.steer(0, &map(0, 0.0), false);
        let mut last = Steered { map: map(0, 0.0), left_ns: 0 };
        for tick in 1..=150 {
            last = holdover.steer(tick * TICK_NS, &map(1_000_000, 10e-6), false);
            if tick == 20 {
                assert!(
                    (600_000..700_000).contains(&last.left_ns),
                    "200 ppm for two seconds: {last:?}"
                );
            }
        }
        assert!(last.left_ns.abs() < 1_000, "{last:?}");
        assert!((last.map.drift - 10e-6).abs() < 1e-6);
    }

    #[test]
    fn a_bumped_epoch_and_a_machine_that_slept_step() {
        for (offset_ns, may_step) in [(50_000_000, true), (3_600_000_000_000, false)] {
            let mut holdover = Holdover::default();
            holdover.steer(0, &map(0, 0.0), false);
            let steered = holdover.steer(TICK_NS, &map(offset_ns, 0.0), may_step);
            assert_eq!(steered.map, map(offset_ns, 0.0).anchored(TICK_NS));
        }
    }

    proptest! {
        /// Whatever the estimates do within an epoch: no step, and no rate beyond the slew.
        #[test]
        fn never_steps(moves in prop::collection::vec((-2_000_000i64..2_000_000, -50e-6..50e-6f64, 1i64..20), 1..60)) {
            let mut holdover = Holdover::default();
            let (mut raw_ns, mut offset_ns) = (0, 0);
            let mut before: Option<SharedMap> = None;
            for (by_ns, drift, ticks) in moves {
                offset_ns = (offset_ns + by_ns).clamp(-40_000_000, 40_000_000);
                raw_ns += ticks * TICK_NS;
                let estimate = SharedMap { raw_ns, ..map(offset_ns + raw_ns, drift) };
                let after = holdover.steer(raw_ns, &estimate, false).map;
                if let Some(before) = before {
                    let step_ns = after.at(raw_ns).since(before.at(raw_ns)).as_nanos();
                    prop_assert!(step_ns.abs() <= 2, "a step of {step_ns} ns");
                }
                prop_assert!((after.drift - drift).abs() <= SLEW_MAX + 1e-12);
                before = Some(after);
            }
        }
    }
}
