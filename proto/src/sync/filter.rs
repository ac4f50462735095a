//! From clock probes to an estimate of another machine's shared time.
//!
//! Each burst of probes gives one measurement, its fastest exchange: queueing only ever adds to a
//! round trip, so the fastest one was disturbed least. A two-state Kalman filter (offset and drift)
//! weighs it by how much longer it took than the fastest exchange known. What no filter can see is a
//! path that is always slower one way than the other. Half of each round trip bounds that; the filter is linear, so what
//! that makes of the estimate at worst is found by filtering the half round trips like the offsets. It is reported apart.

use std::collections::VecDeque;

use super::map::SharedMap;
use crate::convert::{self, Malformed};
use crate::time::{Flicks, SharedTime};
use crate::wire::v1::TimeReply;

/// Timer and scheduling noise of one exchange on a quiet machine, ns.
const NOISE_FLOOR_NS: f64 = 4_000.0;
/// How much of a round trip's excess over the minimum may have been on one way only.
const EXCESS_SHARE: f64 = 0.5;
/// The same for the gap between the minimum and the fastest tenth: where that is wide, the minimum
/// itself is luck, and the path's true minimum may lie well below it.
const SPREAD_SHARE: f64 = 0.25;
/// Until so many probes were seen, a share of the whole round trip counts as noise too.
const WARM_PROBES: f64 = 64.0;
/// Crystals are within ±100 ppm, so two of them run apart by up to 200 ppm. Three of these are as much: on a path
/// so noisy that the drift is learned in minutes, this is most of what the bound is made of. ns/s.
const DRIFT_PRIOR_NS_PER_S: f64 = 70_000.0;
/// How fast a crystal wanders with temperature: 1e-8 per root second, as ns/s.
const DRIFT_WALK_NS_PER_S: f64 = 10.0;
/// A measurement farther out than this many standard deviations is trusted less, not thrown away.
const OUTLIER_SIGMAS: f64 = 3.0;
/// So many wild measurements in a row mean that the other clock really moved.
const WILD_MAX: u32 = 5;
/// Round trips that the minimum is taken over: two minutes at the slowest cadence.
const RTT_WINDOW: usize = 512;

/// One exchange with a node: sent and came back by our raw clock, received and answered by its
/// shared time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Our raw clock just before sending, ns.
    pub sent_ns: i64,
    /// The node's shared time on receipt.
    pub received: SharedTime,
    /// The node's shared time on reply.
    pub replied: SharedTime,
    /// Our raw clock just after the reply came, ns.
    pub back_ns: i64,
}

impl Probe {
    /// An exchange as the node answered it. Refused if the node tells instants that can't be.
    pub fn answered(sent_ns: i64, reply: &TimeReply, back_ns: i64) -> Result<Self, Malformed> {
        Ok(Self {
            sent_ns,
            received: convert::instant("when a probe was received", reply.received)?,
            replied: convert::instant("when a probe was answered", reply.sent)?,
            back_ns,
        })
    }

    /// The time on the way, both ways, ns. Never negative: a node that claims to have held the
    /// probe for longer than it was gone gains nothing by it.
    pub fn rtt_ns(&self) -> i64 {
        (self.back_ns - self.sent_ns - self.replied.since(self.received).as_nanos()).max(0)
    }

    fn raw_middle_ns(&self) -> i64 {
        self.sent_ns + (self.back_ns - self.sent_ns) / 2
    }

    fn shared_middle(&self) -> SharedTime {
        self.received + Flicks(self.replied.since(self.received).0 / 2)
    }
}

/// What is known of shared time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// From our raw clock to shared time, anchored at the instant that was asked for.
    pub map: SharedMap,
    /// One standard deviation of the offset, by the filter's own account, ns.
    pub sigma_ns: i64,
    /// One standard deviation of the drift, parts in 10^9.
    pub drift_sigma_ppb: i64,
    /// The smallest round trip seen lately, ns.
    pub rtt_min_ns: i64,
    /// How far off the offset would be if each exchange that it was made from had been slow one way only, ns.
    pub skew_ns: i64,
    /// The same of the drift, parts in 10^9.
    pub drift_skew_ppb: i64,
}

impl Estimate {
    /// The honest bound on the offset's error: what noise explains and what asymmetry could
    /// hide, ns.
    pub fn bound_ns(&self) -> i64 {
        3 * self.sigma_ns + self.skew_ns.max(self.rtt_min_ns / 2)
    }

    /// The same of the drift, parts in 10^9.
    pub fn drift_bound_ppb(&self) -> i64 {
        3 * self.drift_sigma_ppb + self.drift_skew_ppb
    }
}

/// Offset and drift of one node's shared time against our raw clock.
#[derive(Clone, Debug, Default)]
pub struct ClockFilter {
    state: Option<State>,
    rtts_ns: VecDeque<i64>,
}

impl ClockFilter {
    /// Takes one burst of probes (or a single one): its minimum-RTT probe is what counts.
    pub fn observe(&mut self, burst: &[Probe]) {
        let Some(best) = burst.iter().min_by_key(|probe| probe.rtt_ns()) else {
            return;
        };
        self.rtts_ns.extend(burst.iter().map(Probe::rtt_ns));
        let surplus = self.rtts_ns.len().saturating_sub(RTT_WINDOW);
        self.rtts_ns.drain(..surplus);
        let sigma_ns = self.sigma_ns(best.rtt_ns());
        match &mut self.state {
            Some(state) if state.wild < WILD_MAX => state.update(best, sigma_ns),
            state => *state = Some(State::start(best)),
        }
    }

    /// What is known, `None` before the first burst.
    pub fn estimate(&self, raw_now_ns: i64) -> Option<Estimate> {
        let state = self.state.as_ref()?;
        let age_secs = (raw_now_ns - state.map.raw_ns).max(0) as f64 * 1e-9;
        let covariance = state.covariance.after(age_secs);
        Some(Estimate {
            map: state.map.anchored(raw_now_ns),
            sigma_ns: covariance.offset.sqrt().ceil() as i64,
            drift_sigma_ppb: covariance.drift.sqrt().ceil() as i64,
            rtt_min_ns: self.rtts_ns.iter().copied().min().unwrap_or(0),
            skew_ns: state.skew.after(age_secs).offset.abs().ceil() as i64,
            drift_skew_ppb: state.skew.drift.abs().ceil() as i64,
        })
    }

    /// How far off the offset from an exchange with this round trip may be: one standard deviation.
    fn sigma_ns(&self, rtt_ns: i64) -> f64 {
        let mut sorted: Vec<i64> = self.rtts_ns.iter().copied().collect();
        sorted.sort_unstable();
        let (min, tenth) = (sorted[0], sorted[sorted.len() / 10]);
        let warm = (self.rtts_ns.len() as f64 / WARM_PROBES).min(1.0);
        NOISE_FLOOR_NS
            + EXCESS_SHARE * (rtt_ns - min) as f64
            + SPREAD_SHARE * (tenth - min) as f64
            + (1.0 - warm) * rtt_ns as f64 / 4.0
    }
}

#[derive(Clone, Debug)]
struct State {
    map: SharedMap,
    covariance: Covariance,
    skew: Skew,
    wild: u32,
}

impl State {
    fn start(probe: &Probe) -> Self {
        Self {
            map: SharedMap {
                raw_ns: probe.raw_middle_ns(),
                shared: probe.shared_middle(),
                drift: 0.0,
            },
            // Nothing is known of the minimum yet: the probe may have waited on one way only.
            covariance: Covariance::start(NOISE_FLOOR_NS + probe.rtt_ns() as f64 / 4.0),
            skew: Skew { offset: probe.rtt_ns() as f64 / 2.0, drift: 0.0 },
            wild: 0,
        }
    }

    fn update(&mut self, probe: &Probe, sigma_ns: f64) {
        let raw_ns = probe.raw_middle_ns();
        let secs = (raw_ns - self.map.raw_ns).max(0) as f64 * 1e-9;
        let predicted = self.covariance.after(secs);
        let map = self.map.anchored(raw_ns);
        let innovation_ns = probe.shared_middle().since(map.shared).as_nanos() as f64;

        let mut noise = sigma_ns.powi(2);
        let expected = predicted.offset + noise;
        if innovation_ns.powi(2) > OUTLIER_SIGMAS.powi(2) * expected {
            // As if it had been just as noisy as it is far out.
            noise += innovation_ns.powi(2) / OUTLIER_SIGMAS.powi(2) - expected;
            self.wild += 1;
        } else {
            self.wild = 0;
        }
        let total = predicted.offset + noise;
        let (gain_offset, gain_drift) = (predicted.offset / total, predicted.cross / total);
        self.map = SharedMap {
            raw_ns,
            shared: map.shared + Flicks::from_nanos((gain_offset * innovation_ns).round() as i64),
            drift: map.drift + gain_drift * innovation_ns * 1e-9,
        };
        let skew = self.skew.after(secs);
        let surplus = probe.rtt_ns() as f64 / 2.0 - skew.offset;
        self.skew = Skew {
            offset: skew.offset + gain_offset * surplus,
            drift: skew.drift + gain_drift * surplus,
        };
        self.covariance = Covariance {
            offset: (1.0 - gain_offset) * predicted.offset,
            cross: (1.0 - gain_offset) * predicted.cross,
            drift: predicted.drift - gain_drift * predicted.cross,
        };
    }
}

/// The error of offset (ns) and drift (ns/s) if each exchange was slow one way only, and always the same way.
#[derive(Clone, Copy, Debug)]
struct Skew {
    offset: f64,
    drift: f64,
}

impl Skew {
    /// After `secs` without a measurement.
    fn after(self, secs: f64) -> Self {
        Self { offset: self.offset + secs * self.drift, ..self }
    }
}

/// Of offset (ns) and drift (ns/s); symmetric.
#[derive(Clone, Copy, Debug)]
struct Covariance {
    offset: f64,
    cross: f64,
    drift: f64,
}

impl Covariance {
    fn start(offset_sigma_ns: f64) -> Self {
        Self { offset: offset_sigma_ns.powi(2), cross: 0.0, drift: DRIFT_PRIOR_NS_PER_S.powi(2) }
    }

    /// After `secs` without a measurement.
    fn after(self, secs: f64) -> Self {
        let walk = DRIFT_WALK_NS_PER_S.powi(2);
        let drifted = 2.0 * secs * self.cross + secs * secs * self.drift;
        Self {
            offset: self.offset + drifted + walk * secs.powi(3) / 3.0,
            cross: self.cross + secs * self.drift + walk * secs * secs / 2.0,
            drift: self.drift + walk * secs,
        }
    }
}

#[cfg(test)]
mod tests {
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
                assert!(
                    error <= estimate.bound_ns().max(60_000),
                    "step {step}: {error} {estimate:?}"
                );
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
}
