//! A song at another rate: what lies between two of its frames.
//!
//! A low-pass filter is tabulated for many fractions of a frame, and the one for the fraction at hand lies on a
//! line between two of them. So it serves a player, who takes steps of any size, as well as whoever takes
//! steps of one size through a whole song. It has no delay: whoever uses it says which moment is meant.

use std::f64::consts::PI;

const CHANNELS: usize = 2;

/// A low-pass filter for any fraction of an input frame: a sinc in a Kaiser window, whose length
/// and beta follow from what shall pass and what shall not (Oppenheim and Schafer, "Discrete-Time
/// Signal Processing", 7.5.3).
pub struct Filter {
    taps: usize,
    /// Rows of taps, for equally spaced fractions from 0 to 1, both included.
    rows: Vec<f32>,
}

/// Taps for an input at the lower of the two rates; one at the higher needs more, in proportion.
/// Half the level passes at half the lower rate. At 44.1 kHz that is flat to 20 kHz and shut from
/// 24.1 kHz on: what lies between 20 and 22.05 kHz is mirrored, but only to where nobody hears it.
const TAPS: usize = 72;
/// For 104 dB.
const KAISER_BETA: f64 = 10.4;
/// Between tabulated fractions a line is off by at most (2πf)²/8 of their distance squared, f being
/// the share of the rate: at 20 kHz by -108 dB.
const FRACTIONS: usize = 512;
/// For inputs of up to 1.4 MHz; a filter for what a broken header may claim would take gigabytes.
const WIDEST: f64 = 32.0;
/// Products that are summed side by side, as vector instructions do.
const LANES: usize = 8;

impl Filter {
    /// For `ratio` input frames for each output frame.
    pub fn new(ratio: f64) -> Self {
        let wide = ratio.clamp(1.0, WIDEST);
        let taps = ((TAPS as f64 * wide).ceil() as usize).next_multiple_of(LANES);
        // A wider filter changes less from one fraction to the next.
        let fractions = (FRACTIONS as f64 / wide).ceil() as usize;
        let mut rows = Vec::with_capacity((fractions + 1) * taps);
        for row in 0..=fractions {
            let fraction = row as f64 / fractions as f64;
            let row: Vec<f64> =
                (0..taps).map(|tap| impulse(tap, taps, fraction, 1.0 / wide)).collect();
            // Each lets a constant pass unchanged.
            let sum: f64 = row.iter().sum();
            rows.extend(row.iter().map(|tap| (tap / sum) as f32));
        }
        Self { taps, rows }
    }

    /// How many frames of input lie around a moment, half of them at or before it. A multiple of 8.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Left and right at the moment that is `fraction`, from 0 to less than 1, of a frame behind the frame before
    /// the middle of `left` and `right`. Each holds as many frames as there are taps.
    pub fn at(&self, fraction: f64, left: &[f32], right: &[f32]) -> [f32; CHANNELS] {
        let fractions = self.rows.len() / self.taps - 1;
        let place = fraction * fractions as f64;
        let row = place as usize;
        let between = (place - row as f64) as f32;
        let (before, after) = self.rows[row * self.taps..(row + 2) * self.taps].split_at(self.taps);
        let (mut sum_left, mut sum_right) = ([0.0; LANES], [0.0; LANES]);
        let taps = before.as_chunks::<LANES>().0.iter().zip(after.as_chunks::<LANES>().0);
        let sound = left.as_chunks::<LANES>().0.iter().zip(right.as_chunks::<LANES>().0);
        for ((before, after), (left, right)) in taps.zip(sound) {
            for n in 0..LANES {
                let tap = before[n] + between * (after[n] - before[n]);
                sum_left[n] += tap * left[n];
                sum_right[n] += tap * right[n];
            }
        }
        [sum_left.iter().sum(), sum_right.iter().sum()]
    }
}

/// A tap of the filter that is `taps` long and has its peak `fraction` behind the one in the middle.
fn impulse(tap: usize, taps: usize, fraction: f64, cutoff: f64) -> f64 {
    let half = taps as f64 / 2.0;
    let from_peak = tap as f64 - (half - 1.0) - fraction;
    let from_edge = 1.0 - (from_peak / half).powi(2);
    sinc(cutoff * from_peak) * bessel_i0(KAISER_BETA * from_edge.max(0.0).sqrt())
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The modified Bessel function of order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let square = x * x / 4.0;
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while term > 1e-12 * sum {
        term *= square / (n * n);
        sum += term;
        n += 1.0;
    }
    sum
}
