//! Faults that were added later. Each kind has draws of its own, so that a seed means what it meant before.

use super::{Fault, Kind, NODES, Plan, Profile, QUIET_MS};
use crate::seed::Stream;

impl Plan {
    /// Songs go bad on the disk of one node, whose copies the others can make good: not where another one may be lost. It has draws
    /// of its own.
    pub(super) fn rot_songs(&mut self) {
        if self.profile == Profile::Calm || self.wiped().is_some() {
            return;
        }
        let mut draws = Stream::new(self.seed, "rot of songs");
        let node = draws.below(NODES) + 1;
        for _ in 0..draws.below(3) {
            let at_ms = QUIET_MS + draws.below(self.liveness_ms.saturating_sub(QUIET_MS).max(1));
            let kind = Kind::Rot { node, pick: draws.below(1 << 32) };
            self.faults.push(Fault { at_ms, until_ms: at_ms + 1, kind });
        }
        self.faults.sort_by_key(|fault| fault.at_ms);
    }

    /// In one run of four a node is cut off from its peers and from nobody else, for longer than whoever follows it may be behind. It
    /// has draws of its own, too.
    pub(super) fn cut_from_peers(&mut self) {
        let mut draws = Stream::new(self.seed, "cut from peers");
        let lasts_ms = draws.within(16_000..=20_000) as u64;
        let last_ms = self.liveness_ms.saturating_sub(lasts_ms);
        if self.profile == Profile::Calm || last_ms <= QUIET_MS || !draws.one_in(4) {
            return;
        }
        let at_ms = QUIET_MS + draws.below(last_ms - QUIET_MS);
        let kind = Kind::CutFromPeers { node: draws.below(NODES) + 1 };
        self.faults.push(Fault { at_ms, until_ms: at_ms + lasts_ms, kind });
        self.faults.sort_by_key(|fault| fault.at_ms);
    }
}
