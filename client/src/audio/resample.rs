//! A resampler that knows exactly which moment of its input it outputs.
//!
//! Every song goes through it, also at the device's own rate, since it is what follows the
//! device's clock. rubato does the sound; this keeps the books: the input position of each output
//! frame, to a fraction of a frame.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable, Async, FixedAsync, Resampler as _, Resizable, SincInterpolationParameters,
    WindowFunction,
};

use super::link::{BLOCK_FRAMES, CHANNELS};

/// Taps of the filter: flat to 20 kHz at 44.1 kHz, and 0.3 % of a core.
const SINC_FRAMES: usize = 128;
/// Where in its window of input frames an output frame lies.
const CENTRE: f64 = SINC_FRAMES as f64 / 2.0 - 1.0 + 1.0 / OVERSAMPLING as f64;
const OVERSAMPLING: usize = 128;
/// By how much the ratio may move: steering needs 0.1 %, starting at a fraction of a frame 1 %.
const RATIO_RANGE: f64 = 1.05;

/// Stereo, from songs at one rate to a device at one rate.
pub struct Resampler {
    inner: Async<f32>,
    in_rate: u32,
    /// Input frames for each output frame, nominally.
    nominal_step: f64,
    /// Input position of the output frame that came last.
    last: f64,
    input: Vec<f32>,
    discard: Vec<f32>,
}

/// Where input comes from: fills interleaved stereo frames in order, all of them.
pub trait Input {
    /// Fills `out` with the next frames.
    fn feed(&mut self, out: &mut [f32]);
}

impl Resampler {
    /// From `in_rate` to `out_rate`.
    pub fn new(in_rate: u32, out_rate: u32) -> Result<Self, rubato::ResamplerConstructionError> {
        let ratio = f64::from(out_rate) / f64::from(in_rate);
        let parameters =
            SincInterpolationParameters::new(SINC_FRAMES, WindowFunction::BlackmanHarris2)
                .oversampling_factor(OVERSAMPLING);
        let inner = Async::new_sinc(
            ratio,
            RATIO_RANGE,
            &parameters,
            BLOCK_FRAMES,
            CHANNELS,
            FixedAsync::Output,
        )?;
        let input = vec![0.0; (inner.input_frames_max() + SINC_FRAMES) * CHANNELS];
        Ok(Self {
            inner,
            in_rate,
            nominal_step: 1.0 / ratio,
            last: 0.0,
            input,
            discard: vec![0.0; BLOCK_FRAMES * CHANNELS],
        })
    }

    /// The rate of its input.
    pub fn in_rate(&self) -> u32 {
        self.in_rate
    }

    /// How far before a position input has to begin for [`Resampler::begin`].
    pub fn preroll(&self) -> u64 {
        // Enough outputs to spread half a frame over without leaving the ratio's range.
        2 * SINC_FRAMES as u64 + (64.0 * self.nominal_step).ceil() as u64
    }

    /// Starts anew, so that the next output frame, at `step` input frames after the last discarded
    /// one, lies exactly at `at`. Positions count from the input's first frame, which is
    /// [`Resampler::preroll`] frames before the whole part of `at`.
    pub fn begin(&mut self, at: f64, step: f64, input: &mut dyn Input) {
        self.inner.reset();
        self.last = CENTRE - (SINC_FRAMES as f64 - 1.0);
        let advance = at - step - self.last;
        let outputs = (advance / self.nominal_step).round().max(1.0) as usize;
        let discard_step = advance / outputs as f64;
        let mut left = outputs;
        let mut discard = std::mem::take(&mut self.discard);
        while left > 0 {
            let frames = left.min(BLOCK_FRAMES);
            self.run(&mut discard[..frames * CHANNELS], discard_step, input);
            left -= frames;
        }
        self.discard = discard;
    }

    /// The input position of the next output frame if the step is `step`.
    pub fn next_position(&self, step: f64) -> f64 {
        self.last + step
    }

    /// Outputs frames (at most a block) that advance in the input by `step` each.
    pub fn run(&mut self, out: &mut [f32], step: f64, input: &mut dyn Input) {
        let frames = out.len() / CHANNELS;
        let ratio = 1.0 / step;
        self.inner.set_chunk_size(frames).expect("at most a block, and not empty");
        self.inner.set_resample_ratio(ratio, false).expect("steps stay within the range");
        let needed = self.inner.input_frames_next();
        let samples = &mut self.input[..needed * CHANNELS];
        input.feed(samples);
        let from = InterleavedSlice::new(&*samples, CHANNELS, needed).expect("the length fits");
        let mut to = InterleavedSlice::new_mut(out, CHANNELS, frames).expect("the length fits");
        self.inner.process_into_buffer(&from, &mut to, None).expect("sizes were asked for");
        self.last += frames as f64 / ratio;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sine whose phase is known at every position.
    struct Sine {
        frame: i64,
        per_frame: f64,
    }

    impl Input for Sine {
        fn feed(&mut self, out: &mut [f32]) {
            for frame in out.chunks_exact_mut(CHANNELS) {
                let value = (self.frame as f64 * self.per_frame).sin() as f32;
                frame.fill(value);
                self.frame += 1;
            }
        }
    }

    #[test]
    fn outputs_lie_where_the_books_say() {
        for (in_rate, out_rate) in [
            (44_100, 48_000),
            (48_000, 48_000),
            (96_000, 48_000),
            (8_000, 44_100),
            (192_000, 44_100),
        ] {
            let mut resampler = Resampler::new(in_rate, out_rate).expect("usual rates");
            let mut sine = Sine { frame: 0, per_frame: 0.05 };
            let nominal = f64::from(in_rate) / f64::from(out_rate);
            for fraction in [0.0, 0.3, 0.999] {
                sine.frame = 0;
                let at = resampler.preroll() as f64 + fraction;
                resampler.begin(at, nominal, &mut sine);
                assert!((resampler.next_position(nominal) - at).abs() < 1e-9);
                for round in 0..60 {
                    let frames = [128, 1, 77][round % 3];
                    let step = nominal * (1.0 + 400e-6 * (round as f64 * 0.2).sin());
                    let mut out = vec![0.0; frames * CHANNELS];
                    let first = resampler.next_position(step);
                    resampler.run(&mut out, step, &mut sine);
                    for (n, frame) in out.chunks_exact(CHANNELS).enumerate() {
                        let due = ((first + n as f64 * step) * 0.05).sin() as f32;
                        assert!(
                            (frame[0] - due).abs() < 2e-4,
                            "{in_rate}→{out_rate} round {round} frame {n}: {} {due}",
                            frame[0]
                        );
                    }
                }
            }
        }
    }
}
