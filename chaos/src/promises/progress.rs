//! Things go on: with a healthy majority commands are acknowledged, however broken the rest is; and once
//! nothing is broken any more, all nodes and all watchers come to the same.

mod together;

use super::operations::operations;
use super::replay::Replay;
use super::sound::millis;
use super::stalls::Stalls;
use super::verdict::{Findings, Verdict};
use crate::history::{Answer, History, Phase};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From when commands are waiting, until one is acknowledged, ns of true time.
    pub acknowledged_ns: i64,
    /// From the end of all faults, until everybody has what was committed by then, ns of true time.
    pub together_ns: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        // A client that lost its node finds the next one within some seconds; a node that was away takes a
        // snapshot.
        Self { acknowledged_ns: 10_000_000_000, together_ns: 20_000_000_000 }
    }
}

/// Judges a history; `replay` is of the same one.
pub fn judge(history: &History, replay: &Replay<'_>, bounds: &Bounds) -> Verdict {
    let mut found = Findings::default();
    let healed = history.phase(Phase::Healed);
    match history.phase(Phase::Liveness) {
        Some((begin, _)) => {
            let end = healed.map_or(history.records.len(), |(healed, _)| healed);
            acknowledged(history, begin, end, bounds, &mut found);
        }
        None => found.open("the run had no phase in which things must happen"),
    }
    match healed {
        Some((place, healed_ns)) => {
            together::judge(history, replay, place, healed_ns, bounds, &mut found)
        }
        None => found.open("the run was never healed"),
    }
    found.verdict("nothing had to happen")
}

/// Between two records, no command waits for longer than the bound without any being acknowledged.
fn acknowledged(
    history: &History,
    begin: usize,
    end: usize,
    bounds: &Bounds,
    found: &mut Findings,
) {
    let (operations, stalls) = (operations(history), Stalls::of(history));
    let at_ns = |record: usize| history.records[record].at_ns;
    let begin_ns = at_ns(begin);
    let end_ns = if end < history.records.len() { at_ns(end) } else { history.end_ns() };
    let mut asked: Vec<usize> =
        operations.iter().map(|one| one.invoked).filter(|&at| at < end).collect();
    let mut done: Vec<usize> = operations
        .iter()
        .filter_map(|one| match one.answered {
            Some((record, Answer::Reply(_) | Answer::Opened | Answer::Stored)) => Some(record),
            _ => None,
        })
        .filter(|record| (begin..end).contains(record))
        .collect();
    asked.sort_unstable();
    done.sort_unstable();
    let mut since = begin;
    let mut judged = false;
    for next in done.iter().copied().map(Some).chain([None]) {
        // What waits: what was asked for since. Clients ask again and again, so whatever waited before is
        // asked for again too.
        let from = asked[asked.partition_point(|&one| one < since)..].first();
        let until_ns = next.map_or(end_ns, at_ns);
        if let Some(&from) = from.filter(|&&from| next.is_none_or(|next| from < next)) {
            judged |= next.is_some();
            let from_ns = at_ns(from).max(begin_ns);
            let waited_ns = until_ns - from_ns;
            let (stalled, cost_ns) = stalls.within(from_ns, until_ns);
            if waited_ns > bounds.acknowledged_ns && waited_ns - cost_ns <= bounds.acknowledged_ns {
                found.open(stood_still(stalled, "while commands waited to be acknowledged"));
            } else if waited_ns > bounds.acknowledged_ns {
                found.broken(
                    format!(
                        "nothing was acknowledged for {} with a healthy majority; {} is the limit",
                        millis(waited_ns),
                        millis(bounds.acknowledged_ns)
                    ),
                    [since, from].into_iter().chain(next),
                );
            }
        }
        since = next.unwrap_or(end);
    }
    if judged {
        found.judged();
    } else {
        found.open("nothing was asked for and acknowledged while a healthy majority was there");
    }
}

/// Why something can't be told of a machine that stood still.
fn stood_still(stalls: usize, when: &str) -> String {
    let times = if stalls == 1 { "once" } else { &format!("{stalls} times") };
    format!("the machine itself stood still {times} {when}")
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;
    use crate::history::{Got, What};

    fn verdict(story: &Story) -> Verdict {
        judge(&story.history, &Replay::of(&story.history), &Bounds::default())
    }

    fn story() -> Story {
        let mut story = Story::begin();
        story.watch(1, 3, 0);
        story.isolate(3);
        story.wait_ms(60_000);
        story.note(What::Phase(Phase::Liveness));
        for _ in 0..3 {
            story.wait_ms(9_000);
            story.enqueue("ann");
        }
        story.note(What::Phase(Phase::Healed));
        story
    }

    /// All get what was missed, and the run goes on for a while.
    fn end(story: &mut Story) {
        story.wait_ms(15_000);
        story.enqueue("ann");
        story.wait_ms(15_000);
        story.enqueue("ann");
        story.wait_ms(15_000);
        story.note(What::Sometimes { name: "the end".to_owned() });
    }

    #[test]
    fn a_run_that_goes_on_holds() {
        let mut story = story();
        story.install(3);
        end(&mut story);
        verdict(&story).assert_held();
    }

    #[test]
    fn nothing_is_acknowledged() {
        let mut story = story();
        story.install(3);
        end(&mut story);
        let mut slow = story.clone();
        let (begin, _) = story.history.phase(Phase::Liveness).expect("it began");
        for record in &mut story.history.records[begin..] {
            if let What::Answered { answer, .. } = &mut record.what {
                *answer = Answer::Unknown;
            }
        }
        verdict(&story).assert_broken("nothing was acknowledged for 18");
        // Acknowledged, but late.
        let answered =
            |record: &crate::history::Record| matches!(record.what, What::Answered { .. });
        let first =
            begin + slow.history.records[begin..].iter().position(answered).expect("an answer");
        for record in &mut slow.history.records[first..] {
            record.at_ns += 11_000_000_000;
        }
        verdict(&slow).assert_broken("nothing was acknowledged for 11");
    }

    #[test]
    fn a_machine_that_stood_still_tells_nothing() {
        let mut story = story();
        story.install(3);
        end(&mut story);
        let (begin, begin_ns) = story.history.phase(Phase::Liveness).expect("it began");
        for record in &mut story.history.records[begin..] {
            if let What::Answered { answer, .. } = &mut record.what {
                *answer = Answer::Unknown;
            }
        }
        let stall = |from_s: i64, until_s: i64| {
            let [from_ns, until_ns] = [from_s, until_s].map(|at| begin_ns + at * 1_000_000_000);
            What::Stalled { from_ns, until_ns }
        };
        let mut short = story.clone();
        short.note(stall(10, 11));
        verdict(&short).assert_broken("nothing was acknowledged for 18");
        story.note(stall(10, 18));
        verdict(&story).assert_open("the machine itself stood still once while commands waited");
    }

    #[test]
    fn a_node_that_stays_behind() {
        let mut story = story();
        end(&mut story);
        verdict(&story).assert_broken(
            "node 3 had applied 6 20000.0 ms after all was healed, and log index 9 was committed",
        );
    }

    #[test]
    fn a_node_that_stops_following_later() {
        let mut story = story();
        story.install(3);
        story.isolate(3);
        end(&mut story);
        verdict(&story).assert_broken("node 3 had applied 9");
    }

    #[test]
    fn a_watcher_that_stays_behind() {
        let mut story = story();
        story.install(3);
        end(&mut story);
        story
            .history
            .records
            .retain(|record| !matches!(record.what, What::Watched { got: Got::Events(_), .. }));
        verdict(&story).assert_broken("watcher 1 had revision 1 of ABCD-EFGH-JKMN");
    }

    #[test]
    fn states_that_differ_in_the_end() {
        let mut story = story();
        story.install(3);
        end(&mut story);
        for record in &mut story.history.records {
            if let What::Digest { node: 2, digest, .. } = &mut record.what {
                digest.0[0] ^= 1;
            }
        }
        verdict(&story).assert_broken("nodes 1 and 2 have different states in the end");
    }

    #[test]
    fn what_was_not_tried_is_no_pass() {
        let story = Story::begin();
        verdict(&story).assert_open("no phase in which things must happen");
        verdict(&story).assert_open("never healed");
        let mut story = self::story();
        story.install(3);
        verdict(&story).assert_open("ended too soon");
    }
}
