//! Everyone hears the same instant: how far apart two listeners hear the same sample.

use serde::Serialize;

use super::quantile;
use crate::Heard;

/// Between two listeners on one LAN, at p99.
pub const P99_MAX_NS: i64 = 200_000;
/// Through a leader change, at most.
pub const CHANGE_MAX_NS: i64 = 1_000_000;
/// A listener that has just joined is still being steered to its place; seconds.
pub const SETTLE_SECS: f64 = 2.0;

/// One look per this many nanoseconds.
const STEP_NS: i64 = 50_000_000;

/// How far apart two listeners were, look by look.
#[derive(Clone, Debug, Serialize)]
pub struct Skew {
    /// Instants at which both were heard in the same song.
    pub looks: usize,
    /// Instants at which both were heard, but in different songs.
    pub apart: usize,
    /// Half of the looks were nearer than this.
    pub p50_ns: i64,
    /// 99 in 100 were.
    pub p99_ns: i64,
    /// All were.
    pub max_ns: i64,
    /// When the largest was seen.
    pub max_at_ns: i64,
}

/// Skew of `a` against `b` between two CLOCK_MONOTONIC nanoseconds; none if they never played together.
pub fn skew(a: &Heard, b: &Heard, from_ns: i64, to_ns: i64) -> Option<Skew> {
    skew_where(a, b, from_ns, to_ns, |_| true)
}

/// The same, at instants that count.
pub fn skew_where(
    a: &Heard,
    b: &Heard,
    from_ns: i64,
    to_ns: i64,
    counts: impl Fn(i64) -> bool,
) -> Option<Skew> {
    let mut apart = 0;
    let mut largest = (0, from_ns);
    let mut looks = Vec::new();
    for at in (from_ns..to_ns).step_by(STEP_NS as usize).filter(|at| counts(*at)) {
        let (Some((song_a, a)), Some((song_b, b))) = (a.position_at(at), b.position_at(at)) else {
            continue;
        };
        if song_a != song_b {
            // At a seam one may be a moment ahead; far apart is another matter.
            apart += 1;
            continue;
        }
        let skew = ((b - a) * 1e9).abs() as i64;
        largest = largest.max((skew, at));
        looks.push(skew);
    }
    if looks.is_empty() {
        return None;
    }
    looks.sort_unstable();
    Some(Skew {
        looks: looks.len(),
        apart,
        p50_ns: quantile(&looks, 0.5),
        p99_ns: quantile(&looks, 0.99),
        max_ns: largest.0,
        max_at_ns: largest.1,
    })
}

/// The span in which all were heard and had time to settle.
pub fn common_span(all: &[&Heard]) -> Option<(i64, i64)> {
    let mut common = (i64::MIN, i64::MAX);
    for heard in all {
        let (from, to) = heard.span_ns()?;
        common = (common.0.max(from + (SETTLE_SECS * 1e9) as i64), common.1.min(to));
    }
    (common.0 < common.1).then_some(common)
}
