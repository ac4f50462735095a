//! An affine map from a machine's raw clock to shared time.

use crate::time::{Flicks, SharedTime};

/// `shared = anchor_shared + (raw - anchor_raw) * (1 + drift)`, in integers but for the drift's product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharedMap {
    /// Raw clock at the anchor, nanoseconds.
    pub raw_ns: i64,
    /// Shared time at the anchor.
    pub shared: SharedTime,
    /// By how much shared time runs faster than the raw clock: 1e-6 is 1 ppm.
    pub drift: f64,
}

impl SharedMap {
    /// Shared time at a raw reading.
    pub fn at(&self, raw_ns: i64) -> SharedTime {
        let span = raw_ns - self.raw_ns;
        // The integer part is exact; only the ppm-sized correction goes through a float.
        self.shared + Flicks::from_nanos(span + (span as f64 * self.drift).round() as i64)
    }

    /// The raw reading at a shared instant, to about a nanosecond.
    pub fn raw_at(&self, shared: SharedTime) -> i64 {
        let span = shared.since(self.shared).as_nanos();
        self.raw_ns + span - (span as f64 * self.drift / (1.0 + self.drift)).round() as i64
    }

    /// The same map anchored at another raw reading, so that floats stay small.
    pub fn anchored(&self, raw_ns: i64) -> Self {
        Self { raw_ns, shared: self.at(raw_ns), drift: self.drift }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_there_and_back() {
        let map = SharedMap { raw_ns: 5_000_000_000, shared: SharedTime(77), drift: 80e-6 };
        for raw in [5_000_000_000, 5_000_000_001, 3_000_000_000, 90_000_000_000_000] {
            assert!((map.raw_at(map.at(raw)) - raw).abs() <= 2, "{raw}");
        }
        let hour = map.at(5_000_000_000 + 3_600_000_000_000).since(map.shared).as_nanos();
        assert_eq!(hour, 3_600_000_000_000 + 288_000_000);
    }
}
