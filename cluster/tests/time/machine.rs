//! Machines with crystals: what their clocks show is a function of true time.

use std::f64::consts::TAU;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jam_world::Clock;

use crate::draws::Draws;

/// True time, ns; all machines of a site look at one.
pub type TrueTime = Arc<AtomicI64>;

/// One machine.
#[derive(Debug)]
pub struct Machine {
    now: TrueTime,
    /// The raw clock at true time 0.
    offset_ns: i64,
    /// How much too fast its crystal is.
    drift: f64,
    /// What the temperature adds to that, and takes, once in a period.
    wander: f64,
    period_ns: f64,
    phase: f64,
    /// CLOCK_BOOTTIME at true time 0. NTP keeps it at the rate of true time.
    booted_ns: i64,
    /// From when to when all of its clocks stood still, as those of a virtual machine that was paused.
    stood: Mutex<Vec<(i64, i64)>>,
}

impl Machine {
    /// Up to 100 ppm off, and up to 0.3 ppm of wander.
    pub fn new(now: TrueTime, draws: &mut Draws) -> Self {
        // One in eight is at the very limit.
        let drift = match draws.below(16) {
            0 => 100e-6,
            1 => -100e-6,
            _ => draws.within(-100e-6, 100e-6),
        };
        let offset_ns = draws.magnitude(1e9, 1e15) as i64;
        Self {
            now,
            offset_ns,
            drift,
            wander: draws.within(0.0, 0.3e-6),
            period_ns: draws.within(300e9, 1200e9),
            phase: draws.within(0.0, TAU),
            booted_ns: offset_ns + draws.magnitude(1.0, 1e12) as i64,
            stood: Mutex::default(),
        }
    }

    /// All of its clocks stand still, and nothing on it can tell.
    pub fn stands_still(&self, from_ns: i64, until_ns: i64) {
        let mut stood = self.stood.lock().unwrap_or_else(PoisonError::into_inner);
        stood.push((from_ns, until_ns));
    }

    /// For how long they had stood still by a true instant.
    pub fn stood_ns(&self, true_ns: i64) -> i64 {
        let stood = self.stood.lock().unwrap_or_else(PoisonError::into_inner);
        stood.iter().map(|(from_ns, until_ns)| (true_ns.min(*until_ns) - from_ns).max(0)).sum()
    }

    /// The raw clock at a true instant.
    pub fn raw_at(&self, true_ns: i64) -> i64 {
        self.raw_without(true_ns, self.stood_ns(true_ns))
    }

    /// What it would show if it had stood still for so long by then.
    pub fn raw_without(&self, true_ns: i64, stood_ns: i64) -> i64 {
        let true_ns = true_ns - stood_ns;
        let t = true_ns as f64;
        let turned = TAU * t / self.period_ns + self.phase;
        let wandered = self.wander * self.period_ns / TAU * (self.phase.cos() - turned.cos());
        self.offset_ns + true_ns + (t * self.drift + wandered).round() as i64
    }
}

impl Clock for Machine {
    fn raw_ns(&self) -> i64 {
        self.raw_at(self.now.load(Relaxed))
    }
    fn mono_ns(&self) -> i64 {
        self.boottime_ns()
    }
    fn boottime_ns(&self) -> i64 {
        let now_ns = self.now.load(Relaxed);
        self.booted_ns + now_ns - self.stood_ns(now_ns)
    }
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
    fn boot_id(&self) -> String {
        "the one boot".to_owned()
    }
}
