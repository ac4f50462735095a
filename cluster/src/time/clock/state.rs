//! What a node's clock knows: its map, and how far that may be off whose time.

use jam_proto::sync::readings::{Reading, is_behind};
use jam_proto::sync::{Doubt, SharedMap, Succession};
use jam_proto::time::SharedTime;

use super::super::slewed::SlewedMap;

/// Above this, time is not continued. Below it, listeners slew to the new leader's map and hear nothing;
/// 10 ms takes them 20 s at 500 ppm, all of them together. A bump is heard by everybody, so it is kept for
/// maps that are really lost: on a machine whose cores are all busy the bound, three sigmas and half a round
/// trip, passes a millisecond now and then while the map itself is some microseconds off.
pub const CONTINUED_BOUND_NS_MAX: i64 = 10_000_000;

/// How fast a map that is not disciplined may drift off its leader's even if the drift was known exactly: room for
/// two machines that warm up. Parts in 10^9.
pub const HOLDOVER_PPB: i64 = 5_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    pub map: SlewedMap,
    /// The raw clock when the map was last set rather than steered, ns. A clock that is resumed keeps it.
    pub set_raw_ns: i64,
    /// The committed epoch that the map belongs to; 0: to none, so it can't be continued.
    pub epoch: u64,
    /// The committed epoch that it belonged to last, also when it can't be continued any more; 0: to none.
    pub last_epoch: u64,
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

    /// How far off it goes on with time as the leader after those of `succession`, which it has heard of; `None`: it can't.
    pub fn continues(
        &self,
        succession: &Succession,
        last_stamp: SharedTime,
        raw_ns: i64,
    ) -> Option<Doubt> {
        let (here, doubt) = (self.map.at(raw_ns), self.doubt_at(raw_ns));
        let goes_on = succession.epoch > 0
            && self.epoch == succession.epoch
            && doubt.bound_ns < CONTINUED_BOUND_NS_MAX
            && !is_behind(here, doubt, last_stamp);
        goes_on.then_some(doubt)
    }

    /// What it says of time to whoever asks at a raw reading.
    pub fn reading(&self, raw_ns: i64) -> Reading {
        Reading {
            raw_ns,
            shared: self.map.at(raw_ns),
            epoch: self.last_epoch,
            continued: self.epoch > 0,
            doubt: self.own_doubt_at(raw_ns),
            reference: self.reference,
        }
    }

    /// Takes over what another node says of time in the committed epoch, as if it had measured it by itself.
    pub fn adopt(&mut self, reading: &Reading, drift: f64) {
        let Reading { raw_ns, shared, epoch, doubt, reference, .. } = *reading;
        self.set(SharedMap { raw_ns, shared, drift });
        (self.epoch, self.last_epoch) = (epoch, epoch);
        (self.doubt, self.sure_raw_ns) = (doubt, raw_ns);
        (self.term, self.reference) = (reference.term, reference);
    }

    /// Another map, which need not go on from the one before. Whoever measured that one learns this one anew.
    pub fn set(&mut self, map: SharedMap) {
        self.map = SlewedMap::settled(map);
        self.set_raw_ns = map.raw_ns;
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
