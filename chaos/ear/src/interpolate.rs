//! Reading a sampled sound between its samples.

/// Samples that one value is made of.
const TAPS: usize = 32;
/// Steps between two samples. The nearest step is taken, so positions are good to 1/1024 frame.
const STEPS: usize = 512;

/// Windowed-sinc interpolation by table.
pub(super) struct Sinc {
    table: Vec<[f32; TAPS]>,
}

impl Sinc {
    /// How many samples on either side [`Sinc::slope`] needs.
    pub const SLOPE_REACH: usize = 8;

    pub fn new() -> Self {
        let half = (TAPS / 2) as f64;
        let weight = |offset: f64| {
            // Blackman's window reaches further down than Hann's for the same taps.
            let turn = std::f64::consts::PI * offset / half;
            let window = 0.42 + 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos();
            if offset.abs() >= half { 0.0 } else { (sinc(offset) * window) as f32 }
        };
        let row = |step: usize| {
            let fraction = step as f64 / STEPS as f64;
            std::array::from_fn(|tap| weight(tap as f64 - (half - 1.0) - fraction))
        };
        Self { table: (0..=STEPS).map(row).collect() }
    }

    /// Fills `out` with `samples` read at `position`, `position + rate`, …; silence outside.
    pub fn read(&self, samples: &[f32], position: f64, rate: f64, out: &mut [f32]) {
        for (n, value) in out.iter_mut().enumerate() {
            *value = self.at(samples, position + n as f64 * rate);
        }
    }

    fn at(&self, samples: &[f32], position: f64) -> f32 {
        let whole = position.floor();
        let row = &self.table[((position - whole) * STEPS as f64).round() as usize];
        let first = whole as i64 - (TAPS as i64 / 2 - 1);
        if first >= 0 && first as usize + TAPS <= samples.len() {
            let around = &samples[first as usize..first as usize + TAPS];
            // Eight sums side by side, which the compiler turns into vector instructions.
            let mut sums = [0.0f32; 8];
            for (s, w) in around.chunks_exact(8).zip(row.chunks_exact(8)) {
                for lane in 0..8 {
                    sums[lane] += s[lane] * w[lane];
                }
            }
            return sums.iter().sum();
        }
        (0..TAPS)
            .filter_map(|tap| {
                let at = usize::try_from(first + tap as i64).ok()?;
                Some(samples.get(at)? * row[tap])
            })
            .sum()
    }

    /// The slope, per sample, in the middle of `2 * SLOPE_REACH + 1` samples: the derivative of the
    /// sinc, windowed.
    pub fn slope(around: &[f32]) -> f32 {
        // (-1)^(k+1) / k, tapered so that the highest octave does not overshoot.
        const WEIGHTS: [f32; Sinc::SLOPE_REACH] =
            [0.9698463, -0.4415111, 0.25, -0.14671412, 0.082635, -0.04166667, 0.016711, -0.0037692];
        WEIGHTS
            .iter()
            .enumerate()
            .map(|(k, weight)| {
                weight * (around[Self::SLOPE_REACH + k + 1] - around[Self::SLOPE_REACH - k - 1])
            })
            .sum()
    }
}

fn sinc(x: f64) -> f64 {
    let turn = std::f64::consts::PI * x;
    if turn.abs() < 1e-9 { 1.0 } else { turn.sin() / turn }
}
