//! Where new clock epochs begin: not far ahead of the last stamp, and not far behind what a leader had said.

use jam_proto::level::FeatureLevel;
use jam_proto::shard::Outcome;
use jam_proto::sync::floor::AHEAD_MAX;
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1::log_entry::Op;

use super::super::replay::{Replay, Step};
use super::super::sound::millis;
use super::super::verdict::Findings;
use super::Bounds;
use crate::history::{History, What};

/// A stamp is counted up from a floor, one flick for each entry.
const COUNTED_UP: Flicks = Flicks(1_000);

/// Judges each epoch that begins after the first one; where it begins at level 1 or above only: the older rules promise nothing
/// of that.
pub fn judge(history: &History, replay: &Replay<'_>, bounds: &Bounds, found: &mut Findings) {
    let mut level = FeatureLevel::FIRST;
    let (mut epoch, mut bumps) = (0, 0);
    let mut before: Option<&Step> = None;
    for step in replay.steps() {
        if let Outcome::Level(raised) = step.outcome {
            level = raised;
        }
        if let (Some(Op::ClockEpoch(opened)), Outcome::Epoch) = (&step.op, &step.outcome) {
            bumps += u64::from(epoch > 0 && opened.epoch > epoch);
            if opened.epoch > epoch && bumps > bounds.bumps_max {
                let epoch = opened.epoch;
                let said = format!("epoch {epoch} begins, and time could have been continued");
                found.broken(said, [step.record]);
            }
            if let Some(before) = before
                && opened.epoch > epoch
                && level >= FeatureLevel::GUARDED
            {
                found.judged();
                cut(opened.epoch, before, step, found);
                if step.mid_song {
                    goes_on(history, epoch, step, bounds, found);
                }
            }
            epoch = epoch.max(opened.epoch);
        }
        before = Some(step);
    }
}

/// Nobody is carried far ahead by a clock that was wrong.
fn cut(epoch: u64, before: &Step, step: &Step, found: &mut Findings) {
    let jump = SharedTime(step.stamp).since(SharedTime(before.stamp));
    if jump > AHEAD_MAX + COUNTED_UP {
        found.broken(
            format!(
                "epoch {epoch} begins {} after the last stamp; {} is the limit",
                millis(jump.as_nanos()),
                millis(AHEAD_MAX.as_nanos())
            ),
            [before.record, step.record],
        );
    }
}

/// Whoever listens hears little twice, since what a leader said of time is not undone, and misses little.
fn goes_on(history: &History, epoch: u64, step: &Step, bounds: &Bounds, found: &mut Findings) {
    let said = history.records.iter().take(step.record).enumerate();
    let said = said.filter_map(|(record, one)| match &one.what {
        What::Time(said) if said.leads && said.epoch == epoch => Some((said, record)),
        _ => None,
    });
    let Some((last, record)) = said.max_by_key(|(said, _)| said.shared) else { return };
    let off_ns = SharedTime(step.stamp).since(SharedTime(last.shared)).as_nanos();
    let passed_ns = history.records[step.record].at_ns - last.asked_ns;
    let (back_ns, ahead_ns) = (-off_ns, off_ns - passed_ns);
    let shown = [record, step.record];
    if back_ns > bounds.back_ns {
        let (by, limit) = (millis(back_ns), millis(bounds.back_ns));
        let said =
            format!("where epoch {epoch} ends shared time goes back by {by}; {limit} is the limit");
        found.broken(said, shown);
    }
    if ahead_ns > bounds.ahead_ns {
        let (by, limit) = (millis(ahead_ns), millis(bounds.ahead_ns));
        let said = format!(
            "where epoch {epoch} ends shared time goes ahead by {by}; {limit} is the limit"
        );
        found.broken(said, shown);
    }
}
