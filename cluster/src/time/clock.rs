//! The node's clock: its map from the raw clock to shared time, and who may change it when.
//!
//! Readers (each stamp, each clock probe) take no lock. Three things change the map: discipline
//! to a leader's time, the start of a leadership that can't continue it, and nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jam_proto::sync::{Estimate, SharedMap};
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1::ClockEpoch;
use jam_world::Clock;
use tokio::sync::watch;

use super::awake::Awake;
use super::saved::Saved;
use super::slewed::SlewedMap;

/// Above this, time is not continued. Below it, listeners slew to the new leader's map and hear nothing;
/// 10 ms takes them 20 s at 500 ppm, all of them together. A bump is heard by everybody, so it is kept for
/// maps that are really lost: on a machine whose cores are all busy the bound, three sigmas and half a round
/// trip, passes a millisecond now and then while the map itself is some microseconds off.
const CONTINUED_BOUND_NS_MAX: i64 = 10_000_000;
/// How fast a map that is not disciplined may drift off its leader's: what is left after the drift
/// was fitted, with room for a machine that warms up.
const HOLDOVER_PPM: i64 = 5;
/// A map that is this far off was never right (or somebody's machine stood still): no slewing
/// would end in time.
const STEP_NS_MIN: i64 = 100_000_000;
/// Rounds of probes after which a filter's own drift is better than the one that the map has.
const DRIFT_ROUNDS_MIN: u32 = 30;
/// Where a cluster's time begins. Not 0, so that instants shortly before are no odd numbers.
const ORIGIN: SharedTime = SharedTime(Flicks::from_secs(3600).0);

/// The node's clock.
#[derive(Debug)]
pub struct NodeClock {
    machine: Arc<dyn Clock>,
    state: ArcSwap<State>,
    /// Held by whoever changes the map.
    writing: Mutex<()>,
    broken: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    map: SlewedMap,
    /// The committed epoch that the map belongs to; 0: to none, so it can't be continued.
    epoch: u64,
    /// How far from the leader's time it may be at `sure_raw_ns`, ns.
    bound_ns: i64,
    sure_raw_ns: i64,
    lead: Lead,
}

/// Whose map it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    /// Another node's time is the reference: this map follows it.
    Following,
    /// This node was elected and its `ClockEpoch` is on its way.
    Opening,
    /// This map is the reference, in this term.
    Leads(u64),
}

impl State {
    fn bound_at(&self, raw_ns: i64) -> i64 {
        if matches!(self.lead, Lead::Leads(_)) {
            return 0;
        }
        let age_ns = (raw_ns - self.sure_raw_ns).max(0);
        self.bound_ns.saturating_add(age_ns / 1_000_000 * HOLDOVER_PPM)
    }
}

impl NodeClock {
    /// A clock that goes on from what was saved, as far as that can be: in the same boot, without a
    /// suspend in between, `saved` is as good as its age. Otherwise it says where time was at least.
    pub fn resume(
        machine: Arc<dyn Clock>,
        saved: Option<&Saved>,
        boot_id: &str,
        now: Awake,
    ) -> Self {
        let continued = saved.filter(|saved| {
            !boot_id.is_empty()
                && saved.boot_id == boot_id
                && !now.slept_since(&saved.awake())
                && saved.raw_ns <= now.raw_ns
        });
        let state = match continued {
            Some(saved) => State {
                map: SlewedMap::settled(SharedMap {
                    raw_ns: saved.raw_ns,
                    shared: SharedTime(saved.shared),
                    drift: saved.drift,
                }),
                epoch: saved.epoch,
                bound_ns: saved.error_bound_ns,
                sure_raw_ns: saved.raw_ns,
                lead: Lead::Following,
            },
            None => State {
                map: SlewedMap::settled(SharedMap {
                    raw_ns: now.raw_ns,
                    shared: saved.map_or(ORIGIN, |saved| SharedTime(saved.shared)),
                    drift: 0.0,
                }),
                epoch: 0,
                bound_ns: i64::MAX,
                sure_raw_ns: now.raw_ns,
                lead: Lead::Following,
            },
        };
        Self {
            machine,
            state: ArcSwap::from_pointee(state),
            writing: Mutex::new(()),
            broken: watch::Sender::new(0),
        }
    }

    /// The machine's raw clock now, ns.
    pub fn raw_ns(&self) -> i64 {
        self.machine.raw_ns()
    }

    /// Shared time now.
    pub fn now(&self) -> SharedTime {
        self.at(self.raw_ns())
    }

    /// Shared time at a raw reading.
    pub fn at(&self, raw_ns: i64) -> SharedTime {
        self.state.load().map.at(raw_ns)
    }

    /// Shared time in flicks at two raw readings, by one and the same map.
    pub fn span(&self, from_raw_ns: i64, to_raw_ns: i64) -> (i64, i64) {
        let state = self.state.load();
        (state.map.at(from_raw_ns).0, state.map.at(to_raw_ns).0)
    }

    /// How far from the leader's time this clock may be now, ns. 0 on the leader.
    pub fn error_bound_ns(&self) -> i64 {
        self.state.load().bound_at(self.raw_ns())
    }

    /// The committed epoch that this clock follows; 0: none yet.
    pub fn epoch(&self) -> u64 {
        self.state.load().epoch
    }

    /// By how much shared time runs faster than this machine's raw clock.
    pub fn drift(&self) -> f64 {
        self.state.load().map.drift()
    }

    /// The term in which this clock is the reference, if it is.
    pub fn leads_in(&self) -> Option<u64> {
        match self.state.load().lead {
            Lead::Leads(term) => Some(term),
            Lead::Following | Lead::Opening => None,
        }
    }

    /// Wakes when the clock stopped being continuable: the machine slept.
    pub fn broken(&self) -> watch::Receiver<u64> {
        self.broken.subscribe()
    }

    /// What the next start needs.
    pub fn to_save(&self, boot_id: &str, now: Awake) -> Saved {
        let state = self.state.load();
        Saved {
            boot_id: boot_id.to_owned(),
            raw_ns: now.raw_ns,
            boottime_ahead_ns: now.ahead_ns,
            shared: state.map.at(now.raw_ns).0,
            drift: state.map.drift(),
            epoch: state.epoch,
            error_bound_ns: state.bound_at(now.raw_ns),
        }
    }

    /// Opens a leadership: what its `ClockEpoch` says. `committed` is the epoch in force (0: none
    /// yet) and `last_stamp` the last one given. If the map can't be continued it starts anew at
    /// the floor; nothing may be stamped until the entry is committed and [`Self::lead`] called.
    /// From here to [`Self::step_down`] nobody disciplines the map.
    pub fn open(
        &self,
        committed: u64,
        last_stamp: SharedTime,
        term: u64,
        node: u64,
        raw_ns: i64,
    ) -> ClockEpoch {
        self.change(|state| {
            #[cfg(feature = "planted")]
            if jam_proto::planted::Bug::WallClockTime.is_planted() {
                let wall = self.machine.wall().duration_since(std::time::UNIX_EPOCH);
                let wall_ns = wall.map_or(0, |wall| wall.as_nanos() as i64);
                state.map = SlewedMap::settled(SharedMap {
                    raw_ns,
                    shared: SharedTime(Flicks::from_nanos(wall_ns).0),
                    drift: 0.0,
                });
            }
            let bound_ns = state.bound_at(raw_ns);
            if committed > 0 && state.epoch == committed && bound_ns < CONTINUED_BOUND_NS_MAX {
                state.lead = Lead::Opening;
                let floor = last_stamp.0;
                return ClockEpoch {
                    epoch: committed,
                    term,
                    node,
                    floor,
                    error_bound_ns: bound_ns,
                };
            }
            let floor = last_stamp.max(state.map.at(raw_ns));
            let map = SharedMap { raw_ns, shared: floor, drift: state.map.drift() };
            *state = State {
                map: SlewedMap::settled(map),
                // Of no epoch until it is committed: should another node win, this map is worth
                // nothing.
                epoch: 0,
                bound_ns: i64::MAX,
                sure_raw_ns: raw_ns,
                lead: Lead::Opening,
            };
            ClockEpoch { epoch: committed + 1, term, node, floor: floor.0, error_bound_ns: 0 }
        })
    }

    /// The `ClockEpoch` of this node's `term` is committed: its map is the reference from here on.
    pub fn lead(&self, epoch: u64, term: u64) {
        self.change(|state| {
            // Unless the machine slept in between.
            if state.lead == Lead::Opening {
                state.epoch = epoch;
                state.lead = Lead::Leads(term);
            }
        });
    }

    /// This node does not lead (any more). If it did, its map was right until now.
    pub fn step_down(&self) {
        self.change(|state| {
            if let Lead::Leads(_) = state.lead {
                state.bound_ns = 0;
                state.sure_raw_ns = self.raw_ns();
            }
            state.lead = Lead::Following;
        });
    }

    /// The machine slept: raw time stood still, so the map can't be continued.
    pub fn breaks(&self) {
        self.change(|state| {
            state.epoch = 0;
            state.bound_ns = i64::MAX;
            state.lead = Lead::Following;
        });
        self.broken.send_modify(|times| *times += 1);
    }

    /// Brings the map to the leader's time, after `rounds` rounds of probes to that leader. It
    /// steps only into another epoch, or when it is so far off that it was never right. Returns
    /// the offset that it had, ns; `None` on the leader, whose map nobody changes.
    pub fn discipline(
        &self,
        estimate: &Estimate,
        rounds: u32,
        epoch: u64,
        raw_ns: i64,
    ) -> Option<i64> {
        self.change(|state| {
            if state.lead != Lead::Following {
                return None;
            }
            let target = estimate.map.anchored(raw_ns);
            let off_ns = target.shared.since(state.map.at(raw_ns)).as_nanos();
            state.bound_ns = estimate.bound_ns();
            if state.epoch != epoch || off_ns.saturating_abs() > STEP_NS_MIN {
                state.map = SlewedMap::settled(target);
            } else {
                let own = rounds < DRIFT_ROUNDS_MIN;
                let drift = if own { state.map.drift() } else { target.drift };
                state.map = state.map.towards(&SharedMap { drift, ..target }, raw_ns);
                state.bound_ns += off_ns.abs();
            }
            state.epoch = epoch;
            state.sure_raw_ns = raw_ns;
            Some(off_ns)
        })
    }

    /// Two tasks write: the one that follows and the one that leads.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = **self.state.load();
        let result = change(&mut state);
        self.state.store(Arc::new(state));
        result
    }
}

#[cfg(test)]
mod tests;
