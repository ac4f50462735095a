//! Stamps along the log.

use jam_proto::shard::Outcome;
use jam_proto::sync::floor::AHEAD_MAX;
use jam_proto::wire::log::v1::log_entry::Op;

use super::super::replay::{Replay, Step};
use super::super::verdict::Findings;

/// Each entry's stamp is above the one before, an epoch begins above its floor, and in a room what is heard
/// never moves to before what was announced.
pub fn rise(replay: &Replay<'_>, found: &mut Findings) {
    let mut before: Option<&Step> = None;
    for step in replay.steps() {
        found.judged();
        if let Some(before) = before.filter(|before| before.stamp >= step.stamp) {
            found.broken(
                format!(
                    "log index {} has a stamp that is not above the one before, of {}: {} and {}",
                    step.index, before.index, step.stamp, before.stamp
                ),
                [before.record, step.record],
            );
        }
        // Of those that were taken; one that is too far ahead is cut.
        if let (Some(Op::ClockEpoch(epoch)), Outcome::Epoch) = (&step.op, &step.outcome)
            && step.stamp <= epoch.floor
            && before.is_none_or(|before| epoch.floor.saturating_sub(before.stamp) <= AHEAD_MAX.0)
        {
            found.broken(
                format!("epoch {} at log index {} begins below its floor", epoch.epoch, step.index),
                [step.record],
            );
        }
        before = Some(step);
    }
    for (code, room) in replay.rooms() {
        let mut announced = i64::MIN;
        for (revision, (event, place)) in &room.events {
            let Some(step) = replay.steps().get(*place) else { continue };
            if event.stamp != step.stamp {
                found.broken(
                    format!("event {revision} of {code} is stamped otherwise than the entry that made it"),
                    [step.record],
                );
            }
            let last = std::mem::replace(&mut announced, event.effective_at);
            if event.effective_at < event.stamp || event.effective_at < last {
                found.broken(
                    format!("event {revision} of {code} is heard before what was announced"),
                    [step.record],
                );
            }
        }
    }
}
