//! Time in flicks: integers that every usual sample rate divides exactly.
//!
//! A flick is 1/705,600,000 s (<https://github.com/facebookarchive/Flicks>), so one frame
//! at 44.1 kHz is 16,000 flicks and one at 48 kHz is 14,700. Positions and instants never
//! drift from the frames they stand for. An `i64` of flicks spans 414 years. Sums and differences
//! saturate there, so that no number from outside can make one node panic and another wrap around.

use std::ops::{Add, AddAssign, Sub};

/// Flicks in one second.
pub const FLICKS_PER_SECOND: i64 = 705_600_000;

/// A span of time, or a position in a song, in flicks. May be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flicks(pub i64);

/// An instant on the cluster's one clock, in flicks since an origin that only that cluster knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedTime(pub i64);

impl Flicks {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From whole seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * FLICKS_PER_SECOND)
    }

    /// From milliseconds, exactly.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * (FLICKS_PER_SECOND / 1000))
    }

    /// From nanoseconds, to the nearest flick. A flick is 1.417 ns.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(div_round(nanos as i128 * 441, 625))
    }

    /// To the nearest nanosecond.
    pub const fn as_nanos(self) -> i64 {
        div_round(self.0 as i128 * 625, 441)
    }

    /// Where frame `frames` of a song at `sample_rate` begins; exact for every rate that
    /// divides 705,600,000, else to the nearest flick.
    ///
    /// # Panics
    /// If `sample_rate` is 0.
    pub const fn from_frames(frames: u64, sample_rate: u32) -> Self {
        Self(div_round(frames as i128 * FLICKS_PER_SECOND as i128, sample_rate as i128))
    }

    /// The frame at `sample_rate` that sounds at this position: the last one that has begun.
    ///
    /// The inverse of [`Flicks::from_frames`] for every frame, also at odd rates, where the
    /// start of a frame is rounded to a flick.
    pub const fn as_frames(self, sample_rate: u32) -> i64 {
        // Half a flick forward makes up for the rounding of from_frames at odd rates and
        // changes nothing at exact ones: their frames are thousands of flicks long.
        let twice =
            2 * self.0 as i128 + if FLICKS_PER_SECOND % sample_rate as i64 == 0 { 0 } else { 1 };
        (twice * sample_rate as i128).div_euclid(2 * FLICKS_PER_SECOND as i128) as i64
    }

    /// In seconds, for people to read.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / FLICKS_PER_SECOND as f64
    }
}

impl SharedTime {
    /// As nanoseconds, to the nearest, for JSON.
    pub const fn as_nanos(self) -> i64 {
        Flicks(self.0).as_nanos()
    }

    /// The span from `earlier` to this instant.
    pub const fn since(self, earlier: Self) -> Flicks {
        Flicks(self.0.saturating_sub(earlier.0))
    }
}

const fn div_round(numerator: i128, denominator: i128) -> i64 {
    (numerator + denominator / 2).div_euclid(denominator) as i64
}

impl Add for Flicks {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Flicks {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Flicks {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add<Flicks> for SharedTime {
    type Output = Self;
    fn add(self, span: Flicks) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Flicks> for SharedTime {
    type Output = Self;
    fn sub(self, span: Flicks) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_at_any_rate() {
        for rate in
            [8000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000, 44_056, 37_800, 12_345]
        {
            for frame in (0..2000).chain([10_000_000_007, 44_100 * 86_400 * 30]) {
                assert_eq!(
                    Flicks::from_frames(frame, rate).as_frames(rate),
                    frame as i64,
                    "{frame} at {rate}"
                );
            }
        }
    }

    #[test]
    fn a_flick_before_a_frame_is_the_frame_before() {
        let start = Flicks::from_frames(1000, 44_100);
        assert_eq!((start - Flicks(1)).as_frames(44_100), 999);
        assert_eq!(Flicks(-1).as_frames(44_100), -1);
    }

    #[test]
    fn nanoseconds_come_back_to_the_nanosecond() {
        for nanos in [0, 1, -1, 999, 1_000_000_007, -123_456_789_012_345] {
            // A flick is 1.4 ns long, so not every nanosecond has one of its own.
            assert!((Flicks::from_nanos(nanos).as_nanos() - nanos).abs() <= 1);
        }
    }
}
