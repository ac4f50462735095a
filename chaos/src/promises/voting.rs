//! Every place votes again: once nothing is broken any more, each place that the cluster began with has a voter that runs, and
//! no change of the members is left half done. A node that lost its disk, and lost the next one before its successor voted,
//! must not leave the cluster with a majority that can't lose anybody.

use std::collections::BTreeSet;

use super::sound::millis;
use super::verdict::{Findings, Verdict};
use crate::history::{Entry, History, Phase, Voting, What};

/// Judges a history. `within_ns`: so long after the healing a place may still wait.
pub fn judge(history: &History, within_ns: i64) -> Verdict {
    let mut found = Findings::default();
    let Some((healed, healed_ns)) = history.phase(Phase::Healed) else {
        found.open("the run was never healed");
        return found.verdict("");
    };
    let passed_ns = history.end_ns() - healed_ns;
    if passed_ns < within_ns {
        found.open("the run ended too soon after it was healed");
        return found.verdict("");
    }
    let Some((first, last)) = memberships(history) else {
        found.open("nobody recorded who votes");
        return found.verdict("");
    };
    found.judged();
    let (began_with, ends_with) = (Voting::read(first.text), Voting::read(last.text));
    let (Some(began_with), Some(ends_with)) = (began_with, ends_with) else {
        found.open("a record of who votes can't be read");
        return found.verdict("");
    };
    if ends_with.sets > 1 {
        let what = format!(
            "a change of the members is half done {} after all was healed",
            millis(passed_ns)
        );
        found.broken(what, [healed, last.record]);
    }
    let running = running(history);
    for place in began_with.places.keys() {
        let what = match ends_with.places.get(place) {
            Some(node) if running.contains(node) => continue,
            Some(node) => format!("node {node}, the voter of place {place}, is lost or down"),
            None => format!("place {place} has no voter"),
        };
        found.broken(
            format!("{what} {} after all was healed", millis(passed_ns)),
            [healed, last.record],
        );
    }
    found.verdict("nobody recorded who votes")
}

/// A membership as somebody applied it.
#[derive(Clone, Copy)]
struct Membership<'a> {
    index: u64,
    text: &'a str,
    record: usize,
}

/// The first and the last one in the log. Of two at one index the later record counts: that is what the log came to.
fn memberships(history: &History) -> Option<(Membership<'_>, Membership<'_>)> {
    let mut ends: Option<(Membership<'_>, Membership<'_>)> = None;
    for (record, one) in history.records.iter().enumerate() {
        let What::Applied { index, entry: Entry::Membership(text), .. } = &one.what else {
            continue;
        };
        let this = Membership { index: *index, text, record };
        let (first, last) = ends.get_or_insert((this, this));
        if this.index < first.index {
            *first = this;
        }
        if this.index >= last.index {
            *last = this;
        }
    }
    ends
}

/// The nodes whose process runs in the end.
fn running(history: &History) -> BTreeSet<u64> {
    let mut running = BTreeSet::new();
    for record in &history.records {
        match record.what {
            What::Started { node, .. } => drop(running.insert(node)),
            What::Stopped { node, .. } => drop(running.remove(&node)),
            _ => {}
        }
    }
    running
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, members};
    use super::*;
    use crate::history::Stop;

    const WITHIN_NS: i64 = 20_000_000_000;

    fn end(story: &mut Story) -> Verdict {
        story.note(What::Phase(Phase::Healed));
        story.wait_ms(21_000);
        story.note(What::Sometimes { name: "the end".to_owned() });
        judge(&story.history, WITHIN_NS)
    }

    /// The log's next membership: sets of voters, each a node and its place, and learners.
    fn change(story: &mut Story, voters: &[&[(u64, u64)]], learners: &[(u64, u64)]) {
        story.append(Entry::Membership(members(voters, learners)));
    }

    const OLD: &[(u64, u64)] = &[(1, 1), (2, 2), (3, 3)];
    const NEW: &[(u64, u64)] = &[(1, 1), (2, 2), (101, 3)];

    #[test]
    fn a_lost_node_whose_place_votes_again() {
        let mut story = Story::begin();
        end(&mut story.clone()).assert_held();
        let life = story.life(3);
        story.note(What::Stopped { node: 3, life, how: Stop::Wiped });
        change(&mut story, &[OLD], &[(100, 3)]);
        end(&mut story.clone()).assert_broken("node 3, the voter of place 3, is lost or down");
        change(&mut story, &[OLD], &[(101, 3)]);
        story.note(What::Started { node: 101, life: 3 });
        change(&mut story, &[OLD, NEW], &[]);
        end(&mut story.clone()).assert_broken("a change of the members is half done");
        change(&mut story, &[NEW], &[]);
        end(&mut story).assert_held();
    }

    #[test]
    fn a_place_that_never_votes_again() {
        let mut story = Story::begin();
        change(&mut story, &[&OLD[..2]], &[(100, 3)]);
        end(&mut story).assert_broken("place 3 has no voter");
    }

    #[test]
    fn what_is_not_known_is_no_pass() {
        let mut story = Story::begin();
        judge(&story.history, WITHIN_NS).assert_open("never healed");
        story.note(What::Phase(Phase::Healed));
        judge(&story.history, WITHIN_NS).assert_open("ended too soon");
        let mut story = Story::begin();
        story.append(Entry::Membership("nonsense".to_owned()));
        end(&mut story).assert_open("can't be read");
    }
}
