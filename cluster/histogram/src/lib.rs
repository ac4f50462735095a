//! Stands in for `base2histogram`, on which openraft depends for its runtime statistics.
//!
//! That crate computes tables for sixteen resolutions when the first histogram is made: 26 MB that
//! stay resident, more than all the rest of a node. Without its feature `runtime-stats`, openraft only
//! counts the sizes of replicated batches, and shows them nowhere. So this one counts by powers of two,
//! and has what openraft names of that crate, charts but for the drawing. If openraft comes to name more,
//! it no longer compiles, and nothing goes wrong unseen.

use std::fmt;
use std::marker::PhantomData;

/// How many values there were of each size: bucket `n` counts those of `n` significant bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    buckets: [u64; 65],
    slots: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// One that has counted nothing.
    pub const fn new() -> Self {
        Self { buckets: [0; 65], slots: PhantomData }
    }

    /// Counts a value.
    pub const fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `count` times.
    pub const fn record_n(&mut self, value: u64, count: u64) {
        self.buckets[(u64::BITS - value.leading_zeros()) as usize] += count;
    }

    /// A value that so large a part of all values does not exceed: the highest of its bucket.
    fn quantile(&self, part: f64) -> u64 {
        let wanted = (self.total() as f64 * part).ceil() as u64;
        let mut counted = 0;
        let reached = self.buckets.iter().position(|count| {
            counted += count;
            counted >= wanted
        });
        match reached.unwrap_or(0) as u32 {
            0 => 0,
            bits => u64::MAX >> (u64::BITS - bits),
        }
    }

    /// The usual quantiles.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p99_9: self.quantile(0.999),
        }
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// What of a histogram is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentileStats {
    /// Values counted.
    pub samples: u64,
    /// Half of them are not above it.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9 } = self;
        write!(out, "n={samples} p50={p50} p90={p90} p99={p99} p99.9={p99_9}")
    }
}

/// Histograms under each other, by their quantiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AsciiChart(Vec<(String, PercentileStats)>);

impl AsciiChart {
    /// One without a histogram.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a histogram.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.0.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, stats)| writeln!(out, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn counts_every_value() {
        let mut histogram = Histogram::<()>::new();
        for value in [0, 1, 2, 3, u64::MAX] {
            histogram.record(value);
        }
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p99_9), (5, 3, u64::MAX));
    }
}
