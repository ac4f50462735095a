//! What has to hold, whatever happens: judged by true time, which nobody in the site knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use jam_proto::sync::{Estimate, SharedMap, Succession};
use jam_proto::time::SharedTime;
use jam_proto::wire::log::v1::ClockEpoch;

use crate::figures::Figures;
use crate::listener::View;
use crate::machine::Machine;

/// Maps are anchored again and again, each time to the nearest flick, ns.
const ROUNDING_NS: i64 = 20;
/// As far as leaders of one epoch may run apart in two minutes, and filters err, ns.
const AHEAD_NS_MAX: i64 = 100_000_000;
/// Faults that are written out; more of them say no more.
const FAULTS_MAX: usize = 8;

/// One leader's time: it runs at one rate for as long as it leads, and is what it would be after that.
#[derive(Clone, Debug)]
pub struct Tenure {
    pub machine: Arc<Machine>,
    pub map: SharedMap,
    pub succession: Succession,
    /// For how long the machine's clocks had stood still: what it was the reference for went on when they do so later.
    pub stood_ns: i64,
}

impl Tenure {
    fn at(&self, true_ns: i64) -> SharedTime {
        self.map.at(self.machine.raw_without(true_ns, self.stood_ns))
    }

    /// How far `shared` is ahead of this leader's time, ns.
    fn error_ns(&self, shared: SharedTime, true_ns: i64) -> i64 {
        shared.since(self.at(true_ns)).as_nanos()
    }
}

/// An epoch and a term in it.
pub type Reign = (u64, u64);

/// What a leader said last.
struct Told {
    reign: Reign,
    shared: SharedTime,
}

/// Judges one seed.
#[derive(Default)]
pub struct Judge {
    tenures: BTreeMap<Reign, Tenure>,
    told: Option<Told>,
    stamp: SharedTime,
    pub figures: Figures,
    pub faults: Vec<String>,
}

impl Judge {
    fn fault(&mut self, true_ns: i64, what: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(format!("at {:.3} s {what}", true_ns as f64 * 1e-9));
        }
    }

    /// A leader opens: is it as near to the leader before as it says? `asked`: the voters said what time they have.
    pub fn opens(
        &mut self,
        opened: &ClockEpoch,
        map: &SharedMap,
        machine: &Machine,
        asked: bool,
        true_ns: i64,
    ) {
        let before = self.tenures.last_key_value().filter(|(reign, _)| reign.0 == opened.epoch);
        let Some((_, before)) = before else {
            self.figures.bumped += 1;
            return self.begins_anew(opened, true_ns);
        };
        self.figures.continued += 1;
        self.figures.adopted += u64::from(asked);
        let phase_ns = before.error_ns(map.at(machine.raw_at(true_ns)), true_ns);
        self.figures.phases.bound(phase_ns, opened.error_bound_ns + ROUNDING_NS);
        if phase_ns.abs() > opened.error_bound_ns + ROUNDING_NS {
            let (term, bound_ns) = (opened.term, opened.error_bound_ns);
            self.fault(
                true_ns,
                format!("term {term} begins {phase_ns} ns off, not {bound_ns} at most"),
            );
        }
    }

    /// No new epoch begins after where the one before would be by now: time stands still between two, and never goes ahead.
    fn begins_anew(&mut self, opened: &ClockEpoch, true_ns: i64) {
        let Some((_, before)) = self.tenures.last_key_value() else { return };
        let ahead_ns = before.error_ns(SharedTime(opened.floor), true_ns);
        if ahead_ns > AHEAD_NS_MAX {
            let epoch = opened.epoch;
            self.fault(true_ns, format!("epoch {epoch} begins {ahead_ns} ns ahead of time"));
        }
    }

    /// Its `ClockEpoch` is committed.
    pub fn committed(&mut self, tenure: Tenure, true_ns: i64) {
        let reign = (tenure.succession.epoch, tenure.succession.term);
        self.tenures.insert(reign, tenure);
        self.sums(reign, true_ns);
    }

    /// The last leader's distance from each earlier one of its epoch is what the log sums up.
    fn sums(&mut self, reign: Reign, true_ns: i64) {
        let Some(last) = self.tenures.get(&reign).cloned() else { return };
        let shared = last.at(true_ns);
        let mut far = Vec::new();
        for (of, earlier) in self.tenures.range((reign.0, 0)..reign) {
            let bound_ns = last.succession.doubt_from(&earlier.succession, shared).bound_ns;
            let (error_ns, bound_ns) =
                (earlier.error_ns(shared, true_ns), bound_ns.saturating_add(ROUNDING_NS));
            self.figures.sums.bound(error_ns, bound_ns);
            if error_ns.abs() > bound_ns {
                far.push(format!("{reign:?} is {error_ns} ns off {of:?}, not {bound_ns} at most"));
            }
        }
        far.into_iter().for_each(|what| self.fault(true_ns, what));
    }

    /// A stamp in the log.
    pub fn stamped(&mut self, stamp: SharedTime, true_ns: i64) {
        self.figures.stamps += 1;
        if stamp <= self.stamp {
            self.fault(true_ns, format!("{stamp:?} is stamped after {:?}", self.stamp));
        }
        self.stamp = stamp;
    }

    /// What a leader, with its lease, reads on its clock.
    pub fn told(&mut self, reign: Reign, shared: SharedTime, true_ns: i64) {
        self.figures.told += 1;
        let last = self.told.replace(Told { reign, shared });
        if let Some(last) = last.filter(|last| last.reign.0 == reign.0 && last.shared > shared) {
            let back_ns = last.shared.since(shared).as_nanos();
            self.fault(true_ns, format!("{reign:?} tells {back_ns} ns less than {:?}", last.reign));
        }
        if shared.0 + 1 < self.stamp.0 && !self.is_overtaken(reign) {
            self.fault(true_ns, format!("{reign:?} tells {shared:?}, below {:?}", self.stamp));
        }
        let Some(tenure) = self.tenures.get(&reign) else {
            return self.fault(true_ns, format!("{reign:?} is told and not committed"));
        };
        let error_ns = tenure.error_ns(shared, true_ns);
        if error_ns.abs() > ROUNDING_NS {
            self.fault(true_ns, format!("the reference {reign:?} moved by {error_ns} ns"));
        }
    }

    /// A later leader's entry is in the log, and this one has not heard of it.
    fn is_overtaken(&self, reign: Reign) -> bool {
        self.tenures.last_key_value().is_some_and(|(last, _)| *last > reign)
    }

    /// What a follower says of its distance from the leader's time.
    pub fn node(&mut self, reign: Reign, shared: SharedTime, bound_ns: i64, true_ns: i64) {
        let Some(tenure) = self.tenures.get(&reign).filter(|_| bound_ns < i64::MAX) else { return };
        let error_ns = tenure.error_ns(shared, true_ns);
        self.figures.nodes.bound(error_ns, bound_ns.saturating_add(ROUNDING_NS));
    }

    /// What a filter says of a leader's time, over a path that hides so much.
    pub fn filter(
        &mut self,
        is_node: bool,
        reign: Reign,
        estimate: &Estimate,
        unseen_ns: i64,
        true_ns: i64,
    ) {
        let Some(tenure) = self.tenures.get(&reign) else { return };
        let error_ns = tenure.error_ns(estimate.map.shared, true_ns);
        let figures = &mut self.figures;
        let figure =
            if is_node { &mut figures.follower_filters } else { &mut figures.listener_filters };
        figure.bound(error_ns, estimate.bound_ns());
        figure.sigma(error_ns - unseen_ns, estimate.sigma_ns);
    }

    /// What a listener plays by.
    pub fn view(&mut self, view: &View, raw_ns: i64, true_ns: i64) {
        let Some(tenure) = self.tenures.get(&view.reign) else { return };
        let error_ns = tenure.error_ns(view.map.at(raw_ns), true_ns);
        self.figures.listeners.bound(error_ns, view.bound_ns);
    }

    /// A listener moves from what it published to something new.
    pub fn republished(&mut self, old: &View, new: &View, true_ns: i64) {
        if !old.sounding || old.reign.0 != new.reign.0 {
            return;
        }
        let here = old.map.at(new.map.raw_ns);
        self.runs_on("a listener's time", old.map.shared, here, true_ns);
        let step_ns = new.map.shared.since(here).as_nanos();
        if step_ns == 0 {
            return;
        }
        if new.settling {
            self.figures.coarse_steps += 1;
        } else {
            self.fault(true_ns, format!("a listener's time steps by {step_ns} ns while it sounds"));
        }
    }

    /// Any clock that is read again in the same epoch.
    pub fn runs_on(&mut self, who: &str, before: SharedTime, after: SharedTime, true_ns: i64) {
        if after < before {
            let back_ns = before.since(after).as_nanos();
            self.fault(true_ns, format!("{who} goes back by {back_ns} ns"));
        }
    }
}
