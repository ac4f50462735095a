//! Reading this machine's two monotonic clocks, and telling one by the other.
//!
//! Devices stamp by CLOCK_MONOTONIC, which NTP slews; shared time is told by CLOCK_MONOTONIC_RAW, which nothing touches.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// CLOCK_MONOTONIC, ns.
pub fn mono_ns() -> i64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// CLOCK_MONOTONIC_RAW, ns.
pub fn raw_ns() -> i64 {
    nanos(clock_gettime(ClockId::MonotonicRaw))
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// CLOCK_MONOTONIC ↔ CLOCK_MONOTONIC_RAW: a line through recent readings.
#[derive(Clone, Copy, Debug)]
pub struct MonoToRaw {
    mono_ns: i64,
    raw_minus_mono_ns: i64,
    /// By how much the raw clock is faster.
    slope: f64,
    /// Where the slope is measured from.
    since: (i64, i64),
}

/// Long enough for the slope to be good to 0.1 ppm, short enough to follow NTP.
const SLOPE_OVER_NS: i64 = 2_000_000_000;

impl MonoToRaw {
    /// From readings now.
    pub fn now() -> Self {
        let (mono_ns, raw_minus_mono_ns) = read_both();
        Self { mono_ns, raw_minus_mono_ns, slope: 0.0, since: (mono_ns, raw_minus_mono_ns) }
    }

    /// Reads the clocks again.
    pub fn update(&mut self) {
        let (mono, difference) = read_both();
        self.mono_ns = mono;
        self.raw_minus_mono_ns = difference;
        if mono - self.since.0 >= SLOPE_OVER_NS {
            self.slope = (difference - self.since.1) as f64 / (mono - self.since.0) as f64;
            self.since = (mono, difference);
        }
    }

    /// The raw reading at a monotonic one.
    pub fn raw(&self, mono_ns: i64) -> i64 {
        mono_ns + self.raw_minus_mono_ns + ((mono_ns - self.mono_ns) as f64 * self.slope) as i64
    }

    /// The monotonic reading at a raw one.
    pub fn mono(&self, raw_ns: i64) -> i64 {
        let mono = raw_ns - self.raw_minus_mono_ns;
        mono - ((mono - self.mono_ns) as f64 * self.slope) as i64
    }
}

/// CLOCK_MONOTONIC and how far the raw clock is ahead of it, from the tightest of a few readings.
fn read_both() -> (i64, i64) {
    let tightest = (0..4).map(|_| (mono_ns(), raw_ns(), mono_ns())).min_by_key(|(before, _, after)| after - before);
    let (before, raw, after) = tightest.expect("four readings");
    let mono = before + (after - before) / 2;
    (mono, raw - mono)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut clocks = MonoToRaw::now();
        clocks.update();
        clocks.slope = 37e-6;
        let mono = clocks.mono_ns;
        for ahead in [0, 300_000_000, -300_000_000] {
            assert!((clocks.mono(clocks.raw(mono + ahead)) - mono - ahead).abs() <= 2);
        }
    }
}
