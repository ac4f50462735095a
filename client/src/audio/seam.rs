//! The seam between two songs of different rates, that belong together.
//!
//! A resampler's filter reaches over the end of its song. What it finds there has to be the other song, or the sound breaks off
//! and begins anew within a millisecond: a click. So each song is continued over the seam at its own rate, with what lies on the
//! other side, interpolated.

use std::collections::VecDeque;

/// A frame of stereo.
pub type Frame = [f32; 2];

/// Points of the interpolation: so many on each side of an instant, where there are.
const HALF: usize = 3;

/// What lies on both sides: the last frames of one song and the first ones of the other.
pub struct Seam {
    /// Instants in seconds from the seam on, and what sounds then.
    points: Vec<(f64, Frame)>,
    ending_rate: f64,
    following_rate: f64,
}

impl Seam {
    /// Of a song that `ends` with these frames, the last one a frame's length before the seam, and one that `begins` at it. Rates are
    /// in frames a second.
    pub fn new(
        ends: &VecDeque<Frame>,
        ending_rate: u32,
        begins: &[Frame],
        following_rate: u32,
    ) -> Self {
        let (ending_rate, following_rate) = (f64::from(ending_rate), f64::from(following_rate));
        let count = ends.len() as f64;
        let before =
            ends.iter().enumerate().map(|(n, frame)| ((n as f64 - count) / ending_rate, *frame));
        let after = begins.iter().enumerate().map(|(n, frame)| (n as f64 / following_rate, *frame));
        Self { points: before.chain(after).collect(), ending_rate, following_rate }
    }

    /// The ending song's frame `n`, counted from the seam on.
    pub fn beyond(&self, n: usize) -> Frame {
        self.at(n as f64 / self.ending_rate)
    }

    /// The following song's last `count` frames before the seam, in order.
    pub fn ahead(&self, count: usize) -> impl Iterator<Item = Frame> {
        (1..=count).rev().map(|n| self.at(-(n as f64) / self.following_rate))
    }

    /// What sounds at an instant: the polynomial through the points around it (Lagrange); silence where nothing is known.
    fn at(&self, seconds: f64) -> Frame {
        let next = self.points.partition_point(|(at, _)| *at < seconds);
        let first = next.saturating_sub(HALF);
        let around = &self.points[first..(next + HALF).min(self.points.len())];
        let is_known = around.first().is_some_and(|(at, _)| *at <= seconds)
            && around.last().is_some_and(|(at, _)| *at >= seconds);
        if !is_known {
            return [0.0; 2];
        }
        let mut sum = [0.0; 2];
        for (n, (at, frame)) in around.iter().enumerate() {
            let others = around.iter().enumerate().filter(|(other, _)| *other != n);
            let weight: f64 =
                others.map(|(_, (other, _))| (seconds - other) / (at - other)).product();
            sum[0] += weight * f64::from(frame[0]);
            sum[1] += weight * f64::from(frame[1]);
        }
        sum.map(|value| value as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(seconds: f64) -> Frame {
        let value = (std::f64::consts::TAU * 1000.0 * seconds + 0.3).sin() as f32;
        [value, -value]
    }

    #[test]
    fn a_tone_goes_on_over_the_seam_at_both_rates() {
        let ends = (1..=60).rev().map(|n| tone(-f64::from(n) / 44_100.0)).collect();
        let begins: Vec<Frame> = (0..120).map(|n| tone(f64::from(n) / 96_000.0)).collect();
        let seam = Seam::new(&ends, 44_100, &begins, 96_000);
        for n in 0..50 {
            let off = seam.beyond(n)[0] - tone(n as f64 / 44_100.0)[0];
            assert!(off.abs() < 1e-4, "{n}: {off}");
        }
        for (n, frame) in seam.ahead(100).enumerate() {
            let due = tone((n as f64 - 100.0) / 96_000.0);
            assert!((frame[1] - due[1]).abs() < 1e-4, "{n}: {frame:?} {due:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_silent() {
        let seam = Seam::new(&VecDeque::from([[1.0; 2]; 4]), 8_000, &[[1.0; 2]; 4], 192_000);
        assert_eq!(seam.beyond(1), [0.0; 2]);
        assert_eq!(seam.ahead(200).filter(|frame| *frame == [0.0; 2]).count(), 200 - 96);
    }
}
