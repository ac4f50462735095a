//! Nodes come back: no crash and no power cut costs a node its disk, none panics, and when nothing is broken any more each
//! one runs. A node whose files were damaged may give its disk up, which is then replaced.

use std::collections::BTreeMap;

use super::verdict::{Findings, Verdict};
use crate::history::{History, Phase, Stop, What};

/// What a node says that will not use its disk again.
const GIVEN_UP: &str = "Move the data folder away";

/// Judges a history.
pub fn judge(history: &History) -> Verdict {
    let mut found = Findings::default();
    // By node: the record of its last stop, if it is down.
    let mut down: BTreeMap<u64, Option<usize>> = BTreeMap::new();
    let mut damaged = false;
    for (place, record) in history.records.iter().enumerate() {
        match &record.what {
            What::Damaged { .. } => damaged = true,
            What::Panicked { said, .. } if is_of_a_disk(said) => {}
            What::Panicked { process, said } => {
                found.broken(format!("{process} panicked: {said}"), [place]);
            }
            What::Started { node, .. } => {
                found.judged();
                down.insert(*node, None);
            }
            // Another node takes its place.
            What::Stopped { node, how: Stop::Wiped, .. } => drop(down.remove(node)),
            What::Stopped { node, how, .. } => {
                if let Stop::Failed { why } = how
                    && why.contains(GIVEN_UP)
                    && !damaged
                {
                    found.broken(format!("node {node} gave its disk up: {why}"), [place]);
                }
                if let Some(stopped) = down.get_mut(node) {
                    *stopped = Some(place);
                }
            }
            _ => {}
        }
    }
    if history.phase(Phase::Healed).is_some() {
        for (node, stopped) in down {
            if let Some(place) = stopped {
                let what =
                    format!("node {node} is down in the end, and nothing is broken any more");
                found.broken(what, [place]);
            }
        }
    }
    found.verdict("no node was started")
}

/// sled panics where its disk fails. To whoever waits for it that is an error like any other, and the node stops.
fn is_of_a_disk(said: &str) -> bool {
    said.contains("/sled-") && said.contains("Input/output error")
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;

    #[test]
    fn a_node_that_gives_its_disk_up_is_found() {
        let mut story = Story::begin();
        story.note(What::Phase(Phase::Healed));
        judge(&story.history).assert_held();
        let why = format!("the disk has lost data. {GIVEN_UP}, and so on");
        let life = story.life(2);
        story.note(What::Stopped { node: 2, life, how: Stop::Failed { why } });
        let verdict = judge(&story.history);
        verdict.assert_broken("node 2 gave its disk up");
        verdict.assert_broken("node 2 is down in the end");
    }

    #[test]
    fn a_node_that_was_replaced_is_not_missed() {
        let mut story = Story::begin();
        let life = story.life(3);
        story.note(What::Stopped { node: 3, life, how: Stop::Wiped });
        story.note(What::Phase(Phase::Healed));
        judge(&story.history).assert_held();
    }
}
