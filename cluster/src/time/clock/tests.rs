use super::*;

const SECOND: i64 = 1_000_000_000;

fn resume(saved: Option<&Saved>, boot_id: &str, now: Awake) -> NodeClock {
    NodeClock::resume(jam_world::World::real().clock, saved, boot_id, now)
}

fn awake(raw_ns: i64) -> Awake {
    Awake { raw_ns, ahead_ns: 0 }
}

fn saved_at(raw_ns: i64) -> Saved {
    let clock = resume(None, "boot", awake(raw_ns));
    clock.open(0, SharedTime(0), 1, 1, raw_ns);
    clock.lead(1, 1);
    clock.to_save("boot", awake(raw_ns))
}

fn seconds(time: SharedTime) -> i64 {
    time.as_nanos() / SECOND
}

#[test]
fn the_first_leader_opens_epoch_one() {
    let clock = resume(None, "boot", awake(SECOND));
    let opened = clock.open(0, SharedTime(0), 7, 2, SECOND);
    assert_eq!((opened.epoch, opened.term, opened.node), (1, 7, 2));
    assert_eq!(clock.epoch(), 0, "not before it is committed");
    clock.lead(1, 7);
    assert_eq!((clock.epoch(), clock.leads_in(), clock.error_bound_ns()), (1, Some(7), 0));
}

#[test]
fn a_restart_in_the_same_boot_goes_on() {
    let clock = resume(Some(&saved_at(SECOND)), "boot", awake(11 * SECOND));
    assert_eq!(seconds(clock.at(11 * SECOND)), 3610, "time ran on while it was down");
    let opened = clock.open(1, SharedTime(5), 2, 1, 11 * SECOND);
    assert_eq!((opened.epoch, opened.floor), (1, 5));
    assert_eq!(opened.error_bound_ns, 50_000, "10 s at 5 ppm");
}

#[test]
fn a_long_rest_a_reboot_and_a_suspend_bump() {
    let saved = saved_at(SECOND);
    let slept = Awake { raw_ns: 2 * SECOND, ahead_ns: 9 * SECOND };
    for (name, clock, raw_ns, floor_s) in [
        ("rest", resume(Some(&saved), "boot", awake(4001 * SECOND)), 4001 * SECOND, 7600),
        ("reboot", resume(Some(&saved), "other", awake(5 * SECOND)), 5 * SECOND, 3600),
        ("suspend", resume(Some(&saved), "boot", slept), 2 * SECOND, 3600),
    ] {
        let opened = clock.open(1, SharedTime(5), 2, 1, raw_ns);
        assert_eq!(opened.epoch, 2, "{name}");
        assert_eq!(seconds(SharedTime(opened.floor)), floor_s, "{name}");
        assert_eq!(clock.at(raw_ns), SharedTime(opened.floor), "{name}");
    }
}

#[test]
fn stamps_never_fall_below_the_last_one() {
    let clock = resume(None, "boot", awake(SECOND));
    let last = SharedTime(Flicks::from_secs(100_000).0);
    let opened = clock.open(3, last, 9, 1, SECOND);
    assert_eq!((opened.epoch, SharedTime(opened.floor)), (4, last));
    assert!(clock.at(SECOND + 1) > last);
}

#[test]
fn another_epochs_map_is_not_continued() {
    let clock = resume(Some(&saved_at(SECOND)), "boot", awake(2 * SECOND));
    assert_eq!(clock.open(4, SharedTime(0), 2, 1, 2 * SECOND).epoch, 5);
}

#[test]
fn a_follower_steps_into_an_epoch_and_slews_within_it() {
    let clock = resume(None, "boot", awake(0));
    let estimate = |shared_ns: i64| Estimate {
        map: SharedMap {
            raw_ns: 0,
            shared: SharedTime(Flicks::from_nanos(shared_ns).0),
            drift: 0.0,
        },
        sigma_ns: 10_000,
        drift_sigma_ppb: 1_000,
        rtt_min_ns: 100_000,
        skew_ns: 50_000,
        drift_skew_ppb: 0,
    };
    clock.discipline(&estimate(50 * SECOND), 1, 1, SECOND);
    assert_eq!(clock.at(SECOND).as_nanos(), 51 * SECOND);
    clock.discipline(&estimate(50 * SECOND + 200_000), 2, 1, SECOND);
    assert_eq!(clock.at(SECOND).as_nanos(), 51 * SECOND, "no step");
    assert!((clock.at(9 * SECOND).as_nanos() - 59 * SECOND - 200_000).abs() < 3);
    clock.discipline(&estimate(0), 3, 2, SECOND);
    assert_eq!(clock.at(SECOND).as_nanos(), SECOND, "another epoch");
}

#[test]
fn a_suspended_leader_bumps() {
    let clock = resume(None, "boot", awake(0));
    clock.open(0, SharedTime(0), 1, 1, 0);
    clock.lead(1, 1);
    clock.breaks();
    assert_eq!(clock.leads_in(), None);
    assert_eq!(clock.open(1, SharedTime(0), 1, 1, SECOND).epoch, 2);
}
