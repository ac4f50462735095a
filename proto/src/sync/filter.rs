//! From clock probes to an estimate of another machine's shared time.
//!
//! Each burst of probes gives one measurement, its fastest exchange: queueing only ever adds to a
//! round trip, so the fastest one was disturbed least. A two-state Kalman filter (offset and drift)
//! weighs it by how much longer it took than the fastest exchange known. What no filter can see is a
//! path that is always slower one way than the other. Half of each round trip bounds that; the filter is linear, so what
//! that makes of the estimate at worst is found by filtering the half round trips like the offsets. It is reported apart.
//!
//! Where round trips scatter so much that this knows little, the quickest ways there and back know more ([`Envelope`]).

use std::collections::VecDeque;

use super::envelope::Envelope;
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
/// From this standard deviation on the envelopes are asked, ns.
const ENVELOPE_FROM_NS: i64 = 15_000;
/// As far as both may be apart from each other, in standard deviations of the filter.
const APART_SIGMAS: i64 = 3;
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

    /// Our raw clock in the middle of the exchange, ns.
    pub fn raw_middle_ns(&self) -> i64 {
        self.sent_ns + (self.back_ns - self.sent_ns) / 2
    }

    /// The node's shared time in the middle of the exchange; off by half of the round trip at most.
    pub fn shared_middle(&self) -> SharedTime {
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
    envelope: Option<Envelope>,
}

impl ClockFilter {
    /// One that also looks at the quickest ways there and back where round trips scatter. Only for a clock that runs at one rate, but
    /// for what [`ClockFilter::loosen`] is told.
    pub fn with_envelopes() -> Self {
        Self { envelope: Some(Envelope::default()), ..Self::default() }
    }

    /// Takes one burst of probes (or a single one): its minimum-RTT probe is what counts, unless round trips scatter.
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
            state => {
                *state = Some(State::start(best));
                self.envelope.iter_mut().for_each(Envelope::clear);
            }
        }
        let scatters = self.scatters();
        if let Some(envelope) = &mut self.envelope {
            envelope.observe(burst);
            if scatters {
                envelope.draw();
            }
        }
    }

    /// Whether round trips scatter so much that more of them would help.
    pub fn scatters(&self) -> bool {
        let sigma = self.state.as_ref().map(|state| state.covariance.offset.sqrt());
        sigma.is_some_and(|sigma| sigma > ENVELOPE_FROM_NS as f64)
    }

    /// The other clock may have run at another rate since the last measurement, by up to this much, in parts in 10^9, and
    /// may do so from now on: what is known of the offset stays, and the drift is learned anew.
    pub fn loosen(&mut self, drift_ppb: i64) {
        if let Some(state) = &mut self.state {
            state.turned_ns_per_s = state.turned_ns_per_s.max(drift_ppb as f64);
        }
        if drift_ppb > 0 {
            self.envelope.iter_mut().for_each(Envelope::clear);
        }
    }

    /// What is known, `None` before the first burst.
    pub fn estimate(&self, raw_now_ns: i64) -> Option<Estimate> {
        let state = self.state.as_ref()?;
        let age_secs = (raw_now_ns - state.map.raw_ns).max(0) as f64 * 1e-9;
        let covariance = state.covariance_after(age_secs);
        let known = Estimate {
            map: state.map.anchored(raw_now_ns),
            sigma_ns: covariance.offset.sqrt().ceil() as i64,
            drift_sigma_ppb: covariance.drift.sqrt().ceil() as i64,
            rtt_min_ns: self.rtts_ns.iter().copied().min().unwrap_or(0),
            skew_ns: state.skew.after(age_secs).offset.abs().ceil() as i64,
            drift_skew_ppb: state.skew.drift.abs().ceil() as i64,
        };
        let fit = self.envelope.as_ref().and_then(Envelope::fit);
        let Some(fit) = fit.filter(|_| known.sigma_ns > ENVELOPE_FROM_NS) else {
            return Some(known);
        };
        let sigma_ns = fit.sigma_at(raw_now_ns).ceil() as i64;
        let apart_ns = fit.map.at(raw_now_ns).since(known.map.at(raw_now_ns)).as_nanos().abs();
        // If they contradict each other, the other clock's rate has changed: then what is newer counts for more.
        if sigma_ns >= known.sigma_ns || apart_ns > APART_SIGMAS * known.sigma_ns {
            return Some(known);
        }
        let floor_ns = fit.floor_ns.ceil() as i64;
        Some(Estimate {
            map: fit.map.anchored(raw_now_ns),
            sigma_ns,
            drift_sigma_ppb: fit.drift_sigma.ceil() as i64,
            rtt_min_ns: floor_ns.max(known.rtt_min_ns),
            // Whatever the ways there and back took, it lies between the envelopes.
            skew_ns: floor_ns / 2,
            drift_skew_ppb: known.drift_skew_ppb,
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
    /// By how much the other clock's rate may be another one since the last measurement.
    turned_ns_per_s: f64,
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
            turned_ns_per_s: 0.0,
            wild: 0,
        }
    }

    /// After `secs` without a measurement.
    fn covariance_after(&self, secs: f64) -> Covariance {
        let known = self.covariance.after(secs);
        if self.turned_ns_per_s == 0.0 {
            return known;
        }
        // A clock that is slewed runs as fast as it may all the time, which is no chance: what it did adds to what the
        // samples were off by. Twice both variances cover the sum. How far it came says nothing of its rate from now on.
        let sigma = self.turned_ns_per_s / 3.0;
        Covariance {
            offset: 2.0 * (known.offset + (secs * sigma).powi(2)),
            cross: 0.0,
            drift: 2.0 * (known.drift + sigma * sigma),
        }
    }

    fn update(&mut self, probe: &Probe, sigma_ns: f64) {
        let raw_ns = probe.raw_middle_ns();
        let secs = (raw_ns - self.map.raw_ns).max(0) as f64 * 1e-9;
        let predicted = self.covariance_after(secs);
        self.turned_ns_per_s = 0.0;
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
mod tests;
