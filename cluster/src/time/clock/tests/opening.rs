//! How a leadership begins where the node's own time can't be continued.

use jam_proto::sync::floor::AHEAD_MAX;
use jam_proto::sync::readings::Reading;

use super::*;

fn at(secs: i64) -> SharedTime {
    SharedTime(Flicks::from_secs(secs).0)
}

/// A node in a log of one epoch that has lost its saved clock, at raw 0.
fn without_file() -> (NodeClock, Log) {
    (resume(None, "boot", awake(0)), Log::with_epochs(1))
}

/// Of a node that followed the leader of epoch 1, at raw 0.
fn running(log: &Log, secs: i64, bound_ns: i64) -> Reading {
    Reading {
        raw_ns: 0,
        shared: at(secs),
        epoch: 1,
        continued: true,
        doubt: Doubt::new(bound_ns, 8_000),
        reference: log.0,
    }
}

fn stopped(log: &Log, secs: i64) -> Reading {
    Reading { continued: false, doubt: Doubt::UNKNOWN, ..running(log, secs, 0) }
}

#[test]
fn another_nodes_time_is_continued() {
    let (clock, mut log) = without_file();
    assert!(!clock.continues(&log.0, at(4000)));
    let others = [running(&log, 4990, 90_000_000), running(&log, 5000, 60_000)];
    let opened = clock.open(&log.0, at(4000), (2, 1), &others, SECOND);
    assert_eq!((opened.epoch, opened.floor), (1, at(4000).0));
    assert_eq!((opened.error_bound_ns, opened.drift_bound_ppb), (68_000, 8_000));
    assert_eq!((clock.at(SECOND), opened.since), (at(5001), at(5001).0));
    // Another one is elected instead: what it has learned is still true.
    clock.step_down();
    assert_eq!(clock.epoch(), 1);
    assert!(clock.continues(&log.0, at(4000)));
    let opened = log.elect(&clock, 3, 2 * SECOND);
    assert_eq!((opened.epoch, opened.error_bound_ns), (1, 76_000));
    assert_eq!(clock.leads_in(), Some(3));
}

#[test]
fn a_time_that_is_too_doubtful_raises_the_floor() {
    let (clock, log) = without_file();
    let others = [running(&log, 5000, CONTINUED_BOUND_NS_MAX)];
    let opened = clock.open(&log.0, at(4000), (2, 1), &others, 0);
    assert_eq!((opened.epoch, opened.floor), (2, at(5000).0));
    assert_eq!(clock.at(0), at(5000));
}

#[test]
fn a_term_has_one_time_in_an_epoch() {
    let (clock, mut log) = leader_at(0);
    // It slept, and opens its term anew.
    let saved = clock.to_save("boot", awake(0));
    let slept = resume(Some(&saved), "another boot", awake(0));
    let others = [running(&log, 5000, 60_000)];
    let opened = slept.open(&log.0, at(4000), (1, 1), &others, 0);
    assert_eq!((opened.epoch, opened.floor), (2, at(5000).0));
    log.commit(&opened);
    slept.lead(&log.0);
    assert_eq!((slept.leads_in(), slept.at(0)), (Some(1), at(5000)));
}

#[test]
fn where_all_stopped_time_goes_on_where_it_stopped() {
    let (clock, log) = without_file();
    let others = [stopped(&log, 4990), stopped(&log, 5000)];
    let opened = clock.open(&log.0, at(4000), (2, 1), &others, SECOND);
    assert_eq!((opened.epoch, opened.floor), (2, at(5000).0));
}

#[test]
fn a_wrong_number_carries_nobody_far_ahead() {
    let (mut saved, log) = saved_at(SECOND);
    saved.shared += Flicks::from_secs(40 * 24 * 3600).0;
    let last = at(3700);
    let clock = || resume(Some(&saved), "another boot", awake(5 * SECOND));
    let alone = clock();
    let opened = alone.open(&log.0, last, (2, 1), &[], 5 * SECOND);
    assert_eq!(SharedTime(opened.floor), last + AHEAD_MAX);
    assert_eq!(alone.at(5 * SECOND), last + AHEAD_MAX, "as apply has it");
    // The others know better.
    let others = [stopped(&log, 3720), stopped(&log, 3721)];
    let opened = clock().open(&log.0, last, (2, 1), &others, 5 * SECOND);
    assert_eq!(SharedTime(opened.floor), at(3721));
}

#[test]
fn a_map_that_is_behind_a_stamp_is_wrong() {
    let (clock, log) = leader_at(0);
    clock.step_down();
    assert!(clock.continues(&log.0, at(3600)));
    assert!(!clock.continues(&log.0, at(3601)));
    let opened = clock.open(&log.0, at(3601), (2, 1), &[], SECOND / 2);
    assert_eq!((opened.epoch, SharedTime(opened.floor)), (2, at(3601)));
}

#[test]
fn a_map_of_an_earlier_epoch_raises_no_floor() {
    let (saved, _) = saved_at(SECOND);
    let clock = resume(Some(&saved), "another boot", awake(5 * SECOND));
    let opened = clock.open(&Log::with_epochs(2).0, at(60), (3, 1), &[], 5 * SECOND);
    assert_eq!((opened.epoch, SharedTime(opened.floor)), (3, at(60)));
}

#[test]
fn what_is_told_says_whether_it_ran_on() {
    let (clock, _) = leader_at(0);
    let told = clock.told();
    assert_eq!((told.epoch, told.continued, told.error_bound_ns), (1, true, 0));
    let saved = clock.to_save("boot", awake(0));
    let told = resume(Some(&saved), "another boot", awake(0)).told();
    assert_eq!((told.epoch, told.continued, told.error_bound_ns), (1, false, i64::MAX));
    assert_eq!(SharedTime(told.shared), at(3600));
    let told = resume(None, "boot", awake(0)).told();
    assert_eq!((told.epoch, told.continued), (0, false));
}
