//! The true peak of a song: how high its wave goes between the samples (ITU-R BS.1770-5, annex 2).
//!
//! The filter is that of the `ebur128` crate, a sinc in a Hann window with 48 taps at four times the rate, so both find
//! the same peak. Here the samples of a block are filtered side by side, as vector instructions do, and a block that can't
//! hold a higher peak than the one that was found is not filtered at all.

use std::f64::consts::PI;

const CHANNELS: usize = 2;
/// Taps at the higher rate.
const TAPS: usize = 48;
/// Samples that are filtered side by side.
const LANES: usize = 16;
/// Frames that are filtered, or passed over, together.
const BLOCK_FRAMES: usize = 64;
/// Samples before a block that its filter reaches: fewer than the taps of any phase.
const HISTORY: usize = 24;

/// Listens to stereo from its first sample to its last.
pub(crate) struct TruePeak {
    /// The filters for what lies between two samples, each with its newest sample last.
    phases: Vec<Vec<f32>>,
    /// How much higher than its highest sample the wave can go.
    gain_max: f32,
    peak: f32,
    channels: [Channel; CHANNELS],
    /// Frames of the block so far.
    held: usize,
}

/// A block of one channel, and what came before it.
#[derive(Clone)]
struct Channel {
    samples: [f32; HISTORY + BLOCK_FRAMES],
    /// The highest of the samples before the block.
    before: f32,
}

impl TruePeak {
    /// For sound of this rate. From 192 kHz on the samples are close enough to each other.
    pub(crate) fn new(rate: u32) -> Self {
        let factor = match rate {
            ..96_000 => 4,
            96_000..192_000 => 2,
            _ => 1,
        };
        // Phase 0 is the samples themselves.
        let phases: Vec<Vec<f32>> = (1..factor).map(|phase| taps(phase, factor)).collect();
        let gains = phases.iter().map(|taps| taps.iter().map(|tap| tap.abs()).sum::<f32>());
        let channel = Channel { samples: [0.0; HISTORY + BLOCK_FRAMES], before: 0.0 };
        Self {
            gain_max: gains.fold(1.0, f32::max),
            phases,
            peak: 0.0,
            channels: [channel.clone(), channel],
            held: 0,
        }
    }

    /// Hears interleaved stereo.
    pub(crate) fn hear(&mut self, samples: &[f32]) {
        let mut frames = samples.as_chunks::<CHANNELS>().0;
        while !frames.is_empty() {
            let (now, later) = frames.split_at(frames.len().min(BLOCK_FRAMES - self.held));
            for (n, channel) in self.channels.iter_mut().enumerate() {
                let to = &mut channel.samples[HISTORY + self.held..][..now.len()];
                to.iter_mut().zip(now).for_each(|(to, frame)| *to = frame[n]);
            }
            self.held += now.len();
            frames = later;
            if self.held == BLOCK_FRAMES {
                self.end_block();
            }
        }
    }

    /// The highest true peak of either channel, as a share of full scale.
    pub(crate) fn peak(mut self) -> f32 {
        // Silence as far as the block goes; what the filter would ring into it is not the song's.
        let held = std::mem::take(&mut self.held);
        for channel in &mut self.channels {
            channel.samples[HISTORY + held..].fill(0.0);
        }
        self.filter(held);
        self.peak
    }

    fn end_block(&mut self) {
        self.filter(BLOCK_FRAMES);
        for channel in &mut self.channels {
            channel.samples.copy_within(BLOCK_FRAMES.., 0);
        }
        self.held = 0;
    }

    /// Looks for a higher peak in the first `frames` of the block.
    fn filter(&mut self, frames: usize) {
        for channel in &mut self.channels {
            let here = highest(&channel.samples[HISTORY..]);
            let reached = here.max(channel.before);
            channel.before = highest(&channel.samples[BLOCK_FRAMES..]);
            self.peak = self.peak.max(here);
            if reached * self.gain_max <= self.peak {
                continue;
            }
            for taps in &self.phases {
                self.peak = self.peak.max(between(taps, &channel.samples, frames));
            }
        }
    }
}

/// The highest of the samples, above or below zero. What is no number is passed over.
fn highest(samples: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = samples.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, sample)| *lane = higher(*lane, *sample));
    }
    lanes.iter().chain(rest).fold(0.0, |peak, sample| higher(peak, *sample))
}

fn higher(peak: f32, sample: f32) -> f32 {
    let level = sample.abs();
    if level > peak { level } else { peak }
}

/// The highest that this filter makes of the first `frames` samples of a block.
fn between(taps: &[f32], samples: &[f32; HISTORY + BLOCK_FRAMES], frames: usize) -> f32 {
    let mut peak = 0.0;
    for from in (0..frames).step_by(LANES) {
        let mut sums = [0f32; LANES];
        let first = HISTORY + from + 1 - taps.len();
        for (tap, at) in taps.iter().zip(first..) {
            let samples: &[f32; LANES] =
                samples[at..at + LANES].try_into().expect("they are as many as lanes");
            sums.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += tap * sample);
        }
        let whole = LANES.min(frames - from);
        peak = sums[..whole].iter().fold(peak, |peak, sum| higher(peak, *sum));
    }
    peak
}

/// The taps for a phase of so many, the one for the oldest sample first.
fn taps(phase: usize, factor: usize) -> Vec<f32> {
    let tap = |j: usize| {
        let from_middle = (j as f64 - TAPS as f64 / 2.0) * PI / factor as f64;
        let window = 0.5 * (1.0 - f64::cos(2.0 * PI * j as f64 / TAPS as f64));
        (if from_middle == 0.0 { window } else { window * from_middle.sin() / from_middle }) as f32
    };
    (phase..TAPS).step_by(factor).map(tap).rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebur128::{EbuR128, Mode};

    fn noise(frames: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let sample = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        });
        sample.take(frames * CHANNELS).collect()
    }

    fn expected(rate: u32, samples: &[f32]) -> f64 {
        let mut meter = EbuR128::new(2, rate, Mode::TRUE_PEAK).expect("a rate");
        meter.add_frames_f32(samples).expect("samples");
        let peak = |channel| meter.true_peak(channel).expect("a channel");
        peak(0).max(peak(1))
    }

    fn heard(rate: u32, samples: &[f32], part: usize) -> f64 {
        let mut meter = TruePeak::new(rate);
        samples.chunks(part * CHANNELS).for_each(|samples| meter.hear(samples));
        f64::from(meter.peak())
    }

    /// Any length, any level, and a rise at any place.
    #[test]
    fn it_is_what_ebur128_finds() {
        for rate in [8000, 44_100, 95_999, 96_000, 191_999, 192_000, 768_000] {
            for frames in [0, 1, 11, 63, 64, 65, 127, 5000] {
                for rise in [0, frames / 3, frames] {
                    let mut samples = noise(frames, (frames + rise) as u32);
                    samples[..rise * 2].iter_mut().for_each(|sample| *sample *= 0.3);
                    let expected = expected(rate, &samples);
                    for part in [1, 64, 1009] {
                        let found = heard(rate, &samples, part);
                        let off = (found - expected).abs();
                        assert!(off <= 4e-6, "{rate} Hz, {frames}: {found}, not {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_wave_between_two_samples_is_seen() {
        // A quarter of the rate, and samples at 45°: the wave is higher by 3 dB.
        let samples: Vec<f32> =
            (0..2000).flat_map(|n| [[0.5, 0.5, -0.5, -0.5][n % 4]; CHANNELS]).collect();
        let found = heard(44_100, &samples, 100);
        assert!((found - 0.5 * 2f64.sqrt()).abs() < 0.02, "{found}");
    }

    #[test]
    fn what_is_no_number_is_passed_over() {
        let mut samples = noise(1000, 5);
        let expected = heard(44_100, &samples, 100);
        samples.extend([f32::NAN; 2]);
        assert_eq!(heard(44_100, &samples, 100), expected);
        samples.extend([f32::INFINITY; 2]);
        assert_eq!(heard(44_100, &samples, 100), f64::INFINITY);
    }
}
