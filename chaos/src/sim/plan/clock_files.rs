//! Saved clocks that are harmed.

use super::{Fault, Kind, NODES, Plan, Profile, QUIET_MS};
use crate::clock_file::Harm;
use crate::seed::Stream;

impl Plan {
    /// Saved clocks are lost, old, damaged and wrong. It has draws of its own, so that a seed means what it meant before.
    pub(super) fn harm_clock_files(&mut self) {
        if self.profile == Profile::Calm {
            return;
        }
        let mut draws = Stream::new(self.seed, "clock files");
        for _ in 0..draws.below(4) {
            let node = draws.below(NODES) + 1;
            let harm = match draws.below(4) {
                0 => Some(Harm::Lost),
                1 => Some(Harm::Flipped),
                2 => Some(Harm::Wrong),
                _ => None,
            };
            let all = draws.one_in(2);
            let at_ms = QUIET_MS + draws.below(self.liveness_ms.saturating_sub(QUIET_MS).max(1));
            let until_ms = (at_ms + 1 + draws.below(5_000)).min(self.liveness_ms).max(at_ms + 1);
            let kind = Kind::ClockFile { node, harm, all };
            self.faults.push(Fault { at_ms, until_ms, kind });
        }
        self.faults.sort_by_key(|fault| fault.at_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_harmed_in_every_way() {
        let mut drawn = Vec::new();
        for seed in 0..100 {
            let plan = Plan::new(seed, Profile::Hell, 60_000);
            assert!(plan.faults.is_sorted_by_key(|fault| fault.at_ms));
            for Fault { at_ms, until_ms, kind } in plan.faults {
                if let Kind::ClockFile { harm, all, .. } = kind {
                    assert!(at_ms < until_ms && until_ms <= plan.liveness_ms);
                    drawn.push((harm, all));
                }
            }
        }
        for harm in [None, Some(Harm::Lost), Some(Harm::Flipped), Some(Harm::Wrong)] {
            assert!([true, false].into_iter().all(|all| drawn.contains(&(harm, all))), "{harm:?}");
        }
        let calm = Plan::new(3, Profile::Calm, 60_000);
        let is_harm = |fault: &Fault| matches!(fault.kind, Kind::ClockFile { .. });
        assert!(!calm.faults.iter().any(is_harm));
    }
}
