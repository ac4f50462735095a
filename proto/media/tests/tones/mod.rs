//! A sound that is known at every moment: sines of odd frequencies, so that no shift of it is like it.
#![allow(missing_docs, dead_code)]

use std::f64::consts::TAU;

/// A sum of sines, each with its frequency in Hz and its phase in turns.
pub struct Tones(Vec<(f64, f64)>);

const SINES: usize = 16;
const LEVEL: f64 = 0.5;

impl Tones {
    /// From 100 Hz up to `top_hz`.
    pub fn up_to(top_hz: f64) -> Self {
        let mut state = 99u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24)
        };
        Self((0..SINES).map(|_| (100.0 + random() * (top_hz - 100.0), random())).collect())
    }

    /// None.
    pub fn silent() -> Self {
        Self(Vec::new())
    }

    /// The sample at a moment.
    pub fn at(&self, secs: f64) -> f64 {
        let sum: f64 = self.0.iter().map(|(hz, turns)| (TAU * (hz * secs + turns)).sin()).sum();
        sum * LEVEL / (SINES as f64).sqrt()
    }

    /// A WAV of 16 bits with the sound in all channels.
    pub fn wav(&self, sample_rate: u32, channels: u16, frames: u64) -> Vec<u8> {
        let mut data = Vec::new();
        for n in 0..frames {
            let sample = self.at(n as f64 / f64::from(sample_rate)) * 32767.0;
            let sample = (sample.round() as i16).to_le_bytes();
            (0..channels).for_each(|_| data.extend_from_slice(&sample));
        }
        let width = channels * 2;
        let mut wav = b"RIFF".to_vec();
        wav.extend_from_slice(&(36 + data.len() as u32).to_le_bytes());
        wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
        wav.extend_from_slice(&channels.to_le_bytes());
        wav.extend_from_slice(&sample_rate.to_le_bytes());
        wav.extend_from_slice(&(sample_rate * u32::from(width)).to_le_bytes());
        wav.extend_from_slice(&width.to_le_bytes());
        wav.extend_from_slice(b"\x10\0data");
        wav.extend_from_slice(&(data.len() as u32).to_le_bytes());
        wav.extend_from_slice(&data);
        wav
    }

    /// How late samples are that should begin at frame `from` at this rate, in frames, and how alike they are there,
    /// from -1 to 1. Looks two frames to either side, in between frames too.
    pub fn lateness(&self, samples: &[f64], from: u64, sample_rate: u32) -> (f64, f64) {
        const STEPS: i32 = 4;
        let rate = f64::from(sample_rate);
        let likeness = |late: f64| {
            let (mut both, mut own, mut other) = (0.0, 0.0, 0.0);
            for (n, sample) in samples.iter().enumerate() {
                let expected = self.at(((from + n as u64) as f64 - late) / rate);
                both += sample * expected;
                own += sample * sample;
                other += expected * expected;
            }
            both / (own * other).sqrt().max(1e-9)
        };
        let around: Vec<f64> =
            (-2 * STEPS..=2 * STEPS).map(|n| likeness(f64::from(n) / f64::from(STEPS))).collect();
        let best = (0..around.len()).max_by(|a, b| around[*a].total_cmp(&around[*b])).unwrap_or(0);
        if best == 0 || best == around.len() - 1 {
            return (f64::INFINITY, around[best]);
        }
        // The top of the parabola through the best and its neighbours.
        let (before, top, after) = (around[best - 1], around[best], around[best + 1]);
        let between = (before - after) / (2.0 * (before - 2.0 * top + after));
        ((best as f64 + between) / f64::from(STEPS) - 2.0, top)
    }
}
