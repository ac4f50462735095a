//! Scales: times along the axis, and heights.

/// Labels along the time axis, at most.
const TIMES_MAX: i64 = 16;

/// Times that have a label: a round step apart.
pub(super) fn times(end_ns: i64) -> Vec<i64> {
    let step_ns = step_ns(end_ns);
    (0..=end_ns / step_ns).map(|step| step * step_ns).collect()
}

fn step_ns(end_ns: i64) -> i64 {
    let mut unit: i64 = 1_000;
    loop {
        for step_ns in [1, 2, 5].map(|share| share * unit) {
            // Minutes have sixty seconds.
            let step_ns = match step_ns {
                20_000_000_000 => 15_000_000_000,
                50_000_000_000 => 30_000_000_000,
                other if other > 50_000_000_000 => other / 100_000_000_000 * 60_000_000_000,
                other => other,
            };
            if end_ns / step_ns < TIMES_MAX {
                return step_ns;
            }
        }
        unit *= 10;
    }
}

/// The label of a time.
pub(super) fn time_text(at_ns: i64, end_ns: i64) -> String {
    let secs = at_ns as f64 * 1e-9;
    match step_ns(end_ns) {
        step_ns if step_ns >= 60_000_000_000 => format!("{:.0} min", secs / 60.0),
        step_ns if step_ns >= 1_000_000_000 && end_ns > 180_000_000_000 => {
            format!("{}:{:02}", at_ns / 60_000_000_000, at_ns / 1_000_000_000 % 60)
        }
        step_ns if step_ns >= 1_000_000_000 => format!("{secs:.0} s"),
        step_ns if step_ns >= 100_000_000 => format!("{secs:.1} s"),
        step_ns if step_ns >= 1_000_000 => format!("{:.0} ms", secs * 1e3),
        _ => format!("{:.3} ms", secs * 1e3),
    }
}

/// A logarithmic scale over whole powers of ten, upwards.
#[derive(Clone, Copy)]
pub(super) struct Log {
    low: f64,
    high: f64,
    height: f64,
}

impl Log {
    /// Over some values above 0, and over at least two powers of ten from `least` on.
    pub(super) fn over(values: impl Iterator<Item = f64>, least: f64, height: f64) -> Self {
        let high = values.fold(least, f64::max).log10().ceil();
        let low = least.log10().floor();
        Self { low, high: high.max(low + 2.0), height }
    }

    pub(super) fn y(self, value: f64) -> f64 {
        let value = value.max(10_f64.powf(self.low)).log10();
        self.height * (1.0 - (value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The powers of ten, with their heights.
    pub(super) fn ticks(self) -> impl Iterator<Item = (f64, f64)> {
        (self.low as i32..=self.high as i32).map(move |power| {
            let value = 10_f64.powi(power);
            (self.y(value), value)
        })
    }
}

/// A scale of both signs: even about 0, logarithmic outwards.
#[derive(Clone, Copy)]
pub(super) struct Both {
    even: f64,
    high: f64,
    height: f64,
}

impl Both {
    /// Up to `high`, even up to `even`.
    pub(super) fn new(even: f64, high: f64, height: f64) -> Self {
        Self { even, high: high.max(10.0 * even), height }
    }

    pub(super) fn y(self, value: f64) -> f64 {
        let reach = (self.high / self.even).asinh();
        let share = ((value / self.even).asinh() / reach).clamp(-1.0, 1.0);
        self.height * (1.0 - share) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_round() {
        for (secs, step) in [(60, 5), (30, 2), (200, 15), (600, 60), (3600, 300), (100_000, 12_000)]
        {
            let times = times(secs * 1_000_000_000);
            assert_eq!(times[1], step * 1_000_000_000, "{secs}");
            assert!(times.len() <= TIMES_MAX as usize);
        }
        assert_eq!(time_text(65_000_000_000, 200_000_000_000), "1:05");
        assert_eq!(time_text(2_000_000_000, 30_000_000_000), "2 s");
    }

    #[test]
    fn scales_go_up_and_stay_inside() {
        let log = Log::over([3.0, 250.0].into_iter(), 1.0, 90.0);
        assert_eq!([log.y(0.001), log.y(1.0), log.y(1000.0), log.y(1e9)], [90.0, 90.0, 0.0, 0.0]);
        assert_eq!(log.ticks().count(), 4);
        let both = Both::new(10.0, 1e4, 60.0);
        assert_eq!([both.y(0.0), both.y(1e4), both.y(-1e9)], [30.0, 0.0, 60.0]);
        assert!(both.y(5.0) < both.y(-5.0));
    }
}
