//! A player that is told exactly what to do, right or wrong: what the ear must hear is known.

use jam_chaos::ear::{Recording, Song};

/// CLOCK_MONOTONIC at the first output frame of every recording.
pub const BEGIN_NS: i64 = 5_000_000_000_000;
pub const RATE: u32 = 48_000;

/// A sound card whose clock may be off.
pub struct Stage {
    pub ppm: f64,
    pub volume: f32,
    pub samples: Vec<f32>,
}

impl Stage {
    pub fn new(ppm: f64) -> Self {
        Self { ppm, volume: 0.8, samples: Vec::new() }
    }

    /// Real seconds since [`BEGIN_NS`] at the frame that comes next.
    pub fn now(&self) -> f64 {
        self.samples.len() as f64 / self.rate()
    }

    pub fn rate(&self) -> f64 {
        f64::from(RATE) * (1.0 + self.ppm * 1e-6)
    }

    /// Plays `song` from `position` (seconds) for `secs` of real time; past its end, nothing.
    /// Answers the position it came to.
    pub fn play(&mut self, song: &Song, position: f64, secs: f64) -> f64 {
        let frames = (secs * self.rate()).round() as usize;
        let step = f64::from(song.sample_rate) / self.rate();
        let start = position * f64::from(song.sample_rate);
        let kernel = Kernel::new(step.recip().min(1.0));
        for n in 0..frames {
            let value = kernel.at(&song.samples, start + n as f64 * step);
            self.samples.push((value * self.volume).round().clamp(-32768.0, 32767.0));
        }
        position + frames as f64 / self.rate()
    }

    pub fn silence(&mut self, secs: f64) {
        let frames = (secs * self.rate()).round() as usize;
        self.samples.resize(self.samples.len() + frames, 0.0);
    }

    pub fn recording(&self) -> Recording {
        let step = RATE as usize / 10;
        let index = (0..=self.samples.len() / step + 1).map(|n| {
            let frame = n * step;
            (frame as u64, (BEGIN_NS as f64 + frame as f64 / self.rate() * 1e9).round() as u64)
        });
        Recording::from_parts(RATE, self.samples.clone(), index.collect())
    }
}

/// A windowed sinc by table. A cutoff below 1 leaves out what the slower rate of the device can't hold.
struct Kernel {
    reach: i64,
    rows: Vec<Vec<f32>>,
}

impl Kernel {
    const STEPS: usize = 2048;

    fn new(cutoff: f64) -> Self {
        use std::f64::consts::PI;
        let reach = (24.0 / cutoff).ceil() as i64;
        let weight = |x: f64| {
            let turn = PI * x * cutoff;
            let sinc = if turn.abs() < 1e-9 { 1.0 } else { turn.sin() / turn };
            (cutoff * sinc * (0.5 + 0.5 * (PI * x / (reach as f64 + 0.5)).cos())) as f32
        };
        let row = |step: usize| {
            let fraction = step as f64 / Self::STEPS as f64;
            (1 - reach..=reach).map(|k| weight(fraction - k as f64)).collect()
        };
        Self { reach, rows: (0..=Self::STEPS).map(row).collect() }
    }

    fn at(&self, samples: &[f32], position: f64) -> f32 {
        let whole = position.floor();
        let row = &self.rows[((position - whole) * Self::STEPS as f64).round() as usize];
        let first = whole as i64 + 1 - self.reach;
        let sample = |k: usize| usize::try_from(first + k as i64).ok().and_then(|n| samples.get(n));
        row.iter().enumerate().filter_map(|(k, weight)| Some(sample(k)? * weight)).sum()
    }
}

/// A position-coded song, as loud as music.
pub fn song(seed: u64, sample_rate: u32, secs: f64) -> Song {
    let samples = jam_chaos::testsong::position_coded(seed, sample_rate, secs);
    Song {
        name: format!("song {seed}"),
        track: format!("{seed:064x}"),
        sample_rate,
        samples: samples.iter().map(|s| s * 24_000.0).collect(),
    }
}
