//! What listeners say of their clocks, held against the leader's.

use std::collections::BTreeMap;

use jam_proto::time::Flicks;
use jam_proto::wire::log::v1::log_entry::Op;

use super::super::replay::Replay;
use super::super::sound::millis;
use super::super::verdict::Findings;
use super::Bounds;
use super::listener::{Listener, SILENT_NS, STEP_NS, step_ns};
use crate::history::{History, TimeSample, What};

/// Between two looks at a leader that belong together.
const APART_NS_MAX: i64 = 400_000_000;

/// For so long after it knows the time first, or sounds first, a coarse estimate may be put right at once.
const SETTLES_NS: i64 = 6_000_000_000;

/// What leaders said of the time.
pub struct Leaders<'a> {
    /// Record, true time in the middle of when it may have been true, what was said; in order.
    looks: Vec<(usize, i64, &'a TimeSample)>,
    /// By term: what its `ClockEpoch`s said of their error, ns.
    errors: BTreeMap<u64, i64>,
}

impl<'a> Leaders<'a> {
    pub fn of(history: &'a History, replay: &Replay<'_>) -> Self {
        let records = history.records.iter().enumerate();
        let looks = records.filter_map(|(record, one)| match &one.what {
            What::Time(said) if said.leads => {
                Some((record, said.asked_ns + (one.at_ns - said.asked_ns) / 2, said))
            }
            _ => None,
        });
        let mut errors = BTreeMap::new();
        for step in replay.steps() {
            if let Some(Op::ClockEpoch(epoch)) = &step.op {
                *errors.entry(epoch.term).or_default() += epoch.error_bound_ns.max(0);
            }
        }
        Self { looks: looks.collect(), errors }
    }

    /// True times at which another node led.
    pub fn changes(&self) -> impl Iterator<Item = i64> {
        let others = self.looks.windows(2).filter(|pair| pair[0].2.node != pair[1].2.node);
        others.map(|pair| pair[1].1)
    }

    /// The looks before and after a true time, if both are of one leader and near.
    fn around(&self, at_ns: i64) -> Option<[&(usize, i64, &'a TimeSample); 2]> {
        let behind = self.looks.partition_point(|(_, look_ns, _)| *look_ns <= at_ns);
        let (before, after) = (self.looks.get(behind.checked_sub(1)?)?, self.looks.get(behind)?);
        let of_one = |said: &TimeSample| (said.node, said.life, said.term, said.epoch);
        let fits = of_one(before.2) == of_one(after.2) && after.1 - before.1 <= APART_NS_MAX;
        fits.then_some([before, after])
    }
}

/// Once it has settled, a listener's time goes on evenly for as long as the epoch lasts and something sounds.
pub fn even(listener: &Listener<'_>, found: &mut Findings) {
    let mut since_ns = i64::MAX;
    for pair in listener.samples.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let anew = before.2.epoch != after.2.epoch || before.2.shared.is_none();
        let stood_still = after.1 - before.1 > SILENT_NS;
        let silent = before.2.state != "playing" || after.2.state != "playing";
        if after.2.shared.is_none() || anew || stood_still || silent {
            since_ns = after.1;
            continue;
        }
        since_ns = since_ns.min(before.1);
        found.judged();
        let step_ns = step_ns(before, after);
        if step_ns.abs() > STEP_NS && after.1 - since_ns > SETTLES_NS {
            found.broken(
                format!("the clock of {} steps by {}", listener.name(), millis(step_ns)),
                [before.0, after.0],
            );
        }
    }
}

/// A listener's distance from the leader's time is at most what it says.
pub fn judge(
    listener: &Listener<'_>,
    leaders: &Leaders<'_>,
    bounds: &Bounds,
    found: &mut Findings,
) {
    for (record, at_ns, said) in &listener.samples {
        let Some(shared) = said.shared.filter(|_| said.epoch > 0) else { continue };
        let Some([before, after]) = leaders.around(*at_ns) else { continue };
        let leader = before.2;
        if leader.epoch != said.epoch {
            continue;
        }
        found.judged();
        let share = (at_ns - before.1) as f64 / (after.1 - before.1).max(1) as f64;
        let passed = (after.2.shared - leader.shared) as f64 * share;
        let off_ns = Flicks(shared - leader.shared - passed as i64).as_nanos();
        // A leader that the listener has not heard of yet said itself how far off it may be.
        let unheard = leaders.errors.range(said.term + 1..=leader.term.max(said.term + 1));
        let unheard_ns: i64 = unheard.map(|(_, error_ns)| *error_ns).sum();
        // Each look may have been that much before or after what counts as its time.
        let vague_ns = [before, after].map(|(_, at_ns, look)| at_ns - look.asked_ns);
        let slack_ns = bounds.slack_ns + vague_ns[0].max(vague_ns[1]);
        if off_ns.abs() > said.bound_ns.saturating_add(unheard_ns + slack_ns) {
            found.broken(
                format!(
                    "{} says that it is at most {} from the leader's time, and is {} off",
                    listener.name(),
                    millis(said.bound_ns),
                    millis(off_ns)
                ),
                [before.0, *record, after.0],
            );
        }
    }
}
