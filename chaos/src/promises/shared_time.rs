//! Shared time is one clock: stamps rise along the log, and within an epoch what leaders say of time runs on
//! at the rate of real time, whoever leads. One node at a time is the reference, and what the others say of
//! their distance from it is true.
//!
//! A sample is true somewhen between its question and its record, so spans of true time between two of
//! them have a shortest and a longest length. Distances are counted from the nearer one.

mod floors;
mod reference;
mod stamps;

use crate::history::History;

use super::replay::Replay;
use super::verdict::{Findings, Verdict};

/// What shared time is held to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How far the rate of a leader's time may be from that of true time, parts per million: what
    /// crystals have, and some for the steering of the map that a leader goes on with.
    pub rate_ppm: i64,
    /// What a look at a clock may be off, ns.
    pub slack_ns: i64,
    /// How far shared time may step when the leader changes within an epoch, ns.
    pub phase_ns: i64,
    /// How far shared time may go back where an epoch begins while a song plays, ns.
    pub back_ns: i64,
    /// How far it may go ahead there of where it would be if it had run on, ns.
    pub ahead_ns: i64,
    /// Clock epochs that may begin after the first one.
    pub bumps_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        // A phase of 10 ms: nodes bump the epoch rather than go on with more. Back by 15 s: where all clock files are lost,
        // the log has the time of each 10 s, and a mark may need some seconds to be committed.
        let back_ns = 15_000_000_000;
        // Ahead by what a floor is cut to, two hours, and a second.
        let ahead_ns = 7_201_000_000_000;
        Self {
            rate_ppm: 120,
            slack_ns: 20_000,
            phase_ns: 10_000_000,
            back_ns,
            ahead_ns,
            bumps_max: u64::MAX,
        }
    }
}

/// Judges a history; `replay` is of the same one.
pub fn judge(history: &History, replay: &Replay<'_>, bounds: &Bounds) -> Verdict {
    let mut found = Findings::default();
    stamps::rise(replay, &mut found);
    reference::judge(history, replay, bounds, &mut found);
    floors::judge(history, replay, bounds, &mut found);
    if let Some(why) = replay.open() {
        found.open(why);
    }
    found.verdict("nothing was stamped and no node told the time")
}

#[cfg(test)]
mod tests {
    use jam_proto::time::Flicks;
    use jam_proto::wire::log::v1 as log;
    use log::log_entry::Op;

    use super::super::story::{MS, Story};
    use super::*;
    use crate::history::{TimeSample, What};

    fn verdict(story: &Story) -> Verdict {
        judge(&story.history, &Replay::of(&story.history), &Bounds::default())
    }

    fn flicks(nanos: i64) -> i64 {
        Flicks::from_nanos(nanos).0
    }

    /// Two leaders, one after the other.
    fn story() -> Story {
        let mut story = Story::begin();
        story.enqueue("ann");
        story.tell_time(20);
        story.elect(2);
        story.play("bob");
        story.tell_time(20);
        story
    }

    /// Changes what nodes say of time.
    fn spoil(story: &mut Story, spoil: impl Fn(&mut TimeSample)) {
        for record in &mut story.history.records {
            if let What::Time(sample) = &mut record.what {
                spoil(sample);
            }
        }
    }

    #[test]
    fn a_change_of_the_leader_holds() {
        let mut story = story();
        verdict(&story).assert_held();
        // Also 100 ppm off, with a small step at the change, and followers that are off a little.
        spoil(&mut story, |sample| {
            sample.shared += flicks(sample.asked_ns / 10_000);
            if sample.term == 2 {
                sample.shared += flicks(2 * MS);
            }
            if !sample.leads {
                sample.shared -= flicks(90_000);
            }
        });
        verdict(&story).assert_held();
    }

    #[test]
    fn a_backward_stamp() {
        let story = story();
        let mut replay = Replay::of(&story.history);
        let steps = replay.steps_mut();
        let place = steps.len() - 1;
        steps[place].stamp = steps[place - 1].stamp;
        let verdict = judge(&story.history, &replay, &Bounds::default());
        verdict.assert_broken("has a stamp that is not above the one before");
        verdict.assert_broken("is stamped otherwise than the entry that made it");
    }

    #[test]
    fn a_leader_that_starts_from_its_wall_clock() {
        let mut story = story();
        spoil(&mut story, |sample| {
            if sample.term == 2 {
                sample.shared += flicks(5_000 * MS);
            }
        });
        verdict(&story)
            .assert_broken("from node 1 to node 2 in epoch 1 shared time steps by 5000.0 ms");
    }

    #[test]
    fn time_goes_back() {
        let mut story = story();
        spoil(&mut story, |sample| {
            if sample.term == 2 {
                sample.shared -= flicks(500 * MS);
            }
        });
        verdict(&story).assert_broken("shared time goes back");
    }

    #[test]
    fn a_clock_that_is_too_fast() {
        let mut story = story();
        // 200 ppm: 40 µs in each 100 ms are within the slack, 400 µs in two seconds are not.
        spoil(&mut story, |sample| {
            sample.shared += flicks(sample.asked_ns / 5000);
        });
        verdict(&story).assert_broken("runs 200 ppm fast");
    }

    #[test]
    fn a_bound_that_is_not_true() {
        let mut story = story();
        spoil(&mut story, |sample| {
            if sample.node == 3 {
                sample.shared += flicks(MS);
            }
        });
        verdict(&story).assert_broken(
            "says that it is at most 0.100 ms from the leader's time, and is 0.988 ms off",
        );
    }

    #[test]
    fn a_leader_that_was_not_heard_of_counts_with_its_own_error() {
        let off = |bound_term: u64| {
            let mut story = story();
            spoil(&mut story, |sample| {
                if sample.node == 3 && sample.term == 2 {
                    sample.shared += flicks(390_000);
                    sample.bound_term = bound_term;
                }
            });
            verdict(&story)
        };
        off(1).assert_held();
        off(2).assert_broken("says that it is at most 0.100 ms from the leader's time");
    }

    #[test]
    fn an_old_leader_that_still_leads() {
        let mut story = story();
        let old = TimeSample { leads: true, term: 1, ..story.sample(1) };
        story.now(What::Time(old));
        verdict(&story).assert_broken("node 1 still leads in term 1, after node 2 led in term 2");
    }

    /// A song plays, the cluster is at level 1, and node 2 opens an epoch so far from what node 1 said last.
    fn story_of_an_epoch(at_ms: i64) -> Story {
        let mut story = Story::begin();
        story.commit(vec![Op::RaiseLevel(log::RaiseLevel { level: 1 })]);
        story.enqueue("ann");
        story.play("bob");
        story.tell_time(200);
        story.begin_epoch(2, at_ms);
        story
    }

    #[test]
    fn an_epoch_that_begins_where_time_was_holds() {
        for at_ms in [-14_000, 0, 7_000_000] {
            assert!(verdict(&story_of_an_epoch(at_ms)).is_held(), "{at_ms}");
        }
        // What a wrong clock asks for is cut.
        verdict(&story_of_an_epoch(9_000_000)).assert_held();
    }

    #[test]
    fn an_epoch_that_begins_far_behind_what_was_said() {
        verdict(&story_of_an_epoch(-16_000))
            .assert_broken("where epoch 1 ends shared time goes back by 1");
        let mut bounds = Bounds { back_ns: 50 * MS, ..Bounds::default() };
        let story = story_of_an_epoch(-100);
        let judge = |bounds: &Bounds| judge(&story.history, &Replay::of(&story.history), bounds);
        judge(&bounds).assert_broken("; 50.0 ms is the limit");
        bounds.back_ns = 200 * MS;
        judge(&bounds).assert_held();
    }

    #[test]
    fn an_epoch_that_begins_ahead_of_where_time_would_be() {
        let bounds = Bounds { ahead_ns: 50 * MS, ..Bounds::default() };
        let verdict = |at_ms: i64| {
            let story = story_of_an_epoch(at_ms);
            judge(&story.history, &Replay::of(&story.history), &bounds)
        };
        verdict(40).assert_held();
        verdict(70).assert_broken("where epoch 1 ends shared time goes ahead by");
    }

    #[test]
    fn an_epoch_that_begins_where_time_could_be_continued() {
        let bounds = Bounds { bumps_max: 1, ..Bounds::default() };
        let mut story = story_of_an_epoch(0);
        let judge = |story: &Story| judge(&story.history, &Replay::of(&story.history), &bounds);
        judge(&story).assert_held();
        story.begin_epoch(3, 0);
        judge(&story).assert_broken("epoch 3 begins, and time could have been continued");
    }

    #[test]
    fn an_epoch_that_begins_far_ahead() {
        let story = story_of_an_epoch(0);
        let mut replay = Replay::of(&story.history);
        let steps = replay.steps_mut();
        let place = steps.len() - 1;
        steps[place].stamp = steps[place - 1].stamp + flicks(8_000_000 * MS);
        let verdict = judge(&story.history, &replay, &Bounds::default());
        verdict.assert_broken("epoch 2 begins 8000000.0 ms after the last stamp");
    }

    #[test]
    fn an_epoch_that_nobody_committed() {
        let mut story = story();
        spoil(&mut story, |sample| sample.epoch = 7);
        verdict(&story).assert_broken("leads in epoch 7, which is not committed in its term");
    }
}
