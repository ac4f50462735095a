//! What a node's clock knows: its map, and how far that may be off whose time.

use jam_proto::sync::{Doubt, Succession};

use super::super::slewed::SlewedMap;

/// How fast a map that is not disciplined may drift off its leader's even if the drift was known exactly: room for
/// two machines that warm up. Parts in 10^9.
pub const HOLDOVER_PPB: i64 = 5_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    pub map: SlewedMap,
    /// The committed epoch that the map belongs to; 0: to none, so it can't be continued.
    pub epoch: u64,
    /// How far from the reference's time it may be at `sure_raw_ns`.
    pub doubt: Doubt,
    pub sure_raw_ns: i64,
    /// The term of the reference.
    pub term: u64,
    /// The leaders up to the reference; up to an earlier one if its `ClockEpoch` was not heard yet, which can only add
    /// to the distance.
    pub reference: Succession,
    /// The leaders up to the last one that was heard of.
    pub heard: Succession,
    pub lead: Lead,
}

/// Whose map it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// Another node's time is the reference: this map follows it.
    Following,
    /// This node was elected and its `ClockEpoch` is on its way.
    Opening,
    /// This map is the reference, in this term.
    Leads(u64),
}

impl State {
    /// How far it may be from the reference's time.
    pub fn own_doubt_at(&self, raw_ns: i64) -> Doubt {
        match self.lead {
            Lead::Leads(_) => Doubt { bound_ns: 0, drift_ppb: HOLDOVER_PPB },
            Lead::Following | Lead::Opening => {
                self.doubt.after(raw_ns.saturating_sub(self.sure_raw_ns))
            }
        }
    }

    /// How far it may be from the time of the last leader that was heard of.
    pub fn doubt_at(&self, raw_ns: i64) -> Doubt {
        let since_reference = self.heard.doubt_from(&self.reference, self.map.at(raw_ns));
        self.own_doubt_at(raw_ns).plus(since_reference)
    }

    pub fn hear(&mut self, succession: &Succession) {
        // A node that starts applies anew what it knew of when it stopped.
        if succession.term < self.heard.term {
            return;
        }
        self.heard = *succession;
        if (self.term, self.epoch) == (succession.term, succession.epoch) {
            self.reference = *succession;
        }
    }
}
