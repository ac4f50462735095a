//! The node's clock: its map from the raw clock to shared time, and who may change it when.
//!
//! Readers (each stamp, each clock probe) take no lock. Three things change the map: discipline
//! to a leader's time, the start of a leadership, and nothing else.
//!
//! How far off it may be is kept as the distance from the time of one leader, the *reference*, that grows by what the two
//! may run apart. Leaders that come after the reference say how far they are off the one before; the log sums that up
//! ([`Succession`]), and the clock adds it. So the bound holds from whichever leader's `ClockEpoch` this node has heard last.

mod opening;
mod state;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jam_proto::sync::{Doubt, Estimate, Probe, SharedMap, Succession};
use jam_proto::time::{Flicks, SharedTime};
use jam_world::Clock;
use tokio::sync::watch;

use super::awake::Awake;
use super::saved::Saved;
use super::slewed::SlewedMap;
use state::{HOLDOVER_PPB, Lead, State};

/// A map that is this far off was never right (or somebody's machine stood still): no slewing
/// would end in time.
const STEP_NS_MIN: i64 = 100_000_000;
/// Rounds of probes after which a filter's own drift is better than the one that the map has.
const DRIFT_ROUNDS_MIN: u32 = 30;
/// What a sleep is measured against is renewed this often, ns: NTP steers one of the two clocks all the time.
const LOOK_EVERY_NS: i64 = 1_000_000_000;
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
    /// The last look that is a second old or less, if somebody looks each second.
    awake: ArcSwap<Awake>,
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
                set_raw_ns: saved.set_raw_ns,
                epoch: saved.epoch,
                last_epoch: saved.last_epoch.max(saved.epoch),
                doubt: Doubt::new(saved.error_bound_ns, saved.drift_bound_ppb),
                sure_raw_ns: saved.raw_ns,
                term: saved.term,
                reference: saved.reference.into(),
                heard: saved.reference.into(),
                lead: Lead::Following,
            },
            None => State {
                map: SlewedMap::settled(SharedMap {
                    raw_ns: now.raw_ns,
                    shared: saved.map_or(ORIGIN, |saved| SharedTime(saved.shared)),
                    drift: 0.0,
                }),
                set_raw_ns: now.raw_ns,
                epoch: 0,
                last_epoch: saved.map_or(0, |saved| saved.last_epoch.max(saved.epoch)),
                doubt: Doubt::UNKNOWN,
                sure_raw_ns: now.raw_ns,
                term: 0,
                reference: Succession::default(),
                heard: Succession::default(),
                lead: Lead::Following,
            },
        };
        Self {
            machine,
            state: ArcSwap::from_pointee(state),
            writing: Mutex::new(()),
            broken: watch::Sender::new(0),
            awake: ArcSwap::from_pointee(now),
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

    /// How far from the leader's time this clock may be now, ns; of the leader in [`Self::bound_term`]. 0 on the
    /// leader, `i64::MAX` if nothing is known. Looks for a sleep first.
    pub fn error_bound_ns(&self) -> i64 {
        self.notices_sleep();
        self.state.load().doubt_at(self.raw_ns()).bound_ns
    }

    /// The term of the leader that the error bound is about: the last one whose `ClockEpoch` was heard, or whose time
    /// this clock follows already. 0: none.
    pub fn bound_term(&self) -> u64 {
        let state = self.state.load();
        state.heard.term.max(state.term)
    }

    /// Hears who led until now, from whoever applies the log. Cheap where nothing is new.
    pub fn hear(&self, succession: &Succession) {
        if self.state.load().heard != *succession {
            self.change(|state| state.hear(succession));
        }
    }

    /// The committed epoch that this clock follows; 0: none yet. Looks for a sleep first.
    pub fn epoch(&self) -> u64 {
        self.notices_sleep();
        self.state.load().epoch
    }

    /// By how much shared time runs faster than this machine's raw clock.
    pub fn drift(&self) -> f64 {
        self.state.load().map.drift()
    }

    /// The raw clock when the map was last set rather than steered, ns. Whoever measures this clock begins anew when it
    /// changes.
    pub fn set_raw_ns(&self) -> i64 {
        self.state.load().set_raw_ns
    }

    /// The term in which this clock is the reference, if it is. Looks for a sleep first.
    pub fn leads_in(&self) -> Option<u64> {
        self.notices_sleep();
        match self.state.load().lead {
            Lead::Leads(term) => Some(term),
            Lead::Following | Lead::Opening => None,
        }
    }

    /// Shared time and its epoch, if this clock is the reference in the term `term`. Looks for a sleep first.
    pub fn leads_at(&self, term: u64) -> Option<(u64, SharedTime)> {
        self.notices_sleep();
        let state = self.state.load();
        let leads = state.lead == Lead::Leads(term) && state.epoch > 0;
        leads.then(|| (state.epoch, state.map.at(self.raw_ns())))
    }

    /// How often the machine was seen to have slept.
    fn sleeps(&self) -> u64 {
        *self.broken.borrow()
    }

    /// Begins to watch for a sleep.
    pub fn watch_for_sleep(&self) -> SleepWatch<'_> {
        self.notices_sleep();
        SleepWatch { clock: self, sleeps: self.sleeps() }
    }

    /// How often the machine was seen to have slept, and wakes when it did.
    pub fn broken(&self) -> watch::Receiver<u64> {
        self.broken.subscribe()
    }

    /// What the next start needs.
    pub fn to_save(&self, boot_id: &str, now: Awake) -> Saved {
        let state = self.state.load();
        // What was heard since the reference is heard again.
        let doubt = state.own_doubt_at(now.raw_ns);
        Saved {
            boot_id: boot_id.to_owned(),
            raw_ns: now.raw_ns,
            boottime_ahead_ns: now.ahead_ns,
            shared: state.map.at(now.raw_ns).0,
            drift: state.map.drift(),
            set_raw_ns: state.set_raw_ns,
            epoch: state.epoch,
            error_bound_ns: doubt.bound_ns,
            drift_bound_ppb: doubt.drift_ppb,
            term: state.term,
            reference: state.reference.into(),
            last_epoch: state.last_epoch,
        }
    }

    /// The `ClockEpoch` of this node's leadership is committed, `succession` ends with it: this map is the reference
    /// from here on.
    pub fn lead(&self, succession: &Succession) {
        self.change(|state| {
            state.hear(succession);
            // Unless the machine slept in between.
            if state.lead == Lead::Opening {
                (state.epoch, state.last_epoch) = (succession.epoch, succession.epoch);
                (state.term, state.reference) = (succession.term, *succession);
                state.lead = Lead::Leads(succession.term);
            }
        });
    }

    /// This node does not lead (any more). If it did, its map was right until now.
    pub fn step_down(&self) {
        self.change(|state| {
            if let Lead::Leads(_) = state.lead {
                state.sure_raw_ns = self.raw_ns();
                state.doubt = state.own_doubt_at(state.sure_raw_ns);
            }
            state.lead = Lead::Following;
        });
    }

    /// Looks whether the machine slept since the last look. If it did, raw time stood still and the map can't be
    /// continued: this clock is of no epoch, and doesn't lead until its leadership is opened anew, for which a majority
    /// is asked. A lease is no such proof, since it is measured by a clock that stood still too. Called each second,
    /// and before this clock says anything of its standing.
    pub fn notices_sleep(&self) -> bool {
        let last = **self.awake.load();
        let now = Awake::look(self.machine.as_ref());
        // Once more: a thread that is held up between the two readings of one look sees a sleep that was none.
        let slept = now.slept_since(&last) && Awake::look(self.machine.as_ref()).slept_since(&last);
        if !slept {
            if now.raw_ns - last.raw_ns >= LOOK_EVERY_NS {
                self.awake.store(Arc::new(now));
            }
            return false;
        }
        let first = self.change(|state| {
            // Somebody else may have seen it before.
            if **self.awake.load() != last {
                return false;
            }
            self.awake.store(Arc::new(now));
            state.epoch = 0;
            state.doubt = Doubt::UNKNOWN;
            state.lead = Lead::Following;
            true
        });
        if first {
            tracing::warn!("this machine slept: its clock can't be continued");
            self.broken.send_modify(|times| *times += 1);
        }
        true
    }

    /// Those of a burst of probes, to a leader in `epoch`, that show for certain that this clock is not where it says: the
    /// clocks of one of the two machines stood still, as those of a virtual machine that is paused. What was measured before
    /// is worth nothing then.
    pub fn contradictions(&self, burst: &[Probe], epoch: u64) -> Vec<Probe> {
        let state = self.state.load();
        let contradicts = |probe: &&Probe| {
            let raw_ns = probe.raw_middle_ns();
            let off_ns = probe.shared_middle().since(state.map.at(raw_ns)).as_nanos();
            let bound_ns = state.doubt_at(raw_ns).bound_ns.saturating_add(probe.rtt_ns() / 2);
            off_ns.saturating_abs() > bound_ns.saturating_add(STEP_NS_MIN)
        };
        let follows = state.lead == Lead::Following && state.epoch == epoch;
        burst.iter().filter(|_| follows).filter(contradicts).copied().collect()
    }

    /// Brings the map to the time of the leader in `term` and `epoch`, after `rounds` rounds of probes to it. It
    /// steps only into another epoch, or when it is so far off that it was never right. Returns
    /// the offset that it had, ns; `None` on the leader, whose map nobody changes, and for one who leads no more.
    pub fn discipline(
        &self,
        estimate: &Estimate,
        rounds: u32,
        (term, epoch): (u64, u64),
        raw_ns: i64,
    ) -> Option<i64> {
        self.change(|state| {
            if state.lead != Lead::Following || term < state.heard.term {
                return None;
            }
            let target = estimate.map.anchored(raw_ns);
            let off_ns = target.shared.since(state.map.at(raw_ns)).as_nanos();
            let learned = Doubt::new(
                estimate.bound_ns(),
                estimate.drift_bound_ppb().saturating_add(HOLDOVER_PPB),
            );
            if state.epoch != epoch || off_ns.saturating_abs() > STEP_NS_MIN {
                state.set(target);
                state.doubt = learned;
            } else {
                let own = state.map.drift();
                let apart_ppb = ((own - target.drift).abs() * 1e9).ceil() as i64;
                // One that the filter can't believe is worse than the filter's, however early.
                let keep = rounds < DRIFT_ROUNDS_MIN && apart_ppb <= estimate.drift_bound_ppb();
                let (drift, apart_ppb) = if keep { (own, apart_ppb) } else { (target.drift, 0) };
                state.map = state.map.towards(&SharedMap { drift, ..target }, raw_ns);
                // It comes closer from here on, and counts as being where it is.
                state.doubt = learned.plus(Doubt::new(off_ns.abs(), apart_ppb));
            }
            (state.epoch, state.last_epoch) = (epoch, epoch);
            state.sure_raw_ns = raw_ns;
            (state.term, state.reference) = (term, state.heard);
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

/// Watches a machine for a sleep, in which its raw clock stands still: what was asked before and answered after one is older
/// than it looks.
#[derive(Debug)]
pub struct SleepWatch<'a> {
    clock: &'a NodeClock,
    sleeps: u64,
}

impl SleepWatch<'_> {
    /// Whether the machine has slept since the watch began.
    pub fn has_slept(&self) -> bool {
        self.clock.notices_sleep();
        self.clock.sleeps() != self.sleeps
    }
}

#[cfg(test)]
mod tests;
