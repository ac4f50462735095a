//! What a batch of runs must reach now and then. A batch that never lost a leader in mid-song proves nothing
//! about losing one.

use std::collections::BTreeMap;

use jam_proto::wire::log::v1::log_entry::Op;
use serde::Serialize;

use super::hearing;
use super::replay::Replay;
use super::verdict::Verdict;
use crate::history::{History, Sound, Stop, What};

/// A listener heard a song, or a part of one.
pub const MUSIC_HEARD: &str = "music heard";
/// Another node leads.
pub const LEADER_CHANGED: &str = "leader changed";
/// … while a song played.
pub const LEADER_CHANGED_IN_MID_SONG: &str = "leader changed in mid-song";
/// A node that was behind took another one's snapshot.
pub const SNAPSHOT_INSTALLED: &str = "snapshot installed";
/// A command came into the log again, and its room did not hear of it.
pub const RETRY_DEDUPLICATED: &str = "retry deduplicated";
/// A command failed since its room had moved on.
pub const CONFLICT: &str = "conflict";
/// Shared time could not be continued.
pub const EPOCH_BUMPED: &str = "epoch bumped";
/// … and a listener heard nothing of it.
pub const PLAYED_ON: &str = "played on through a leader change";
/// A listener left a node that was cut off or late for one that was up to date.
pub const LEFT_OUTDATED_NODE: &str = "listener left an outdated node";
/// A node that lost its disk was replaced.
pub const NODE_REPLACED: &str = "node replaced after losing its disk";
/// A song's file was damaged on one node, and every node served the song whole in the end.
pub const SONG_REPAIRED: &str = "song repaired";

/// Songs that were damaged somewhere and could be fetched whole from everywhere afterwards.
fn repaired(history: &History) -> usize {
    let mut damaged: Vec<&str> = Vec::new();
    let mut whole: BTreeMap<String, bool> = BTreeMap::new();
    for record in &history.records {
        match &record.what {
            What::Damaged { what, .. } if what.starts_with("songs/") => damaged.push(what),
            What::Fetched { track, wrong, .. } => {
                let name: String = track.0.iter().map(|byte| format!("{byte:02x}")).collect();
                *whole.entry(name).or_insert(true) &= wrong.is_none();
            }
            _ => {}
        }
    }
    let is_whole = |what: &&&str| whole.iter().any(|(name, whole)| *whole && what.contains(name));
    damaged.iter().filter(is_whole).count()
}

/// How often each thing happened, in one run or in many. What the history tells by itself is counted
/// from that; the rest is what [`What::Sometimes`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Counts in a history; `replay` is of the same one.
    pub fn of(history: &History, replay: &Replay<'_>) -> Self {
        let mut counters = Self::default();
        let wiped = counters.records(history);
        counters.steps(replay, wiped);
        (0..repaired(history)).for_each(|_| counters.add(SONG_REPAIRED));
        (0..hearing::played_through(history, replay)).for_each(|_| counters.add(PLAYED_ON));
        counters
    }

    /// True: some node lost its disk.
    fn records(&mut self, history: &History) -> bool {
        let mut leader = None;
        let mut had: BTreeMap<u64, u64> = BTreeMap::new();
        let mut wiped = false;
        for record in &history.records {
            match &record.what {
                What::Sometimes { name } => self.add(name),
                What::Leads { node, .. } => {
                    let before = leader.replace(*node);
                    if before.is_some_and(|before| before != *node) {
                        self.add(LEADER_CHANGED);
                    }
                }
                What::Applied { node, index, .. } => {
                    let had = had.entry(*node).or_default();
                    *had = (*had).max(*index);
                }
                // After a start a node takes its own one, of what it had applied before.
                What::Installed { node, index, .. }
                    if had.get(node).is_none_or(|had| had < index) =>
                {
                    self.add(SNAPSHOT_INSTALLED);
                }
                What::Heard(stretch) if matches!(stretch.sound, Sound::Song { .. }) => {
                    self.add(MUSIC_HEARD);
                }
                What::Stopped { how: Stop::Wiped, .. } => wiped = true,
                _ => {}
            }
        }
        wiped
    }

    fn steps(&mut self, replay: &Replay<'_>, wiped: bool) {
        let mut epoch = None;
        let mut leader = None;
        for step in replay.steps() {
            match &step.op {
                Some(Op::ClockEpoch(opened)) => {
                    if epoch.replace(opened.epoch).is_some_and(|before| before < opened.epoch) {
                        self.add(EPOCH_BUMPED);
                    }
                    let changed =
                        leader.replace(opened.node).is_some_and(|before| before != opened.node);
                    if changed && step.mid_song {
                        self.add(LEADER_CHANGED_IN_MID_SONG);
                    }
                }
                Some(Op::ReplaceNode(_)) if wiped => self.add(NODE_REPLACED),
                _ => {}
            }
            let rejected = step.reply().and_then(|reply| reply.rejection);
            let is_conflict = |code: &str| matches!(code, "not_current" | "already_skipped");
            if rejected.is_some_and(|rejection| is_conflict(&rejection.code)) {
                self.add(CONFLICT);
            }
        }
        for (_, _, places) in replay.commands() {
            let reached = places.iter().filter(|&&place| replay.steps()[place].reached_the_room());
            for _ in reached.skip(1) {
                self.add(RETRY_DEDUPLICATED);
            }
        }
    }

    fn add(&mut self, name: &str) {
        *self.0.entry(name.to_owned()).or_default() += 1;
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }

    /// How often each thing happened, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// Whether all that is `wanted` happened at all.
    pub fn judge(&self, wanted: &[&str]) -> Verdict {
        let missing = wanted.iter().filter(|&&name| !self.0.contains_key(name));
        let why: Vec<String> = missing.map(|name| format!("never reached: {name}")).collect();
        match why.is_empty() {
            true => Verdict::Held { judged: wanted.len() },
            false => Verdict::Inconclusive(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use jam_proto::command::Command;
    use jam_proto::ids::EntryId;

    use super::super::story::{Story, TRACK};
    use super::*;

    #[test]
    fn a_run_tells_what_it_reached() {
        let mut story = Story::begin();
        let command = story.next("ann", Command::Enqueue { track: TRACK, next: false });
        story.send("ann", &command);
        story.take(&command);
        story.take(&command);
        story.play("bob");
        story.wait_ms(2000);
        story.isolate(3);
        story.elect(2);
        story.install(3);
        story.submit("bob", Command::Skip { entry: EntryId(1) });
        story.submit("ann", Command::Skip { entry: EntryId(1) });
        story.note(What::Sometimes { name: "disk full".to_owned() });
        let mut counters = Counters::of(&story.history, &Replay::of(&story.history));
        let quiet = Story::begin();
        let none = Counters::of(&quiet.history, &Replay::of(&quiet.history));
        assert_eq!(none, Counters::default());
        counters.merge(&counters.clone());
        let counted: Vec<_> = counters.iter().collect();
        let wanted = [
            CONFLICT,
            "disk full",
            LEADER_CHANGED,
            LEADER_CHANGED_IN_MID_SONG,
            RETRY_DEDUPLICATED,
            SNAPSHOT_INSTALLED,
        ];
        assert_eq!(counted, wanted.map(|name| (name, 2)));
        counters.judge(&wanted).assert_held();
        counters.judge(&[CONFLICT, EPOCH_BUMPED]).assert_open("never reached: epoch bumped");
    }
}
