//! Once nothing is broken any more, all nodes and all watchers come to the same.

use std::collections::BTreeMap;

use jam_proto::wire::v1::{Event, RoomSnapshot};
use prost::Message;

use super::super::replay::Replay;
use super::super::sound::millis;
use super::super::stalls::Stalls;
use super::super::verdict::Findings;
use super::{Bounds, stood_still};
use crate::history::{Digest, Got, History, What};

/// Judges what follows the record `healed`, which was written at `healed_ns`.
pub fn judge(
    history: &History,
    replay: &Replay<'_>,
    healed: usize,
    healed_ns: i64,
    bounds: &Bounds,
    found: &mut Findings,
) {
    let end_ns = history.end_ns();
    if end_ns - healed_ns < bounds.together_ns {
        found.open("the run ended too soon after it was healed");
        return;
    }
    let stalls = Stalls::of(history);
    // Once after the healing, and once at the very end.
    for (from_ns, until_ns) in
        [(healed_ns, healed_ns + bounds.together_ns), (end_ns - bounds.together_ns, end_ns)]
    {
        let (stalled, cost_ns) = stalls.within(from_ns, until_ns);
        if cost_ns > bounds.together_ns / 2 {
            found.open(stood_still(stalled, "when all had to come to the same"));
            continue;
        }
        let mut check = Check { from_ns, until_ns, top: None };
        check.nodes(history, healed, found);
        check.watchers(history, replay, healed, found);
    }
    equal_at_the_end(history, found);
}

/// A node's process that runs.
#[derive(Default)]
struct Node {
    life: u32,
    applied: Option<u64>,
    /// The record of it.
    last: usize,
    told: Option<(u64, Digest, usize)>,
}

/// Everybody has by `until_ns` what anybody had applied by `from_ns`.
struct Check {
    from_ns: i64,
    until_ns: i64,
    /// The highest index applied by `from_ns`, and its record.
    top: Option<(u64, usize)>,
}

impl Check {
    fn nodes(&mut self, history: &History, healed: usize, found: &mut Findings) {
        let mut nodes = BTreeMap::new();
        for (record, one) in history.records.iter().enumerate() {
            if one.at_ns > self.until_ns {
                break;
            }
            run(&mut nodes, record, &one.what);
            if let What::Applied { index, .. } = &one.what
                && one.at_ns <= self.from_ns
                && self.top.is_none_or(|(top, _)| top < *index)
            {
                self.top = Some((*index, record));
            }
        }
        let Some((top, at)) = self.top else { return };
        for (node, state) in nodes {
            found.judged();
            if state.applied.is_none_or(|applied| applied < top) {
                let applied = state.applied.map_or("nothing".to_owned(), |index| index.to_string());
                found.broken(
                    format!(
                        "node {node} had applied {applied} {} after all was healed, and log index {top} was committed",
                        millis(self.until_ns - history.records[healed].at_ns)
                    ),
                    [healed, at, state.last],
                );
            }
        }
    }

    /// A watcher whose stream is open has all the events.
    fn watchers(
        &self,
        history: &History,
        replay: &Replay<'_>,
        healed: usize,
        found: &mut Findings,
    ) {
        let Some((top, at)) = self.top.filter(|_| replay.open().is_none()) else { return };
        let mut watchers: BTreeMap<u64, (&str, u64, usize)> = BTreeMap::new();
        let records = history.records.iter().enumerate();
        for (record, one) in records.take_while(|(_, one)| one.at_ns <= self.until_ns) {
            match &one.what {
                What::Watch { watcher, room, after, .. } => {
                    watchers.insert(*watcher, (room.as_str(), *after, record));
                }
                What::Watched { watcher, got } => {
                    if let Some((_, have, last)) = watchers.get_mut(watcher) {
                        *have = (*have).max(revision_of(got));
                        *last = record;
                    }
                }
                What::WatchEnded { watcher, .. } => {
                    watchers.remove(watcher);
                }
                _ => {}
            }
        }
        let steps = replay.steps().partition_point(|step| step.index <= top);
        for (watcher, (code, have, last)) in watchers {
            let made = replay
                .room(code)
                .map_or(0, |room| steps.checked_sub(1).map_or(0, |last| room.revision_after(last)));
            if have < made {
                found.broken(
                    format!(
                        "watcher {watcher} had revision {have} of {code} {} after all was healed, and revision {made} was committed",
                        millis(self.until_ns - history.records[healed].at_ns)
                    ),
                    [healed, at, last],
                );
            }
        }
    }
}

fn revision_of(got: &Got) -> u64 {
    match got {
        Got::Snapshot(bytes) => {
            RoomSnapshot::decode(bytes.0.as_slice()).map_or(0, |room| room.revision)
        }
        Got::Events(events) => {
            let last = events.last().and_then(|bytes| Event::decode(bytes.0.as_slice()).ok());
            last.map_or(0, |event| event.revision)
        }
        Got::Progress { revision, .. } => *revision,
    }
}

fn run(nodes: &mut BTreeMap<u64, Node>, record: usize, what: &What) {
    match what {
        What::Started { node, life } => {
            nodes.insert(*node, Node { life: *life, last: record, ..Node::default() });
        }
        What::Stopped { node, life, .. }
            if nodes.get(node).is_some_and(|one| one.life == *life) =>
        {
            nodes.remove(node);
        }
        What::Applied { node, life, index, .. } | What::Installed { node, life, index, .. } => {
            if let Some(one) = nodes.get_mut(node).filter(|one| one.life == *life) {
                (one.applied, one.last) = (Some(*index), record);
            }
        }
        What::Digest { node, life, index, digest } => {
            if let Some(one) = nodes.get_mut(node).filter(|one| one.life == *life) {
                one.told = Some((*index, *digest, record));
            }
        }
        _ => {}
    }
}

/// Where the last digests of two nodes are of one index, they are equal; where they are not, nothing is known.
fn equal_at_the_end(history: &History, found: &mut Findings) {
    let mut nodes = BTreeMap::new();
    for (record, one) in history.records.iter().enumerate() {
        run(&mut nodes, record, &one.what);
    }
    let mut first: Option<(u64, u64, Digest, usize)> = None;
    for (node, state) in nodes {
        let Some((index, digest, record)) =
            state.told.filter(|(index, ..)| Some(*index) == state.applied)
        else {
            found.open(format!("node {node} did not tell what its state was in the end"));
            continue;
        };
        let (other, at, known, since) = *first.get_or_insert((node, index, digest, record));
        if at != index {
            found.open(format!(
                "nodes {other} and {node} told their last states at different log indexes"
            ));
        } else if known != digest {
            found.broken(
                format!("nodes {other} and {node} have different states in the end, both at log index {index}"),
                [since, record],
            );
        }
    }
}
