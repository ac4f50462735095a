//! Paths with delays, and what is made of them.

use super::*;

/// A path with exponentially distributed delays, the same every time.
struct Path {
    seed: u64,
    base_ns: i64,
    jitter_ns: f64,
    truth: SharedMap,
}

impl Path {
    fn new(base_ns: i64, jitter_ns: f64, drift: f64) -> Self {
        let truth = SharedMap { raw_ns: 0, shared: SharedTime(1 << 50), drift };
        Self { seed: 7, base_ns, jitter_ns, truth }
    }

    fn delay_ns(&mut self) -> i64 {
        // Knuth's MMIX generator.
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let uniform = ((self.seed >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        self.base_ns + (-uniform.ln() * self.jitter_ns) as i64
    }

    fn burst(&mut self, raw_ns: i64) -> Vec<Probe> {
        let mut sent_ns = raw_ns;
        let mut probes = Vec::new();
        for _ in 0..8 {
            let there_ns = sent_ns + self.delay_ns();
            let left_ns = there_ns + 20_000;
            let back_ns = left_ns + self.delay_ns();
            let (received, replied) = (self.truth.at(there_ns), self.truth.at(left_ns));
            probes.push(Probe { sent_ns, received, replied, back_ns });
            sent_ns = back_ns;
        }
        probes
    }

    /// Errors just before each next burst, after `warm` bursts; asserts that none exceeded
    /// its stated bound.
    fn errors_ns(&mut self, warm: i64) -> Vec<i64> {
        let mut filter = ClockFilter::default();
        let mut errors = Vec::new();
        for step in 0..300 {
            let raw_ns = step * 2_000_000_000;
            filter.observe(&self.burst(raw_ns));
            let ask_ns = raw_ns + 1_900_000_000;
            let estimate = filter.estimate(ask_ns).expect("observed");
            let error = error_ns(&estimate, &self.truth, ask_ns);
            assert!(error <= estimate.bound_ns().max(60_000), "step {step}: {error} {estimate:?}");
            if step >= warm {
                errors.push(error);
            }
        }
        errors.sort_unstable();
        errors
    }
}

fn error_ns(estimate: &Estimate, truth: &SharedMap, raw_ns: i64) -> i64 {
    estimate.map.at(raw_ns).since(truth.at(raw_ns)).as_nanos().abs()
}

#[test]
fn a_lan_is_known_to_some_microseconds() {
    let errors = Path::new(100_000, 50_000.0, 37e-6).errors_ns(15);
    assert!(errors[errors.len() - 1] < 20_000, "{errors:?}");
}

#[test]
fn a_jittery_path_is_known_within_a_millisecond() {
    let errors = Path::new(10_000_000, 5_000_000.0, 37e-6).errors_ns(30);
    assert!(errors[errors.len() - 1] < 1_000_000, "{errors:?}");
    assert!(errors[errors.len() / 2] < 300_000, "{errors:?}");
}

/// A sample that is as far off as it may be, and then a clock that was slewed as fast as it may.
#[test]
fn what_a_slewed_clock_did_adds_to_what_the_samples_were_off_by() {
    let mut path = Path::new(100_000, 10_000.0, 0.0);
    let mut filter = ClockFilter::default();
    for step in 0..5 {
        filter.observe(&path.burst(step * 1_000_000_000));
    }
    let at_ns = 4_100_000_000;
    let known = filter.estimate(at_ns).expect("observed").sigma_ns * 3;
    filter.loosen(300_000);
    for age_ns in [0, 100_000_000, 2_000_000_000] {
        let bound = filter.estimate(at_ns + age_ns).expect("observed").sigma_ns * 3;
        let slewed = age_ns * 3 / 10_000;
        assert!(bound >= known + slewed, "{bound} after {age_ns}, {known} + {slewed}");
    }
}

#[test]
fn a_rate_that_changes_is_covered_if_that_is_said() {
    let mut path = Path::new(100_000, 10_000.0, 85e-6);
    let mut filter = ClockFilter::default();
    for step in 0..5 {
        filter.observe(&path.burst(step * 2_000_000_000));
    }
    let turn_ns = 10_000_000_000;
    path.truth = SharedMap { drift: 0.0, ..path.truth.anchored(turn_ns) };
    let mut told = filter.clone();
    told.loosen(90_000);
    let mut errors = Vec::new();
    for filter in [&mut filter, &mut told] {
        let mut path = Path { truth: path.truth, ..Path::new(100_000, 10_000.0, 0.0) };
        for step in 0..10 {
            let raw_ns = turn_ns + step * 1_000_000_000;
            filter.observe(&path.burst(raw_ns));
            let ask_ns = raw_ns + 900_000_000;
            let estimate = filter.estimate(ask_ns).expect("observed");
            errors.push((error_ns(&estimate, &path.truth, ask_ns), estimate.bound_ns()));
        }
    }
    let (untold, told) = errors.split_at(10);
    assert!(told.iter().all(|(error, bound)| error <= bound), "{told:?}");
    assert!(told[9].0 < 20_000, "{told:?}");
    // What this is for.
    assert!(untold.iter().any(|(error, bound)| error > bound), "{untold:?}");
}

#[test]
fn a_clock_that_moved_is_found_again() {
    let mut path = Path::new(100_000, 10_000.0, 0.0);
    let mut filter = ClockFilter::default();
    for step in 0..20 {
        filter.observe(&path.burst(step * 1_000_000_000));
    }
    path.truth.shared = path.truth.shared + Flicks::from_secs(5);
    for step in 20..40 {
        filter.observe(&path.burst(step * 1_000_000_000));
    }
    let now_ns = 40_000_000_000;
    let estimate = filter.estimate(now_ns).expect("observed");
    assert!(error_ns(&estimate, &path.truth, now_ns) < 100_000, "{estimate:?}");
}

#[test]
fn one_slow_exchange_moves_little() {
    let mut path = Path::new(100_000, 5_000.0, 0.0);
    let mut filter = ClockFilter::default();
    for step in 0..30 {
        filter.observe(&path.burst(step * 1_000_000_000));
    }
    let sent_ns = 30_000_000_000;
    let (there_ns, back_ns) = (sent_ns + 80_000_000, sent_ns + 80_100_000);
    let received = path.truth.at(there_ns);
    filter.observe(&[Probe { sent_ns, received, replied: received, back_ns }]);
    let estimate = filter.estimate(back_ns).expect("observed");
    assert!(error_ns(&estimate, &path.truth, back_ns) < 20_000, "{estimate:?}");
}

#[test]
fn crystals_at_their_limits_on_a_wild_path_stay_within_the_bound() {
    for seed in 1..=40 {
        for drift in [-200e-6, -90e-6, 0.0, 150e-6, 200e-6] {
            let mut path = Path::new(1_000_000, 30_000_000.0, drift);
            path.seed = seed;
            path.errors_ns(0);
        }
    }
}

#[test]
fn a_path_that_turns_slow_one_way_stays_within_the_bound() {
    for (there_ns, back_ns) in [(20_000_000, 0), (0, 20_000_000), (3_000_000, 0)] {
        for quick_bursts in [1, 3, 10, 40] {
            let mut path = Path::new(500_000, 100_000.0, 20e-6);
            let mut filter = ClockFilter::default();
            for step in 0..200 {
                let raw_ns = step * 1_000_000_000;
                let (more_ns, less_ns) =
                    if step < quick_bursts { (0, 0) } else { (there_ns, back_ns) };
                let mut burst = path.burst(raw_ns);
                for probe in &mut burst {
                    probe.received = probe.received + Flicks::from_nanos(more_ns);
                    probe.replied = probe.replied + Flicks::from_nanos(more_ns);
                    probe.back_ns += more_ns + less_ns;
                }
                filter.observe(&burst);
                let estimate = filter.estimate(raw_ns + 500_000_000).expect("observed");
                let error = error_ns(&estimate, &path.truth, raw_ns + 500_000_000);
                assert!(
                    error <= estimate.bound_ns(),
                    "{there_ns} {back_ns} {quick_bursts} step {step}: {error} {estimate:?}"
                );
            }
        }
    }
}

#[test]
fn nothing_is_known_of_nothing() {
    let mut filter = ClockFilter::default();
    filter.observe(&[]);
    assert_eq!(filter.estimate(0), None);
}

#[test]
fn instants_that_cannot_be_are_refused() {
    let reply = |received, sent| TimeReply { received, sent, ..TimeReply::default() };
    assert!(Probe::answered(5, &reply(7, 8), 9).is_ok());
    assert!(Probe::answered(5, &reply(i64::MIN, 8), 9).is_err());
    assert!(Probe::answered(5, &reply(7, i64::MAX), 9).is_err());
}
