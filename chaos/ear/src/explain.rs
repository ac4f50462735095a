//! What accounts for the sound at a place: the run there, or, where nothing could be placed, a song that goes on or has begun.
//!
//! A fade-out ends in sound that is too quiet to be placed, and so does a quiet passage. That is no wrong sound: the song that
//! played before it says what should be heard there, as the one that plays behind it does.

use super::heard::Heard;
use super::reference::Reference;
use super::walk::Run;

impl Heard {
    /// Puts into `out` what should sound from `frame` on: by the run there, or else by the neighbouring one that fits `heard` better.
    pub(super) fn expect_at(
        &self,
        reference: &Reference,
        frame: usize,
        heard: &[f32],
        out: &mut [f32],
    ) {
        let mut best = f32::INFINITY;
        let mut tried = vec![0.0; out.len()];
        for run in self.explaining(frame) {
            let gain = run.gain(frame as f64);
            reference.expect(run.track, run.position(frame as f64), 1.0, &mut tried);
            tried.iter_mut().for_each(|sample| *sample *= gain);
            let left: f32 = heard.iter().zip(&tried).map(|(h, w)| (h - w) * (h - w)).sum();
            if left < best {
                best = left;
                out.copy_from_slice(&tried);
            }
        }
    }

    /// The runs that may account for a frame.
    fn explaining(&self, frame: usize) -> impl Iterator<Item = &Run> {
        let behind = self.runs.partition_point(|run| run.from <= frame);
        let before = self.runs[..behind].last();
        let is_within = before.is_some_and(|run| frame < run.to);
        let next = self.runs.get(behind).filter(|_| !is_within);
        let goes_on = |run: &&Run| run.position(frame as f64) < self.song_frames[run.track];
        let has_begun = |run: &&Run| run.position(frame as f64) >= 0.0;
        let before = before.filter(|run| is_within || goes_on(run));
        before.into_iter().chain(next.filter(has_begun))
    }
}
