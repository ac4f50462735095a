//! Telling one of a machine's clocks by another.
//!
//! Devices stamp by CLOCK_MONOTONIC, which NTP slews, or by a clock of their own; shared time is
//! told by CLOCK_MONOTONIC_RAW, which nothing touches.

use jam_world::Clock;

/// How long this machine has slept since it started, give or take what NTP did to one of the clocks, ns.
pub fn slept_ns(machine: &dyn Clock) -> i64 {
    machine.boottime_ns() - machine.raw_ns()
}

/// Whether the machine slept between two readings of [`slept_ns`]: no NTP makes a difference of this size.
pub fn differ(one_ns: i64, other_ns: i64) -> bool {
    (one_ns - other_ns).abs() > SLEPT_NS
}

/// CLOCK_MONOTONIC ↔ another clock: a line through recent readings.
#[derive(Clone, Copy, Debug)]
pub struct ClockPair {
    mono_ns: i64,
    ahead_ns: i64,
    /// By how much the other clock is faster, as a ratio.
    slope: f64,
    /// Where the slope is measured from.
    since: (i64, i64),
}

/// Long enough for the slope to be good to a ppm, short enough to follow NTP.
const SLOPE_OVER_NS: i64 = 2_000_000_000;
/// No suspend is as short.
const SLEPT_NS: i64 = 20_000_000;
/// Readings for the tightest bracket.
const TRIES: usize = 5;

impl ClockPair {
    /// From readings of the machine's CLOCK_MONOTONIC and of the other clock now.
    pub fn new(machine: &dyn Clock, other_ns: impl Fn() -> i64) -> Self {
        let (mono_ns, ahead_ns) = bracket(machine, other_ns);
        Self { mono_ns, ahead_ns, slope: 0.0, since: (mono_ns, ahead_ns) }
    }

    /// Reads both clocks again.
    pub fn update(&mut self, machine: &dyn Clock, other_ns: impl Fn() -> i64) {
        let (mono, ahead) = bracket(machine, other_ns);
        self.mono_ns = mono;
        self.ahead_ns = ahead;
        if mono - self.since.0 >= SLOPE_OVER_NS {
            self.slope = (ahead - self.since.1) as f64 / (mono - self.since.0) as f64;
            self.since = (mono, ahead);
        }
    }

    /// The other clock at a monotonic reading.
    pub fn other(&self, mono_ns: i64) -> i64 {
        mono_ns + self.ahead_ns + ((mono_ns - self.mono_ns) as f64 * self.slope).round() as i64
    }

    /// The monotonic clock at a reading of the other.
    pub fn mono(&self, other_ns: i64) -> i64 {
        let mono = other_ns - self.ahead_ns;
        mono - ((mono - self.mono_ns) as f64 * self.slope / (1.0 + self.slope)).round() as i64
    }
}

/// CLOCK_MONOTONIC and how far the other clock is ahead of it, from the tightest of a few readings.
fn bracket(machine: &dyn Clock, other_ns: impl Fn() -> i64) -> (i64, i64) {
    let tightest = (0..TRIES)
        .map(|_| (machine.mono_ns(), other_ns(), machine.mono_ns()))
        .min_by_key(|(before, _, after)| after - before);
    let (before, other, after) = tightest.expect("there were tries");
    let mono = before + (after - before) / 2;
    (mono, other - mono)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let machine = jam_world::World::real().clock;
        let mut clocks = ClockPair::new(machine.as_ref(), || machine.raw_ns());
        clocks.update(machine.as_ref(), || machine.raw_ns());
        clocks.slope = 37e-6;
        let mono = clocks.mono_ns;
        for ahead in [0, 300_000_000, -300_000_000] {
            assert!((clocks.mono(clocks.other(mono + ahead)) - mono - ahead).abs() <= 2);
        }
    }
}
