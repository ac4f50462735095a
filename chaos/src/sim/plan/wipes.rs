//! Disks that are lost.

use super::{Fault, Kind, Plan};
use crate::seed::Stream;

impl Plan {
    /// The node that takes the place of one whose disk was lost loses its own, often before it votes. Never another node's:
    /// two disks would be lost at once. It has draws of its own, so that a seed means what it meant before.
    pub(super) fn wipe_again(&mut self) {
        let first = self.faults.iter().find(|fault| matches!(fault.kind, Kind::Wipe { .. }));
        let Some(Fault { until_ms, kind, .. }) = first.cloned() else { return };
        let mut draws = Stream::new(self.seed, "second wipe");
        if !draws.one_in(2) {
            return;
        }
        let at_ms = until_ms + draws.within(50..=3_000) as u64;
        if at_ms < self.liveness_ms {
            let until_ms = (at_ms + draws.within(50..=2_000) as u64).min(self.liveness_ms);
            self.faults.push(Fault { at_ms, until_ms, kind });
            self.faults.sort_by_key(|fault| fault.at_ms);
        }
    }

    /// The node that loses its disk.
    pub(super) fn wiped(&self) -> Option<u64> {
        self.faults.iter().find_map(|fault| match fault.kind {
            Kind::Wipe { node } => Some(node),
            _ => None,
        })
    }
}
