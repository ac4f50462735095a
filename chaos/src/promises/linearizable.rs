//! Each room is linearizable, asked once more of a search that knows nothing of the log's order.
//!
//! [`super::order`] holds the answers against the order of the log. Here porcupine (Wing and Gong's search with
//! Lowe's cache, <https://arxiv.org/abs/1504.00204>) looks for any order at all in which a room could have given
//! these answers, so a mistake in what we believe of our log can't hide itself. The room is the real
//! [`jam_proto::room::Room`]: it judges each command at the instant that the client was told, and must come
//! to the very reply; what a read told is the room at that place.
//!
//! Of the log is taken only what no client is told: the stamp of a command, which song a track id meant, what
//! the cluster did by itself, and what became of commands whose outcome nobody knows. Of these, what is not in
//! the log never was; the others came to their logged reply at the end of time. All tries of one command
//! are one operation, from the first request to the first reply. Whose process it was doesn't matter to the
//! search: overlaps are told by times alone, so a client that gave up may go on under its name.
//!
//! A search that takes too many steps has no result, which is no pass. Steps are counted, not seconds: the
//! same history has the same verdict on any machine.

mod gather;
mod model;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use porcupine_rs::{check_operations, check_operations_info};

use super::replay::Replay;
use super::verdict::{Findings, Verdict};
use crate::history::History;
use gather::{Gathered, gather};
use model::{Budget, RoomModel, Step};

/// Steps of one room's search that needed the room. A good history needs about one for each operation; three
/// thousand operations in flight ten at a time stay far below, and what the search keeps below 100 MB.
const STEPS_MAX: u64 = 200_000;

/// Judges a history; `replay` is of the same one.
pub fn judge(history: &History, replay: &Replay<'_>) -> Verdict {
    judge_within(STEPS_MAX, history, replay)
}

fn judge_within(steps: u64, history: &History, replay: &Replay<'_>) -> Verdict {
    let mut found = Findings::default();
    // What happened in a hole of the log is not known, so nothing behind it can be explained.
    if let Some(why) = replay.open() {
        found.open(why);
        return found.verdict("");
    }
    for (code, operations) in gather(history, replay, &mut found) {
        for _ in operations.iter().filter(|one| one.returned.is_some()) {
            found.judged();
        }
        search(&code, &operations, history.records.len(), steps, &mut found);
    }
    found.verdict("no command and no read was answered")
}

/// Looks for an order of one room's operations; `end` is after all records.
fn search(code: &str, operations: &[Gathered], end: usize, steps_max: u64, found: &mut Findings) {
    let budget = Budget::of(steps_max);
    let mut steps = searched(operations, end, &budget);
    if check_operations(&steps) {
        return;
    }
    if budget.is_spent() {
        found.open(format!(
            "no order of the {} operations in {code} was found within {steps_max} steps",
            operations.len()
        ));
        return;
    }
    // Once more, as far as it gets: what is left behind then is what does not fit.
    let budget = Budget::of(steps_max);
    for step in &mut steps {
        (step.op.before, step.op.budget) = (None, budget.clone());
    }
    let (_, info) = check_operations_info(&steps);
    let orders = info.partial_linearizations.into_iter().flatten();
    let longest = orders.max_by_key(Vec::len).unwrap_or_default();
    let left = (0..operations.len()).filter(|place| !longest.contains(place));
    let first = left.min_by_key(|&place| operations[place].returned.unwrap_or(end));
    // It is illegal, so something is left.
    let Some(stuck) = first.map(|place| &operations[place]) else { return };
    let (after, shown_by) = match longest.last().map(|&place| &operations[place]) {
        Some(last) => (format!("after {}", last.name), [last.records(), stuck.records()].concat()),
        None => ("at the begin".to_owned(), stuck.records()),
    };
    found.broken(
        format!(
            "in {code}, no order explains {}: {} of {} operations fit, and it does not {after}",
            stuck.name,
            longest.len(),
            operations.len()
        ),
        shown_by,
    );
}

/// The operations as porcupine takes them. Records are its times: no two things happened at one.
fn searched(
    operations: &[Gathered],
    end: usize,
    budget: &Arc<Budget>,
) -> Vec<porcupine_rs::Operation<RoomModel>> {
    let mut told: BTreeMap<u64, usize> = BTreeMap::new();
    for one in operations {
        *told.entry(one.revision).or_default() += 1;
    }
    let below = |revision: u64| told.get(&revision.checked_sub(1)?).copied();
    let time = |record: usize| i64::try_from(record).unwrap_or(i64::MAX);
    let step = |one: &Gathered| Step {
        act: one.act.clone(),
        revision: one.revision,
        before: Some(below(one.revision).unwrap_or(0)),
        budget: budget.clone(),
    };
    operations
        .iter()
        .map(|one| porcupine_rs::Operation {
            client_id: None,
            call_time: one.called.map_or(-1, time),
            return_time: time(one.returned.unwrap_or(end)),
            op: step(one),
            metadata: None,
        })
        .collect()
}
