use std::f64::consts::PI;

use super::*;

/// A tone whose phase is known at every position: a sine on the left, a cosine on the right.
struct Tone {
    frame: i64,
    per_frame: f64,
}

impl Tone {
    fn new(hz: f64, rate: u32) -> Self {
        Self { frame: 0, per_frame: 2.0 * PI * hz / f64::from(rate) }
    }
}

impl Input for Tone {
    fn feed(&mut self, out: &mut [f32]) {
        for frame in out.chunks_exact_mut(CHANNELS) {
            let (sine, cosine) = (self.frame as f64 * self.per_frame).sin_cos();
            frame.copy_from_slice(&[sine as f32, cosine as f32]);
            self.frame += 1;
        }
    }
}

const RATES: [(u32, u32); 5] =
    [(44_100, 48_000), (48_000, 48_000), (96_000, 48_000), (8_000, 44_100), (192_000, 44_100)];

/// What a tone is off by after resampling, steered to and fro as a player does: decibels below it.
fn off_db(in_rate: u32, out_rate: u32, hz: f64) -> f64 {
    let mut resampler = Resampler::new(in_rate, out_rate);
    let mut tone = Tone::new(hz, in_rate);
    let nominal = f64::from(in_rate) / f64::from(out_rate);
    resampler.begin(resampler.preroll() as f64 + 0.3, nominal);
    let (mut power, mut wrong) = (0.0, 0.0);
    for round in 0..200 {
        let step = nominal * (1.0 + 400e-6 * (f64::from(round) * 0.2).sin());
        let first = resampler.next_position(step);
        let mut out = [0.0; 128 * CHANNELS];
        resampler.run(&mut out, step, &mut tone);
        for (n, frame) in out.chunks_exact(CHANNELS).enumerate() {
            let (sine, cosine) = ((first + n as f64 * step) * tone.per_frame).sin_cos();
            power += sine.powi(2) + cosine.powi(2);
            wrong += (f64::from(frame[0]) - sine).powi(2) + (f64::from(frame[1]) - cosine).powi(2);
        }
    }
    10.0 * (wrong / power).log10()
}

#[test]
fn what_is_heard_passes_unchanged() {
    for hz in [30.0, 1000.0, 5000.0, 10_000.0, 15_000.0, 19_000.0, 19_800.0] {
        for (in_rate, out_rate) in RATES.into_iter().filter(|rates| rates.0 >= 44_100) {
            let off = off_db(in_rate, out_rate, hz);
            assert!(off < -100.0, "{in_rate}→{out_rate}, {hz} Hz: {off:.1} dB");
        }
    }
}

#[test]
fn what_can_not_be_represented_does_not_pass() {
    // These would come back as 8 to 21.5 kHz.
    for hz in [26_500.0, 30_000.0, 40_000.0] {
        let mut resampler = Resampler::new(96_000, 48_000);
        resampler.begin(resampler.preroll() as f64, 2.0);
        let mut out = vec![0.0; 4800 * CHANNELS];
        resampler.run(&mut out, 2.0, &mut Tone::new(hz, 96_000));
        let mean = out.iter().map(|sample| sample * sample).sum::<f32>() / 9600.0;
        let db = 10.0 * (2.0 * mean).log10();
        assert!(db < -100.0, "{hz} Hz: {db:.1} dB");
    }
}

#[test]
fn any_beginning_and_any_block_lie_where_the_books_say() {
    for (in_rate, out_rate) in RATES {
        let mut resampler = Resampler::new(in_rate, out_rate);
        let nominal = f64::from(in_rate) / f64::from(out_rate);
        for fraction in [0.0, 0.3, 0.999] {
            let mut tone = Tone::new(f64::from(in_rate.min(out_rate)) / 100.0, in_rate);
            let at = resampler.preroll() as f64 + fraction;
            resampler.begin(at, nominal);
            assert!((resampler.next_position(nominal) - at).abs() < 1e-9);
            for round in 0..60 {
                let frames = [128, 1, 77][round % 3];
                let step = nominal * (1.0 + 400e-6 * (round as f64 * 0.2).sin() - 400e-6);
                let first = resampler.next_position(step);
                let mut out = vec![0.0; frames * CHANNELS];
                resampler.run(&mut out, step, &mut tone);
                for (n, frame) in out.chunks_exact(CHANNELS).enumerate() {
                    let due = ((first + n as f64 * step) * tone.per_frame).sin() as f32;
                    assert!((frame[0] - due).abs() < 1e-5, "{in_rate}→{out_rate} {round} {n}");
                }
            }
        }
    }
}
