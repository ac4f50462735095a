//! Changing a whole song's sample rate, as exactly as floating point allows.
//!
//! The judge has all the samples at hand, so it needs no filter design: it takes the spectrum
//! of the song, cuts or extends it to the other rate's, and goes back. The result is the
//! band-limited original; frame 0 stays at time 0.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

/// Silence kept around the sound, so that the ringing of a hard edge does not wrap around from
/// the song's end to its beginning.
const MARGIN_SECS: f64 = 0.1;

/// The share of the spectrum, at its top, that is faded out; players' resamplers do so too.
const SOFT_SHARE: f64 = 0.08;

/// `samples` at rate `from`, brought to rate `to`.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to || samples.is_empty() {
        return samples.to_vec();
    }
    // The shortest block that is a whole number of samples long at both rates.
    let common = gcd(from, to);
    let (block_in, block_out) = ((from / common) as usize, (to / common) as usize);
    let margin = (f64::from(from) * MARGIN_SECS) as usize;
    // Powers of two times the block keep the transform's length smooth, thus fast.
    let blocks = (samples.len() + 2 * margin).div_ceil(block_in);
    let octave = (blocks as f64 / 16.0).log2().ceil().max(0.0) as u32;
    let blocks = blocks.div_ceil(1 << octave) << octave;
    let (len_in, len_out) = (blocks * block_in, blocks * block_out);

    let mut planner = RealFftPlanner::<f32>::new();
    let forward = planner.plan_fft_forward(len_in);
    let backward = planner.plan_fft_inverse(len_out);
    let mut time = forward.make_input_vec();
    time[..samples.len()].copy_from_slice(samples);
    let mut spectrum = forward.make_output_vec();
    forward.process(&mut time, &mut spectrum).expect("the buffers were made for this plan");

    // Soft at the top: a hard edge there would ring for milliseconds around every attack.
    let top = len_in.min(len_out) / 2;
    let soft = (top as f64 * SOFT_SHARE) as usize;
    for (n, bin) in spectrum[top - soft..].iter_mut().enumerate() {
        let turn = std::f32::consts::PI * (n as f32 / soft as f32).min(1.0);
        *bin *= 0.5 + 0.5 * turn.cos();
    }
    spectrum.resize(len_out / 2 + 1, Complex::default());
    // The two ends of a real signal's spectrum are real by definition.
    spectrum[0].im = 0.0;
    spectrum[len_out / 2].im = 0.0;
    let mut out = backward.make_output_vec();
    backward.process(&mut spectrum, &mut out).expect("the buffers were made for this plan");

    let frames = (samples.len() as u64 * u64::from(to)).div_ceil(u64::from(from)) as usize;
    out.truncate(frames);
    let scale = 1.0 / len_in as f32;
    for sample in &mut out {
        *sample *= scale;
    }
    out
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    #[test]
    fn a_tone_keeps_its_phase_at_another_rate() {
        for (from, to) in [(44_100, 48_000), (48_000, 44_100), (32_000, 48_000), (96_000, 48_000)] {
            let tone = |n: usize, rate: u32| {
                let t = n as f64 / f64::from(rate);
                // Faded in and out: a tone that is cut off is not band-limited.
                (TAU * 997.0 * t).sin() * (0.5 - 0.5 * (TAU * t).cos())
            };
            let source: Vec<f32> = (0..from as usize).map(|n| tone(n, from) as f32).collect();
            let out = resample(&source, from, to);
            assert_eq!(out.len(), to as usize);
            for (n, sample) in out.iter().enumerate() {
                assert!(
                    (f64::from(*sample) - tone(n, to)).abs() < 1e-4,
                    "{from} -> {to}, frame {n}"
                );
            }
        }
    }
}
