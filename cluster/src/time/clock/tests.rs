use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use jam_proto::sync::readings::Reading;
use jam_proto::wire::log::v1::ClockEpoch;

use super::opening::LOST_BOUND_NS;
use super::state::CONTINUED_BOUND_NS_MAX;
use super::*;

mod opening;

const SECOND: i64 = 1_000_000_000;

/// A machine whose clocks show what they are told to, ns.
#[derive(Debug, Default)]
struct Machine {
    raw_ns: AtomicI64,
    slept_ns: AtomicI64,
    /// What a thread is held up for between two readings, once.
    held_up_ns: AtomicI64,
}

impl Clock for Machine {
    fn raw_ns(&self) -> i64 {
        self.raw_ns.load(Relaxed)
    }
    fn mono_ns(&self) -> i64 {
        self.raw_ns()
    }
    fn boottime_ns(&self) -> i64 {
        self.raw_ns.fetch_add(self.held_up_ns.swap(0, Relaxed), Relaxed);
        self.raw_ns() + self.slept_ns.load(Relaxed)
    }
    fn wall(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH
    }
    fn boot_id(&self) -> String {
        "boot".to_owned()
    }
}

fn resume(saved: Option<&Saved>, boot_id: &str, now: Awake) -> NodeClock {
    let machine = Machine { raw_ns: now.raw_ns.into(), ..Machine::default() };
    NodeClock::resume(Arc::new(machine), saved, boot_id, now)
}

fn awake(raw_ns: i64) -> Awake {
    Awake { raw_ns, ahead_ns: 0 }
}

/// The log's side: who led until now.
#[derive(Default)]
struct Log(Succession);

impl Log {
    /// A log in which one leader opened each of these epochs.
    fn with_epochs(epochs: u64) -> Self {
        let mut log = Self::default();
        (1..=epochs).for_each(|epoch| {
            log.commit(&ClockEpoch { epoch, term: epoch, ..ClockEpoch::default() });
        });
        log
    }

    fn commit(&mut self, opened: &ClockEpoch) {
        self.0 = self.0.followed_by(opened);
    }

    /// The clock's node is elected in this term, and leads.
    fn elect(&mut self, clock: &NodeClock, term: u64, raw_ns: i64) -> ClockEpoch {
        let opened = clock.open(&self.0, SharedTime(0), (term, 1), &[], raw_ns);
        self.commit(&opened);
        clock.lead(&self.0);
        opened
    }

    /// Another node is elected in this term, and goes on with time, off by so much.
    fn elect_another(&mut self, term: u64, since: SharedTime, doubt: Doubt) {
        let Doubt { bound_ns: error_bound_ns, drift_ppb: drift_bound_ppb } = doubt;
        let (epoch, since) = (self.0.epoch, since.0);
        let opened = ClockEpoch {
            epoch,
            term,
            since,
            error_bound_ns,
            drift_bound_ppb,
            ..Default::default()
        };
        self.commit(&opened);
    }
}

/// A leader's clock in term 1 and epoch 1, and its log.
fn leader_at(raw_ns: i64) -> (NodeClock, Log) {
    let (clock, mut log) = (resume(None, "boot", awake(raw_ns)), Log::default());
    log.elect(&clock, 1, raw_ns);
    (clock, log)
}

fn saved_at(raw_ns: i64) -> (Saved, Log) {
    let (clock, log) = leader_at(raw_ns);
    (clock.to_save("boot", awake(raw_ns)), log)
}

/// Of a leader whose time was this at raw 0. 80 µs.
fn estimate(shared_ns: i64) -> Estimate {
    let shared = SharedTime(Flicks::from_nanos(shared_ns).0);
    Estimate {
        map: SharedMap { raw_ns: 0, shared, drift: 0.0 },
        sigma_ns: 10_000,
        drift_sigma_ppb: 1_000,
        rtt_min_ns: 100_000,
        skew_ns: 50_000,
        drift_skew_ppb: 0,
    }
}

fn seconds(time: SharedTime) -> i64 {
    time.as_nanos() / SECOND
}

#[test]
fn the_first_leader_opens_epoch_one() {
    let clock = resume(None, "boot", awake(SECOND));
    let mut log = Log::default();
    let opened = clock.open(&log.0, SharedTime(0), (7, 2), &[], SECOND);
    assert_eq!((opened.epoch, opened.term, opened.node), (1, 7, 2));
    assert_eq!(clock.epoch(), 0, "not before it is committed");
    log.commit(&opened);
    clock.lead(&log.0);
    assert_eq!((clock.epoch(), clock.leads_in(), clock.error_bound_ns()), (1, Some(7), 0));
}

/// A log of an older build may hold the highest epoch there is.
#[test]
fn after_the_last_epoch_a_leader_goes_on_in_it_and_says_that_time_was_lost() {
    let clock = resume(None, "boot", awake(SECOND));
    let mut log = Log::default();
    log.commit(&ClockEpoch { epoch: u64::MAX, term: 1, ..ClockEpoch::default() });
    let opened = log.elect(&clock, 2, 2 * SECOND);
    assert_eq!((opened.epoch, opened.term), (u64::MAX, 2));
    assert_eq!(opened.error_bound_ns, LOST_BOUND_NS, "it is not the time of those before");
    assert_eq!(clock.error_bound_ns(), 0, "it is the leader's own");
    assert_eq!((clock.leads_in(), clock.epoch()), (Some(2), u64::MAX));
}

#[test]
fn a_restart_in_the_same_boot_goes_on() {
    let (saved, log) = saved_at(SECOND);
    let clock = resume(Some(&saved), "boot", awake(11 * SECOND));
    assert_eq!(seconds(clock.at(11 * SECOND)), 3610, "time ran on while it was down");
    let opened = clock.open(&log.0, SharedTime(5), (2, 1), &[], 11 * SECOND);
    assert_eq!((opened.epoch, opened.floor), (1, 5));
    assert_eq!((opened.error_bound_ns, opened.drift_bound_ppb), (50_000, 5_000), "10 s at 5 ppm");
    assert_eq!(SharedTime(opened.since), clock.at(11 * SECOND));
}

#[test]
fn leaders_that_came_and_went_meanwhile_count() {
    let (saved, mut log) = saved_at(SECOND);
    let clock = resume(Some(&saved), "boot", awake(11 * SECOND));
    // The next leader was 2 ms off and ran up to 100 ppm apart, the one after it 30 µs and 1 ppm.
    log.elect_another(2, clock.at(5 * SECOND), Doubt::new(2_000_000, 100_000));
    log.elect_another(3, clock.at(7 * SECOND), Doubt::new(30_000, 1_000));
    let opened = clock.open(&log.0, SharedTime(0), (4, 1), &[], 11 * SECOND);
    // 10 s at 5 ppm, 6 s at 100 ppm, 4 s at 1 ppm.
    assert_eq!(opened.error_bound_ns, 2_000_000 + 30_000 + 50_000 + 600_000 + 4_000);
    assert_eq!((opened.epoch, opened.drift_bound_ppb), (1, 106_000));
    clock.step_down();
    log.elect_another(5, clock.at(8 * SECOND), Doubt::new(8_000_000, 0));
    let opened = clock.open(&log.0, SharedTime(0), (6, 1), &[], 11 * SECOND);
    assert_eq!(opened.epoch, 2, "too much to go on with");
}

#[test]
fn a_leader_that_was_followed_is_off_what_its_followers_say() {
    let (clock, mut log) = leader_at(0);
    log.elect_another(2, clock.at(0), Doubt::new(700_000, 0));
    assert_eq!(clock.error_bound_ns(), 0);
    clock.hear(&log.0);
    assert_eq!(clock.error_bound_ns(), 700_000, "also before it knows that it leads no more");
    clock.step_down();
    assert_eq!(clock.error_bound_ns(), 700_000);
    // What it saves is its distance from its own time; the rest is in the log.
    let saved = clock.to_save("boot", awake(0));
    assert_eq!((saved.error_bound_ns, saved.term), (0, 1));
}

#[test]
fn a_follower_counts_from_the_leader_that_it_followed() {
    let (_, mut log) = leader_at(0);
    let clock = resume(None, "boot", awake(0));
    clock.discipline(&estimate(0), 1, (1, 1), SECOND);
    // 30 µs of noise and half a round trip; 3 ppm of noise and 5 ppm of room.
    let saved = clock.to_save("boot", awake(SECOND));
    assert_eq!((saved.error_bound_ns, saved.drift_bound_ppb), (80_000, 8_000));
    clock.hear(&log.0);
    log.elect_another(2, clock.at(SECOND), Doubt::new(1_000_000, 0));
    let opened = clock.open(&log.0, SharedTime(0), (3, 1), &[], SECOND);
    assert_eq!(opened.error_bound_ns, 1_080_000);
    clock.step_down();
    // It follows the second one before it has heard of it, and is 200 µs off.
    log.elect_another(4, clock.at(SECOND), Doubt::new(5_000_000, 0));
    assert_eq!(clock.bound_term(), 2);
    clock.discipline(&estimate(200_000), 2, (4, 1), SECOND);
    assert_eq!(clock.bound_term(), 4);
    let opened = clock.open(&log.0, SharedTime(0), (5, 1), &[], SECOND);
    assert_eq!(opened.error_bound_ns, 280_000);
    clock.step_down();
    // An answer of the first one that comes late is worth nothing.
    assert_eq!(clock.discipline(&estimate(0), 3, (2, 1), SECOND), None);
}

#[test]
fn a_drift_that_was_not_learned_yet_is_part_of_the_doubt() {
    let clock = resume(None, "boot", awake(0));
    let first = Estimate { drift_sigma_ppb: 70_000, ..estimate(0) };
    clock.discipline(&first, 1, (1, 1), SECOND);
    let grown_ns = |secs: i64| clock.to_save("boot", awake(secs * SECOND)).error_bound_ns;
    assert_eq!(grown_ns(11) - grown_ns(1), 2_150_000, "10 s at 215 ppm");
    // The filter's drift is 50 ppm off the map's own, which stays: both may be right.
    let other = |sigma| {
        let first = Estimate { drift_sigma_ppb: sigma, ..estimate(0) };
        Estimate { map: SharedMap { drift: 50e-6, ..first.map.anchored(SECOND) }, ..first }
    };
    clock.discipline(&other(20_000), 2, (1, 1), SECOND);
    assert_eq!(clock.drift(), 0.0);
    assert_eq!(grown_ns(11) - grown_ns(1), 1_150_000, "50 ppm, 60 ppm and 5 ppm");
    clock.discipline(&other(10_000), 3, (1, 1), SECOND);
    assert_eq!(clock.drift(), 50e-6, "the map's own can't be right");
    assert_eq!(grown_ns(11) - grown_ns(1), 350_000);
}

#[test]
fn a_clock_that_stood_still_is_contradicted_by_the_first_probe() {
    let clock = resume(None, "boot", awake(0));
    clock.discipline(&estimate(0), 1, (1, 1), SECOND);
    let probe = |late_ns: i64| {
        let shared = SharedTime(Flicks::from_nanos(2 * SECOND + late_ns).0);
        let (sent_ns, back_ns) = (2 * SECOND - 50_000, 2 * SECOND + 50_000);
        Probe { sent_ns, received: shared, replied: shared, back_ns }
    };
    let burst = [probe(0), probe(5 * SECOND), probe(90_000_000), probe(-5 * SECOND)];
    assert_eq!(clock.contradictions(&burst, 1), [burst[1], burst[3]]);
    assert_eq!(
        clock.contradictions(&burst, 2),
        [],
        "it is of another epoch, and steps into this one"
    );
}

#[test]
fn a_new_leader_runs_at_one_rate() {
    let clock = resume(None, "boot", awake(0));
    let mut log = Log::with_epochs(1);
    clock.discipline(&estimate(0), 1, (1, 1), SECOND);
    clock.discipline(&estimate(3_000_000), 2, (1, 1), SECOND);
    let opened = log.elect(&clock, 2, 2 * SECOND);
    // It was on its way, and stays where it is: 2.7 ms from where it was going.
    assert_eq!((opened.epoch, opened.error_bound_ns), (1, 3_080_000 + 8_000));
    let late_ns = |secs: i64| secs * SECOND - clock.at(secs * SECOND).as_nanos();
    assert_eq!(late_ns(2), -300_000);
    assert!((late_ns(60) - late_ns(2)).abs() <= 2);
}

#[test]
fn a_long_rest_a_reboot_and_a_suspend_bump() {
    let (saved, log) = saved_at(SECOND);
    let slept = Awake { raw_ns: 2 * SECOND, ahead_ns: 9 * SECOND };
    for (name, clock, raw_ns, floor_s) in [
        ("rest", resume(Some(&saved), "boot", awake(4001 * SECOND)), 4001 * SECOND, 7600),
        ("reboot", resume(Some(&saved), "other", awake(5 * SECOND)), 5 * SECOND, 3600),
        ("suspend", resume(Some(&saved), "boot", slept), 2 * SECOND, 3600),
    ] {
        let last_stamp = SharedTime(Flicks::from_secs(3000).0);
        let opened = clock.open(&log.0, last_stamp, (2, 1), &[], raw_ns);
        assert_eq!(opened.epoch, 2, "{name}");
        assert_eq!(seconds(SharedTime(opened.floor)), floor_s, "{name}");
        assert_eq!(clock.at(raw_ns), SharedTime(opened.floor), "{name}");
    }
}

#[test]
fn stamps_never_fall_below_the_last_one() {
    let clock = resume(None, "boot", awake(SECOND));
    let last = SharedTime(Flicks::from_secs(100_000).0);
    let opened = clock.open(&Log::with_epochs(3).0, last, (9, 1), &[], SECOND);
    assert_eq!((opened.epoch, SharedTime(opened.floor)), (4, last));
    assert!(clock.at(SECOND + 1) > last);
}

#[test]
fn another_epochs_map_is_not_continued() {
    let clock = resume(Some(&saved_at(SECOND).0), "boot", awake(2 * SECOND));
    assert_eq!(clock.open(&Log::with_epochs(4).0, SharedTime(0), (5, 1), &[], 2 * SECOND).epoch, 5);
}

#[test]
fn a_follower_steps_into_an_epoch_and_slews_within_it() {
    let clock = resume(None, "boot", awake(0));
    clock.discipline(&estimate(50 * SECOND), 1, (1, 1), SECOND);
    assert_eq!(clock.at(SECOND).as_nanos(), 51 * SECOND);
    clock.discipline(&estimate(50 * SECOND + 200_000), 2, (1, 1), SECOND);
    assert_eq!(clock.at(SECOND).as_nanos(), 51 * SECOND, "no step");
    assert!((clock.at(9 * SECOND).as_nanos() - 59 * SECOND - 200_000).abs() < 3);
    clock.discipline(&estimate(0), 3, (2, 2), SECOND);
    assert_eq!(clock.at(SECOND).as_nanos(), SECOND, "another epoch");
}

#[test]
fn a_leader_that_slept_leads_no_more_and_bumps() {
    let machine = Arc::new(Machine::default());
    let clock = NodeClock::resume(machine.clone(), None, "boot", Awake::look(machine.as_ref()));
    let mut log = Log::default();
    log.elect(&clock, 1, 0);
    let mut broken = clock.broken();
    machine.raw_ns.store(5 * SECOND, Relaxed);
    assert!(!clock.notices_sleep());
    machine.held_up_ns.store(SECOND, Relaxed);
    assert!(!clock.notices_sleep(), "it was held up in the middle of a look");
    assert_eq!(clock.leads_in(), Some(1));

    machine.slept_ns.store(SECOND / 10, Relaxed);
    assert!(clock.notices_sleep());
    assert_eq!((clock.leads_in(), clock.epoch(), clock.error_bound_ns()), (None, 0, i64::MAX));
    assert!(broken.has_changed().is_ok_and(|changed| changed));
    broken.mark_unchanged();
    assert!(!clock.notices_sleep(), "once");
    assert_eq!(log.elect(&clock, 1, SECOND).epoch, 2);
    assert_eq!((clock.leads_in(), clock.epoch()), (Some(1), 2));
}

#[test]
fn an_answer_that_came_after_a_sleep_is_told_apart() {
    let machine = Arc::new(Machine::default());
    let clock = NodeClock::resume(machine.clone(), None, "boot", Awake::look(machine.as_ref()));
    machine.slept_ns.store(SECOND, Relaxed);
    let watch = clock.watch_for_sleep();
    assert!(!watch.has_slept(), "the sleep was before");
    machine.raw_ns.store(SECOND, Relaxed);
    assert!(!watch.has_slept(), "only time has passed");
    machine.slept_ns.store(2 * SECOND, Relaxed);
    assert!(watch.has_slept() && watch.has_slept(), "however often it is asked");
}

#[test]
fn whoever_measures_a_map_is_told_when_it_was_set_to_another_time() {
    let clock = resume(None, "boot", awake(SECOND));
    assert_eq!(clock.set_raw_ns(), SECOND);
    clock.discipline(&estimate(50 * SECOND), 1, (1, 1), 2 * SECOND);
    assert_eq!(clock.set_raw_ns(), 2 * SECOND, "it stepped into an epoch");
    clock.discipline(&estimate(50 * SECOND + 200_000), 2, (1, 1), 3 * SECOND);
    assert_eq!(clock.set_raw_ns(), 2 * SECOND, "it was steered");
    // A new process that goes on has the same map; one that can't has another.
    let saved = clock.to_save("boot", awake(4 * SECOND));
    assert_eq!(resume(Some(&saved), "boot", awake(5 * SECOND)).set_raw_ns(), 2 * SECOND);
    let rebooted = resume(Some(&saved), "other", awake(5 * SECOND));
    assert_eq!(rebooted.set_raw_ns(), 5 * SECOND);
    // Which then takes the time of a voter.
    let mut log = Log::with_epochs(1);
    log.0.doubt = Doubt::default();
    let doubt = Doubt::new(3_000_000, 1_000);
    let (reference, raw_ns) = (log.0, 6 * SECOND);
    let shared = SharedTime(Flicks::from_secs(56).0);
    let reading = Reading { raw_ns, shared, epoch: 1, continued: true, doubt, reference };
    let opened = rebooted.open(&log.0, SharedTime(0), (2, 1), &[reading], raw_ns);
    assert_eq!((opened.epoch, rebooted.set_raw_ns()), (1, 6 * SECOND));
}
