//! What was acknowledged can be played: in the end, every song that is kept can be fetched whole from every node.

use std::collections::BTreeMap;

use super::operations::operations;
use super::verdict::{Findings, Verdict};
use crate::history::{Answer, History, Request, What};

/// Judges a history in which songs were fetched in the end.
pub fn judge(history: &History) -> Verdict {
    let mut found = Findings::default();
    // By song: the record that says it is kept.
    let mut kept = BTreeMap::new();
    for operation in operations(history) {
        if let (Request::Upload { track }, Some((record, Answer::Stored))) =
            (operation.request, operation.answered)
        {
            kept.entry(track.0.clone()).or_insert(record);
        }
    }
    let mut fetched: BTreeMap<u64, BTreeMap<&[u8], usize>> = BTreeMap::new();
    for (record, one) in history.records.iter().enumerate() {
        let What::Fetched { node, track, wrong } = &one.what else { continue };
        found.judged();
        fetched.entry(*node).or_default().insert(&track.0, record);
        if let Some(wrong) = wrong {
            found.broken(
                format!("song {} can't be fetched from node {node}: {wrong}", track.short()),
                kept.get(&track.0).copied().into_iter().chain([record]),
            );
        }
    }
    for (track, record) in &kept {
        for (node, songs) in &fetched {
            if !songs.contains_key(track.as_slice()) {
                found.open(format!(
                    "nobody tried to fetch a song that is kept (record {record}) from node {node}"
                ));
            }
        }
    }
    found.verdict("no song was fetched in the end")
}

/// Whether a history tells of this promise at all: a simulation fetches nothing in the end.
pub fn is_told(history: &History) -> bool {
    history.records.iter().any(|record| matches!(record.what, What::Fetched { .. }))
}

#[cfg(test)]
mod tests {
    use super::super::story::{Story, TRACK};
    use super::*;
    use crate::history::Hex;

    fn story(wrong: Option<&str>) -> Story {
        let mut story = Story::begin();
        for byte in [7, 8] {
            let op = story.ask("ann", Request::Upload { track: Hex(vec![byte; 32]) });
            story.answer(op, if byte == 7 { Answer::Stored } else { Answer::Unknown });
        }
        for node in 1..=3 {
            let wrong = wrong.filter(|_| node == 2).map(str::to_owned);
            story.note(What::Fetched { node, track: Hex(vec![7; 32]), wrong });
            // The one that stories begin with.
            let track = Hex(TRACK.to_wire());
            story.note(What::Fetched { node, track, wrong: None });
        }
        story
    }

    #[test]
    fn songs_that_are_kept_can_be_fetched() {
        assert!(is_told(&story(None).history) && !is_told(&Story::begin().history));
        judge(&story(None).history).assert_held();
        judge(&story(Some("its bytes are others")).history)
            .assert_broken("song 07070707… can't be fetched from node 2: its bytes are others");
        let mut story = story(None);
        let op = story.ask("ann", Request::Upload { track: Hex(vec![9; 32]) });
        story.answer(op, Answer::Stored);
        judge(&story.history).assert_open("nobody tried to fetch");
    }
}
