//! A resampler that knows exactly which moment of its input it outputs.
//!
//! Every song goes through it, also at the device's own rate, since it is what follows the device's
//! clock. It starts at any position and takes any step from block to block, which resamplers that are
//! made for fixed ratios don't.
//!
//! Measured at 44.1 kHz to 48 kHz: level within 0.0001 dB up to 20 kHz, and what is not the tone
//! at least 110 dB below it.

use jam_media::Filter;

use super::link::CHANNELS;

/// Stereo, from songs at one rate to a device at one rate.
pub struct Resampler {
    in_rate: u32,
    filter: Filter,
    /// Input position of the output frame that came last.
    last: f64,
    /// Input from frame `from` on, as much as is still needed.
    left: Vec<f32>,
    right: Vec<f32>,
    from: i64,
    /// What is fed, before it is parted.
    fed: Vec<f32>,
}

/// Where input comes from: fills interleaved stereo frames in order, all of them.
pub trait Input {
    /// Fills `out` with the next frames.
    fn feed(&mut self, out: &mut [f32]);
}

impl Resampler {
    /// From `in_rate` to `out_rate`, both in frames a second.
    pub fn new(in_rate: u32, out_rate: u32) -> Self {
        Self {
            in_rate,
            filter: Filter::new(f64::from(in_rate) / f64::from(out_rate)),
            last: 0.0,
            left: Vec::new(),
            right: Vec::new(),
            from: 0,
            fed: Vec::new(),
        }
    }

    /// The rate of its input.
    pub fn in_rate(&self) -> u32 {
        self.in_rate
    }

    /// How far before a position input has to begin for [`Resampler::begin`].
    pub fn preroll(&self) -> u64 {
        self.filter.taps() as u64 / 2
    }

    /// Starts anew, so that the next output frame, at `step` input frames after the last one, lies
    /// exactly at `at`. Positions count from the input's first frame, which is
    /// [`Resampler::preroll`] frames before the whole part of `at`.
    pub fn begin(&mut self, at: f64, step: f64) {
        self.last = at - step;
        self.from = 0;
        self.left.clear();
        self.right.clear();
    }

    /// The input position of the next output frame if the step is `step`.
    pub fn next_position(&self, step: f64) -> f64 {
        self.last + step
    }

    /// Outputs frames that advance in the input by `step` each.
    pub fn run(&mut self, out: &mut [f32], step: f64, input: &mut dyn Input) {
        let frames = (out.len() / CHANNELS) as f64;
        self.take_in(self.last + step, self.last + frames * step, input);
        for (n, frame) in out.chunks_exact_mut(CHANNELS).enumerate() {
            let at = self.last + (n + 1) as f64 * step;
            let first = (self.first_of(at) - self.from) as usize;
            let span = first..first + self.filter.taps();
            let fraction = at - at as i64 as f64;
            let sound = self.filter.at(fraction, &self.left[span.clone()], &self.right[span]);
            frame.copy_from_slice(&sound);
        }
        self.last += frames * step;
    }

    /// The first input frame that an output frame at `at` is made of.
    fn first_of(&self, at: f64) -> i64 {
        at as i64 - (self.filter.taps() as i64 / 2 - 1)
    }

    /// Holds exactly the input that output frames between two positions are made of.
    fn take_in(&mut self, at: f64, until: f64, input: &mut dyn Input) {
        let past = (self.first_of(at) - self.from).clamp(0, self.left.len() as i64);
        self.left.drain(..past as usize);
        self.right.drain(..past as usize);
        self.from += past;
        let end = self.first_of(until) + self.filter.taps() as i64;
        let more = (end - self.from - self.left.len() as i64).max(0) as usize;
        self.fed.resize(more * CHANNELS, 0.0);
        input.feed(&mut self.fed);
        self.left.extend(self.fed.chunks_exact(CHANNELS).map(|frame| frame[0]));
        self.right.extend(self.fed.chunks_exact(CHANNELS).map(|frame| frame[1]));
    }
}

#[cfg(test)]
mod tests;
