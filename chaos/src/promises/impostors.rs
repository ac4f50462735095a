//! A process on a copy of a data folder, or on the old folder of a node that was replaced, ends by itself and says why. No
//! other process ends for such a reason.

use super::verdict::{Findings, Verdict};
use crate::history::{History, Stop, What};

/// What a node says that must not go on: one that was replaced, or of which another process runs.
const REASONS: [&str; 2] = ["Its data folder must never be used again", "Remove the copy"];

/// Judges a history.
pub fn judge(history: &History) -> Verdict {
    let mut found = Findings::default();
    for (place, record) in history.records.iter().enumerate() {
        match &record.what {
            What::Impostor { what, said } => {
                found.judged();
                match said {
                    Some(said) if gives_a_reason(said) => {}
                    Some(said) => {
                        found.broken(format!("{what} ended for another reason: {said}"), [place]);
                    }
                    None => found.broken(format!("{what} still ran in the end"), [place]),
                }
            }
            What::Stopped { node, how: Stop::Failed { why }, .. } if gives_a_reason(why) => {
                found.broken(format!("node {node} was taken for an impostor: {why}"), [place]);
            }
            _ => {}
        }
    }
    found.verdict("no impostor was started")
}

/// Whether there is something to judge.
pub fn is_told(history: &History) -> bool {
    history.records.iter().any(|record| match &record.what {
        What::Impostor { .. } => true,
        What::Stopped { how: Stop::Failed { why }, .. } => gives_a_reason(why),
        _ => false,
    })
}

fn gives_a_reason(said: &str) -> bool {
    REASONS.iter().any(|reason| said.contains(reason))
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;
    use jam_cluster::unique::evidence::Unfit;

    fn reasons() -> [String; 2] {
        let replaced = Unfit::Replaced { node: 3, place: 3, by: 101 };
        let copied = Unfit::Copied { node: 3, address: None };
        [replaced.to_string(), copied.to_string()]
    }

    fn impostor(said: Option<&str>) -> What {
        let what = "a copy".to_owned();
        What::Impostor { what, said: said.map(str::to_owned) }
    }

    #[test]
    fn an_impostor_ends_by_itself() {
        let mut story = Story::begin();
        assert!(!is_told(&story.history));
        for said in reasons() {
            story.note(impostor(Some(&said)));
        }
        judge(&story.history).assert_held();
        story.note(impostor(Some("can't listen on 127.0.0.1:7703")));
        judge(&story.history).assert_broken("ended for another reason");
        story.note(impostor(None));
        judge(&story.history).assert_broken("still ran in the end");
    }

    #[test]
    fn a_node_that_is_taken_for_one_is_found() {
        let mut story = Story::begin();
        let life = story.life(2);
        let [_, why] = reasons();
        story.note(What::Stopped { node: 2, life, how: Stop::Failed { why } });
        assert!(is_told(&story.history));
        judge(&story.history).assert_broken("node 2 was taken for an impostor");
    }
}
