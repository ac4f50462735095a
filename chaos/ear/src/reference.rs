//! The songs as they should sound: at the recording's rate, ready to be compared and searched.

use std::cell::OnceCell;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::interpolate::Sinc;
use super::resample::resample;

/// A song, decoded.
#[derive(Clone)]
pub struct Song {
    /// How reports call it.
    pub name: String,
    /// The BLAKE3 of its file in hexadecimal, as traces name it; empty if not known.
    pub track: String,
    /// Frames per second.
    pub sample_rate: u32,
    /// Mono mix of its exact, trimmed length.
    pub samples: Vec<f32>,
}

/// Both sides of every comparison go through this filter first, y(n) = x(n) - 0.85 x(n-1): music
/// has most of its power in the bass, where neighbouring positions look alike.
const EMPHASIS: f32 = 0.85;

/// Lengths of the transforms that search whole songs, and of the sound they look for.
const SEARCH_BLOCK: usize = 1 << 16;
/// The longest stretch of sound that a whole-song search compares. Longer would be surer but for
/// clocks that are off: at 100 ppm the ends of this one are less than a frame apart.
pub(super) const SEARCH_LEN: usize = 8192;

/// How a stretch of sound compares with a place in a song.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// Song position of the stretch's first sample, in frames of the recording's rate.
    pub position: f64,
    /// Normalised correlation there: 1 is the same sound.
    pub likeness: f32,
    /// Recorded level over the song's own.
    pub gain: f32,
}

/// One song at the recording's rate.
pub(super) struct Track {
    pub song: Song,
    /// Its length in frames of the recording's rate; rarely a whole number.
    pub frames: f64,
    samples: Vec<f32>,
    /// Running sum of squares, to normalise a correlation at any place.
    energy: Vec<f64>,
    spectra: OnceCell<Vec<Vec<Complex<f32>>>>,
}

/// All the songs that may sound.
pub struct Reference {
    /// Frames per second of the recordings it is for.
    pub sample_rate: u32,
    pub(super) tracks: Vec<Track>,
    pub(super) sinc: Sinc,
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
}

impl Reference {
    /// Prepares `songs` for recordings at `sample_rate`.
    pub fn new(songs: Vec<Song>, sample_rate: u32) -> Self {
        let mut planner = RealFftPlanner::new();
        let tracks = songs.into_iter().map(|song| {
            let mut samples = resample(&song.samples, song.sample_rate, sample_rate);
            emphasise(&mut samples);
            let mut sum = 0.0;
            let mut energy = vec![0.0];
            energy.extend(samples.iter().map(|s| {
                sum += f64::from(*s).powi(2);
                sum
            }));
            let frames =
                song.samples.len() as f64 * f64::from(sample_rate) / f64::from(song.sample_rate);
            Track { song, frames, samples, energy, spectra: OnceCell::new() }
        });
        Self {
            sample_rate,
            tracks: tracks.collect(),
            sinc: Sinc::new(),
            forward: planner.plan_fft_forward(SEARCH_BLOCK),
            backward: planner.plan_fft_inverse(SEARCH_BLOCK),
        }
    }

    /// The songs, in the order in which they were given.
    pub fn songs(&self) -> impl Iterator<Item = &Song> {
        self.tracks.iter().map(|track| &track.song)
    }

    /// How loud song `track` is on the whole, emphasised.
    pub(super) fn rms(&self, track: usize) -> f32 {
        let track = &self.tracks[track];
        let power = track.energy.last().copied().unwrap_or(0.0);
        (power / track.samples.len().max(1) as f64).sqrt() as f32
    }

    /// What song `track` sounds like from `position` on, at `rate` song frames per recorded one.
    pub(super) fn expect(&self, track: usize, position: f64, rate: f64, out: &mut [f32]) {
        self.sinc.read(&self.tracks[track].samples, position, rate, out);
    }

    /// Compares `sound` with song `track` near `position`, and follows it to the exact place if that
    /// is less than about a frame away (Gauss and Newton: the best level and the best shift, again
    /// and again).
    pub(super) fn fit(&self, sound: &[f32], track: usize, position: f64, rate: f64) -> Fit {
        const EDGE: usize = Sinc::SLOPE_REACH;
        let mut expected = vec![0.0; sound.len() + 2 * EDGE];
        let mut fit = Fit { position, likeness: 0.0, gain: 0.0 };
        for _ in 0..6 {
            self.expect(track, fit.position - EDGE as f64 * rate, rate, &mut expected);
            let (mut xx, mut ee, mut xe) = (0.0f64, 0.0f64, 0.0f64);
            let (mut xd, mut ed, mut dd) = (0.0f64, 0.0f64, 0.0f64);
            for (x, around) in sound.iter().zip(expected.windows(2 * EDGE + 1)) {
                let (x, e, d) =
                    (f64::from(*x), f64::from(around[EDGE]), f64::from(Sinc::slope(around)));
                xx += x * x;
                ee += e * e;
                xe += x * e;
                xd += x * d;
                ed += e * d;
                dd += d * d;
            }
            if ee <= 0.0 || xx <= 0.0 || dd <= 0.0 {
                return fit;
            }
            fit.gain = (xe / ee) as f32;
            fit.likeness = (xe / (xx * ee).sqrt()) as f32;
            if xe <= 0.0 {
                return fit;
            }
            let gain = xe / ee;
            // Slopes are per recorded frame, positions in the song's.
            let shift = ((xd - gain * ed) / (gain * dd)).clamp(-2.0, 2.0) * rate;
            fit.position += shift;
            if shift.abs() < 0.02 {
                break;
            }
        }
        fit
    }

    /// Finds `sound` in song `track` within `reach` frames of `position`.
    pub(super) fn search_near(
        &self,
        sound: &[f32],
        track: usize,
        position: f64,
        reach: usize,
    ) -> Option<Fit> {
        let sound = &sound[..sound.len().min(SEARCH_LEN)];
        let lags = 2 * reach + 1;
        assert!(lags + sound.len() <= SEARCH_BLOCK, "the search fits into one transform");
        let first = position.round() as i64 - reach as i64;
        let block = self.spectrum(&self.tracks[track].block(first, lags + sound.len()));
        let (lag, _) = self.best_lag(&self.spectrum(sound), sound, &block, track, first, lags)?;
        Some(self.fit(sound, track, (first + lag as i64) as f64, 1.0))
    }

    /// Finds `sound` in any song.
    pub(super) fn search(&self, sound: &[f32]) -> Option<(usize, Fit)> {
        let sound = &sound[..sound.len().min(SEARCH_LEN)];
        let wanted = self.spectrum(sound);
        let lags = SEARCH_BLOCK - SEARCH_LEN;
        let mut best: Option<(usize, i64, f32)> = None;
        for (number, track) in self.tracks.iter().enumerate() {
            let spectra = track.spectra.get_or_init(|| {
                (0..track.samples.len())
                    .step_by(lags)
                    .map(|first| self.spectrum(&track.block(first as i64, SEARCH_BLOCK)))
                    .collect()
            });
            for (block, spectrum) in spectra.iter().enumerate() {
                let first = (block * lags) as i64;
                let found = self.best_lag(&wanted, sound, spectrum, number, first, lags);
                if let Some((lag, likeness)) = found
                    && best.is_none_or(|(_, _, known)| likeness > known)
                {
                    best = Some((number, first + lag as i64, likeness));
                }
            }
        }
        let (number, position, _) = best?;
        Some((number, self.fit(&sound[..sound.len().min(2048)], number, position as f64, 1.0)))
    }

    fn spectrum(&self, samples: &[f32]) -> Vec<Complex<f32>> {
        let mut time = self.forward.make_input_vec();
        time[..samples.len()].copy_from_slice(samples);
        let mut spectrum = self.forward.make_output_vec();
        self.forward
            .process(&mut time, &mut spectrum)
            .expect("the buffers were made for this plan");
        spectrum
    }

    /// The lag of `sound` in a block of the song that begins at frame `first`, and the likeness there.
    fn best_lag(
        &self,
        wanted: &[Complex<f32>],
        sound: &[f32],
        block: &[Complex<f32>],
        track: usize,
        first: i64,
        lags: usize,
    ) -> Option<(usize, f32)> {
        let mut product: Vec<_> = block.iter().zip(wanted).map(|(b, w)| b * w.conj()).collect();
        product[0].im = 0.0;
        product[SEARCH_BLOCK / 2].im = 0.0;
        let mut correlation = self.backward.make_output_vec();
        self.backward
            .process(&mut product, &mut correlation)
            .expect("the buffers were made for this plan");
        let track = &self.tracks[track];
        let own = sound.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
        // Nearly silent places would look like anything.
        let least = track.energy.last().copied().unwrap_or(0.0) / track.samples.len().max(1) as f64
            * sound.len() as f64
            * 1e-4;
        let likeness = |lag: usize| {
            let theirs = track.energy_in(first + lag as i64, sound.len()).max(least);
            (f64::from(correlation[lag]) / SEARCH_BLOCK as f64 / (own * theirs).sqrt()) as f32
        };
        if own <= 0.0 || least <= 0.0 {
            return None;
        }
        (0..lags).map(|lag| (lag, likeness(lag))).max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

impl Track {
    /// `len` samples from `first` on; silence outside the song.
    fn block(&self, first: i64, len: usize) -> Vec<f32> {
        let mut out = vec![0.0; len];
        let from = first.clamp(0, self.samples.len() as i64);
        let to = (first + len as i64).clamp(from, self.samples.len() as i64);
        if to > from {
            let at = (from - first) as usize;
            out[at..at + (to - from) as usize]
                .copy_from_slice(&self.samples[from as usize..to as usize]);
        }
        out
    }

    fn energy_in(&self, first: i64, len: usize) -> f64 {
        let at = |frame: i64| self.energy[frame.clamp(0, self.samples.len() as i64) as usize];
        at(first + len as i64) - at(first)
    }
}

/// Applies the filter that every comparison is made through, in place.
pub(super) fn emphasise(samples: &mut [f32]) {
    let mut last = 0.0;
    for sample in samples {
        let now = *sample;
        *sample = now - EMPHASIS * last;
        last = now;
    }
}
