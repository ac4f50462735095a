//! What nodes say of shared time, against true time and against the leader.

use std::collections::BTreeMap;

use jam_proto::shard::Outcome;
use jam_proto::sync::Succession;
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1::log_entry::Op;

use super::super::replay::Replay;
use super::super::sound::millis;
use super::super::verdict::Findings;
use super::Bounds;
use crate::history::{History, TimeSample, What};

/// A sample and when it was recorded.
#[derive(Clone, Copy)]
struct Look<'a> {
    said: &'a TimeSample,
    record: usize,
    at_ns: i64,
}

impl Look<'_> {
    /// Flicks since `earlier`, in ns.
    fn since_ns(&self, earlier: &Self) -> i64 {
        Flicks(self.said.shared.saturating_sub(earlier.said.shared)).as_nanos()
    }

    /// True time since `earlier`: at least and at most, ns.
    fn true_ns(&self, earlier: &Self) -> (i64, i64) {
        (self.said.asked_ns - earlier.at_ns, self.at_ns - earlier.said.asked_ns)
    }

    /// By how much shared time ran faster than true time since `earlier`, ns, and how long that was at most.
    fn ahead_ns(&self, earlier: &Self) -> (i64, i64) {
        let shared = self.since_ns(earlier);
        let (least, most) = self.true_ns(earlier);
        (outside(shared, least, most), most)
    }
}

/// How far `value` lies outside of a span; below it: negative.
fn outside(value: i64, least: i64, most: i64) -> i64 {
    if value > most { value - most } else { (value - least).min(0) }
}

/// One leader in one term and epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tenure {
    epoch: u64,
    term: u64,
    node: u64,
    life: u32,
}

impl Tenure {
    fn of(said: &TimeSample) -> Self {
        let TimeSample { epoch, term, node, life, .. } = *said;
        Self { epoch, term, node, life }
    }
}

/// What leaders said, in the order in which it was recorded.
type Tenures<'a> = BTreeMap<Tenure, Vec<Look<'a>>>;

pub fn judge(history: &History, replay: &Replay<'_>, bounds: &Bounds, found: &mut Findings) {
    let records = history.records.iter().enumerate();
    let looks: Vec<Look<'_>> = records
        .filter_map(|(record, one)| match &one.what {
            What::Time(said) => Some(Look { said, record, at_ns: one.at_ns }),
            _ => None,
        })
        .collect();
    let opened = successions(replay);
    let mut tenures = Tenures::new();
    for look in looks.iter().filter(|look| look.said.leads) {
        tenures.entry(Tenure::of(look.said)).or_default().push(*look);
    }
    for (tenure, looks) in &tenures {
        committed(tenure, looks, &opened, replay, found);
        steady(tenure, looks, bounds, found);
    }
    changes(&tenures, bounds, found);
    one_at_a_time(&looks, found);
    for look in looks.iter().filter(|look| !look.said.leads) {
        bound_is_true(look, &tenures, &opened, bounds, found);
    }
}

/// The leaders up to each one that opened, by its epoch and term.
type Successions = BTreeMap<(u64, u64), Succession>;

fn successions(replay: &Replay<'_>) -> Successions {
    let mut opened = Successions::new();
    let mut succession = Succession::default();
    for step in replay.steps() {
        if let (Some(Op::ClockEpoch(epoch)), Outcome::Epoch) = (&step.op, &step.outcome) {
            succession = succession.followed_by(epoch);
            opened.insert((succession.epoch, succession.term), succession);
        }
    }
    opened
}

/// A leader's epoch is committed in its term.
fn committed(
    tenure: &Tenure,
    looks: &[Look<'_>],
    opened: &Successions,
    replay: &Replay<'_>,
    found: &mut Findings,
) {
    if replay.open().is_none() && !opened.contains_key(&(tenure.epoch, tenure.term)) {
        let Tenure { node, epoch, .. } = tenure;
        found.broken(
            format!("node {node} leads in epoch {epoch}, which is not committed in its term"),
            looks.first().map(|look| look.record),
        );
    }
}

/// One leader's time runs on at the rate of true time: from look to look, and since its first one.
fn steady(tenure: &Tenure, looks: &[Look<'_>], bounds: &Bounds, found: &mut Findings) {
    let Some(first) = looks.first() else { return };
    for pair in looks.windows(2) {
        let (before, look) = (&pair[0], &pair[1]);
        found.judged();
        if goes_back(before, look, found) {
            continue;
        }
        for earlier in [before, first] {
            let (ahead_ns, span_ns) = look.ahead_ns(earlier);
            if ahead_ns.abs() <= drift_ns(span_ns, bounds) + bounds.slack_ns {
                continue;
            }
            let ppm = (ahead_ns as f64 * 1e6 / span_ns.max(1) as f64).round();
            let (way, node, span) =
                (if ppm < 0.0 { "slow" } else { "fast" }, tenure.node, millis(span_ns));
            found.broken(
                format!(
                    "shared time of node {node} in term {} runs {} ppm {way}: {} in {span}",
                    tenure.term,
                    ppm.abs(),
                    millis(ahead_ns)
                ),
                [earlier.record, look.record],
            );
            // One such span says it; the next ones would repeat it.
            return;
        }
    }
}

fn goes_back(before: &Look<'_>, look: &Look<'_>, found: &mut Findings) -> bool {
    // What was asked for while the other answer was under way may be the older one.
    let back = look.since_ns(before) < 0 && look.true_ns(before).0 >= 0;
    if back {
        found.broken(
            format!(
                "shared time goes back by {} in epoch {}, from node {} to node {}",
                millis(-look.since_ns(before)),
                look.said.epoch,
                before.said.node,
                look.said.node
            ),
            [before.record, look.record],
        );
    }
    back
}

/// Within an epoch the next leader goes on where the one before was.
fn changes(tenures: &Tenures<'_>, bounds: &Bounds, found: &mut Findings) {
    // In the order of epoch and term.
    for ((one, before), (other, after)) in tenures.iter().zip(tenures.iter().skip(1)) {
        let (Some(before), Some(after)) = (before.last(), after.first()) else { continue };
        if one.epoch != other.epoch || goes_back(before, after, found) {
            continue;
        }
        let (ahead_ns, span_ns) = after.ahead_ns(before);
        if ahead_ns.abs() > drift_ns(span_ns, bounds) + bounds.slack_ns + bounds.phase_ns {
            found.broken(
                format!(
                    "from node {} to node {} in epoch {} shared time steps by {}; {} is the limit",
                    one.node,
                    other.node,
                    one.epoch,
                    millis(ahead_ns),
                    millis(bounds.phase_ns)
                ),
                [before.record, after.record],
            );
        }
    }
}

/// Once a node led in a term, none leads in one below it.
fn one_at_a_time(looks: &[Look<'_>], found: &mut Findings) {
    let mut highest: Option<Look<'_>> = None;
    for look in looks.iter().filter(|look| look.said.leads) {
        if let Some(newer) = highest.filter(|newer| newer.said.term > look.said.term) {
            if look.said.asked_ns >= newer.at_ns {
                found.broken(
                    format!(
                        "node {} still leads in term {}, after node {} led in term {}",
                        look.said.node, look.said.term, newer.said.node, newer.said.term
                    ),
                    [newer.record, look.record],
                );
            }
        } else if highest.is_none_or(|highest| highest.said.term < look.said.term) {
            highest = Some(*look);
        }
    }
}

/// What a follower says of its distance from the leader is true.
fn bound_is_true(
    look: &Look<'_>,
    tenures: &Tenures<'_>,
    opened: &Successions,
    bounds: &Bounds,
    found: &mut Findings,
) {
    let TimeSample { node, epoch, bound_ns, bound_term, .. } = *look.said;
    if epoch == 0 || bound_ns == i64::MAX {
        return;
    }
    let term = look.said.term.max(bound_term);
    // The node may not have heard of the last leaders yet; then their own distance from the one before counts too.
    let unheard_ns = match (opened.get(&(epoch, bound_term)), opened.get(&(epoch, term))) {
        (Some(heard), Some(last)) => last.doubt_from(heard, SharedTime(look.said.shared)).bound_ns,
        _ => return,
    };
    let of_term = Tenure { epoch, term, node: 0, life: 0 }..=Tenure {
        epoch,
        term,
        node: u64::MAX,
        life: u32::MAX,
    };
    let Some((_, leaders)) = tenures.range(of_term).next() else { return };
    // The leader's last look before and its first one after.
    let after = leaders.partition_point(|leader| leader.at_ns <= look.said.asked_ns);
    let (Some(before), Some(next)) =
        (after.checked_sub(1).and_then(|at| leaders.get(at)), leaders.get(after))
    else {
        return;
    };
    found.judged();
    // From the look before and from the one after, the leader's time at this look lies within these.
    let off = |leader: &Look<'_>, least: i64, most: i64| {
        let shared = look.since_ns(leader);
        outside(shared, least - drift_ns(least.abs(), bounds), most + drift_ns(most.abs(), bounds))
            .abs()
    };
    let (least, most) = look.true_ns(before);
    let (next_least, next_most) = next.true_ns(look);
    let off_ns = off(before, least, most).min(off(next, -next_most, -next_least));
    if off_ns > bound_ns.saturating_add(unheard_ns).saturating_add(bounds.slack_ns) {
        found.broken(
            format!(
                "node {node} says that it is at most {} from the leader's time, and is {} off",
                millis(bound_ns),
                millis(off_ns)
            ),
            [before.record, look.record, next.record],
        );
    }
}

fn drift_ns(span_ns: i64, bounds: &Bounds) -> i64 {
    (i128::from(span_ns) * i128::from(bounds.rate_ppm) / 1_000_000) as i64
}
