//! All nodes agree: on each entry of the log, on what it makes of the rooms, and on who led when. What
//! one of them applied is never lost and never changes.

use std::collections::BTreeMap;

use super::replay::Replay;
use super::verdict::{Findings, Verdict};
use crate::history::{Digest, Entry, History, What};

/// Judges a history; `replay` is of the same one.
pub fn judge(history: &History, replay: &Replay<'_>) -> Verdict {
    let mut found = Findings::default();
    unchanged(history, replay, &mut found);
    terms_rise(replay, &mut found);
    one_leader_a_term(history, &mut found);
    nothing_skipped(history, replay, &mut found);
    equal_states(history, replay, &mut found);
    if let Some(why) = replay.open() {
        found.open(why);
    }
    found.verdict("no node applied anything")
}

fn unchanged(history: &History, replay: &Replay<'_>, found: &mut Findings) {
    for changed in replay.changed() {
        let side = |record: usize| match &history.records[record].what {
            What::Applied { node, life, term, entry, .. } => {
                format!("node {node} (life {life}) applied {} of term {term}", kind(entry))
            }
            other => other.to_string(),
        };
        let (before, after) = (side(changed.before), side(changed.after));
        found.broken(
            format!("at log index {}, {before}, and later {after}: they differ", changed.index),
            [changed.before, changed.after],
        );
    }
}

fn kind(entry: &Entry) -> &'static str {
    match entry {
        Entry::Blank => "a blank",
        Entry::Membership(_) => "a membership",
        Entry::Batch(_) => "a batch",
    }
}

fn terms_rise(replay: &Replay<'_>, found: &mut Findings) {
    let log = replay.log().iter();
    for ((index, one), (next, other)) in log.clone().zip(log.skip(1)) {
        if other.term < one.term {
            found.broken(
                format!(
                    "the term falls along the log, from {} at {index} to {} at {next}",
                    one.term, other.term
                ),
                [one.record, other.record],
            );
        }
    }
}

/// A term has one leader; and one that was restarted comes through an election, into another term.
fn one_leader_a_term(history: &History, found: &mut Findings) {
    let mut leaders: BTreeMap<u64, (u64, u32, usize)> = BTreeMap::new();
    for (record, what) in history.records.iter().map(|record| &record.what).enumerate() {
        let (node, life, term) = match what {
            What::Leads { node, life, term } => (*node, *life, *term),
            What::Time(sample) if sample.leads => (sample.node, sample.life, sample.term),
            _ => continue,
        };
        let (leader, since_life, since) = *leaders.entry(term).or_insert((node, life, record));
        if leader != node {
            found.broken(
                format!("nodes {leader} and {node} both lead in term {term}"),
                [since, record],
            );
        } else if life != since_life {
            found.broken(
                format!("node {node} was restarted and leads in term {term} again"),
                [since, record],
            );
        }
    }
}

/// A life of a node applies one entry after the other, from the log's begin or from a snapshot on.
fn nothing_skipped(history: &History, replay: &Replay<'_>, found: &mut Findings) {
    let mut lives: BTreeMap<(u64, u32), (u64, usize)> = BTreeMap::new();
    for (record, what) in history.records.iter().map(|record| &record.what).enumerate() {
        match what {
            What::Applied { node, life, index, .. } => {
                found.judged();
                let before = lives.insert((*node, *life), (*index, record));
                match before {
                    None if *index > 1 => found.broken(
                        format!("node {node} (life {life}) began with log index {index}, without a snapshot"),
                        [record],
                    ),
                    Some((before, since)) if *index != before + 1 => found.broken(
                        format!("node {node} (life {life}) applied {index} right after {before}"),
                        [since, record],
                    ),
                    _ => {}
                }
            }
            What::Installed { node, life, index, term } => {
                let before = lives.insert((*node, *life), (*index, record));
                if let Some((before, since)) = before.filter(|(before, _)| before > index) {
                    found.broken(
                        format!(
                            "node {node} (life {life}) had applied {before} and went back to a snapshot up to {index}"
                        ),
                        [since, record],
                    );
                }
                let entry = replay.log().get(index).filter(|entry| entry.term != *term);
                if let Some(entry) = entry {
                    found.broken(
                        format!(
                            "node {node} took over a snapshot up to {index} of term {term}, but the log has term {} there",
                            entry.term
                        ),
                        [entry.record, record],
                    );
                }
            }
            _ => {}
        }
    }
}

fn equal_states(history: &History, replay: &Replay<'_>, found: &mut Findings) {
    let mut told: BTreeMap<u64, (u64, Digest, usize)> = BTreeMap::new();
    for (record, what) in history.records.iter().map(|record| &record.what).enumerate() {
        let What::Digest { node, index, digest, .. } = what else { continue };
        let (first, known, since) = *told.entry(*index).or_insert((*node, *digest, record));
        if known != *digest {
            found.broken(
                format!("nodes {first} and {node} have different states at log index {index}"),
                [since, record],
            );
        } else if replay.digest(*index).is_some_and(|replayed| replayed != *digest) {
            found.broken(
                format!("the state of node {node} at log index {index} is not what the log makes"),
                [record],
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;
    use crate::history::{Record, TimeSample};

    fn verdict(story: &Story) -> Verdict {
        judge(&story.history, &Replay::of(&story.history))
    }

    fn change(story: &mut Story, mut edit: impl FnMut(&mut Record) -> bool) {
        let found = story.history.records.iter_mut().any(&mut edit);
        assert!(found, "there is something to spoil");
    }

    #[test]
    fn a_quiet_run_holds() {
        let mut story = Story::begin();
        story.enqueue("ann");
        story.restart(2);
        story.enqueue("ann");
        verdict(&story).assert_held();
    }

    #[test]
    fn a_snapshot_covers_what_others_applied() {
        let mut story = Story::begin();
        story.isolate(3);
        story.enqueue("ann");
        story.enqueue("ann");
        story.install(3);
        story.enqueue("ann");
        verdict(&story).assert_held();
    }

    #[test]
    fn a_hole_is_no_pass() {
        let mut story = Story::begin();
        story.enqueue("ann");
        let lost = story.index;
        story.enqueue("ann");
        story
            .history
            .records
            .retain(|record| !matches!(record.what, What::Applied { index, .. } if index == lost));
        // What is left looks as if snapshots had covered it.
        for node in 1..=3 {
            let place = story.history.records.len() - 1;
            let place = (0..place)
                .find(|&at| {
                    let what = &story.history.records[at].what;
                    matches!(what, What::Applied { node: of, index, .. } if *of == node && *index == lost + 1)
                })
                .expect("the next one was applied");
            let installed = What::Installed { node, life: 1, index: lost, term: 1 };
            let at_ns = story.history.records[place].at_ns;
            story.history.records.insert(place, Record { at_ns, what: installed });
        }
        verdict(&story).assert_open("no node's record holds the log");
    }

    #[test]
    fn other_bytes_at_one_index() {
        let mut story = Story::begin();
        story.enqueue("ann");
        let last = story.index;
        change(&mut story, |record| match &mut record.what {
            What::Applied { node: 3, index, entry: Entry::Batch(bytes), .. } if *index == last => {
                bytes.0.pop();
                true
            }
            _ => false,
        });
        verdict(&story).assert_broken("they differ");
    }

    #[test]
    fn an_applied_tail_lost_in_a_power_cut() {
        let mut story = Story::begin();
        story.enqueue("ann");
        story.forget_last();
        for node in 1..=3 {
            story.restart(node);
        }
        story.elect(2);
        verdict(&story).assert_broken("node 1 (life 2) applied a blank of term 2: they differ");
    }

    #[test]
    fn two_leaders_in_a_term() {
        let mut story = Story::begin();
        let sample = TimeSample { node: 2, leads: true, ..story.sample(1) };
        story.note(What::Time(sample));
        verdict(&story).assert_broken("nodes 1 and 2 both lead in term 1");
    }

    #[test]
    fn a_restarted_leader_that_leads_on() {
        let mut story = Story::begin();
        story.restart(1);
        story.note(What::Leads { node: 1, life: 2, term: 1 });
        verdict(&story).assert_broken("node 1 was restarted and leads in term 1 again");
    }

    #[test]
    fn a_skipped_entry_and_a_rewound_state() {
        let mut story = Story::begin();
        story.enqueue("ann");
        let last = story.index;
        story.enqueue("ann");
        let mut skipped = story.clone();
        skipped.history.records.retain(
            |record| !matches!(record.what, What::Applied { node: 2, index, .. } if index == last),
        );
        verdict(&skipped).assert_broken("node 2 (life 1) applied");
        story.note(What::Installed { node: 2, life: 1, index: last, term: 1 });
        verdict(&story).assert_broken("went back to a snapshot");
    }

    #[test]
    fn states_that_differ() {
        let mut story = Story::begin();
        story.enqueue("ann");
        let spoil = |record: &mut Record| match &mut record.what {
            What::Digest { node: 2, digest, .. } => {
                digest.0[0] ^= 1;
                true
            }
            _ => false,
        };
        let mut alone = story.clone();
        change(&mut story, spoil);
        verdict(&story).assert_broken("nodes 1 and 2 have different states");
        // Also if they are all wrong in the same way.
        for record in &mut alone.history.records {
            if let What::Digest { digest, .. } = &mut record.what {
                digest.0[0] ^= 1;
            }
        }
        verdict(&alone).assert_broken("is not what the log makes");
    }
}
