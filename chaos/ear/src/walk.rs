//! Following a recording through the songs: which song position sounds at which output frame.
//!
//! The recording is cut into cells of about 43 ms. Each is expected where the last ones lead to, and
//! compared with the song there; one comparison is enough as long as the music simply goes on. Where
//! it doesn't fit, the neighbourhood is searched, then every song. What was found is a list of runs: spans
//! in which the position moves on without a step.

use super::reference::{Fit, Reference};

/// Frames compared at once: long enough to know a place in real music, short enough to see steering.
pub(super) const CELL: usize = 2048;
/// The shortest piece of sound that is looked at by itself.
const CELL_MIN: usize = 128;
/// How much alike sound and song must be for the place to count as found. The same decoded sound
/// through a good resampler reaches 0.999, another place in the same music rarely 0.9.
const LIKENESS_MIN: f32 = 0.95;
/// A likeness this far below what the run had so far calls for a look around.
const LIKENESS_DROP: f32 = 0.02;
/// Cells quieter than this, in steps of 16-bit sound, can't be placed.
pub(super) const QUIET_RMS: f32 = 3.0;
/// Steps smaller than this (in seconds) are steering, larger ones are jumps.
pub(super) const STEP_SECS: f64 = 100e-6;
/// Frames on either side that are searched before all the songs are.
const REACH: usize = 8192;
/// After its end a song is looked for no more; in seconds.
pub(super) const SEAM_SECS: f64 = 2.0;
/// The longest pause between two searches of all the songs, in cells.
const SEARCH_PAUSE_MAX: usize = 96;

/// A measured place: which song position sounds at an output frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub frame: f64,
    /// In frames of the recording's rate.
    pub position: f64,
    pub gain: f32,
}

/// A span in which one song's position moves on without a step.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub track: usize,
    pub points: Vec<Point>,
    /// Output frames that it covers.
    pub from: usize,
    pub to: usize,
    likeness: f32,
}

impl Run {
    /// A song that is known to lie here, without having been followed.
    pub fn placed(track: usize, point: Point, from: usize, to: usize) -> Self {
        Self { track, points: vec![point], from, to, likeness: 1.0 }
    }

    /// The output frame at which a song of this length ends, if it goes on as it did.
    pub fn ends_at(&self, frames: f64) -> f64 {
        let last = self.points.len() - 1;
        let point = self.points[last];
        point.frame + (frames - point.position) / self.rate(last)
    }

    /// The output frame at which the song began, if it always went on as it does here.
    pub fn begins_at(&self) -> f64 {
        let point = self.points[0];
        point.frame - point.position / self.rate(0)
    }

    /// The song position at an output frame, also a little before and after the run.
    pub fn position(&self, frame: f64) -> f64 {
        let at = self.points.partition_point(|point| point.frame <= frame);
        if at == 0 {
            let first = self.points[0];
            return first.position + (frame - first.frame) * self.rate(0);
        }
        let known = self.points[at - 1];
        match self.points.get(at) {
            Some(next) => {
                known.position
                    + (frame - known.frame) * (next.position - known.position)
                        / (next.frame - known.frame)
            }
            None => known.position + (frame - known.frame) * self.rate(self.points.len() - 1),
        }
    }

    /// The level at an output frame.
    pub fn gain(&self, frame: f64) -> f32 {
        let at = self.points.partition_point(|point| point.frame <= frame);
        self.points[at.saturating_sub(1)].gain
    }

    /// Song frames per output frame around point `at`: 1 and a few ppm.
    fn rate(&self, at: usize) -> f64 {
        let (a, b) =
            (self.points[at.saturating_sub(8)], self.points[(at + 8).min(self.points.len() - 1)]);
        // Over a short span the measuring error is larger than any real clock's.
        if b.frame - a.frame < 4.0 * CELL as f64 {
            return 1.0;
        }
        ((b.position - a.position) / (b.frame - a.frame)).clamp(0.999, 1.001)
    }
}

/// Follows `sound` (emphasised) through the songs. `stretches` are the spans that are not plain silence.
pub(super) fn walk(reference: &Reference, sound: &[f32], stretches: &[(usize, usize)]) -> Vec<Run> {
    let mut walker =
        Walker { reference, sound, runs: Vec::new(), misses: 0, search_pause: 1, search_again: 0 };
    for (from, to) in stretches {
        walker.stretch(*from, *to);
    }
    walker.runs
}

struct Walker<'a> {
    reference: &'a Reference,
    sound: &'a [f32],
    runs: Vec<Run>,
    /// Cells in a row that fitted nowhere.
    misses: usize,
    /// Cells from one fruitless search of all the songs to the next, and the frame of the next.
    search_pause: usize,
    search_again: usize,
}

impl Walker<'_> {
    fn stretch(&mut self, from: usize, to: usize) {
        let mut at = from;
        while to - at >= CELL_MIN {
            let len = if to - at < CELL * 3 / 2 { to - at } else { CELL };
            at += self.cell(at, len, to);
        }
    }

    /// Places the cell of `len` frames at `at`; answers how many frames it dealt with.
    fn cell(&mut self, at: usize, len: usize, end: usize) -> usize {
        let cell = &self.sound[at..at + len];
        if rms(cell) < QUIET_RMS {
            return len;
        }
        if let Some((track, position, rate)) = self.predict(at) {
            let left = (self.reference.tracks[track].frames - position) / rate;
            if left < 1.0 {
                if self.next_song(at, len, -left) {
                    return len;
                }
            } else if left < len as f64 {
                // The song ends in this cell: judge what is left of it, and begin anew behind it.
                let head = left as usize;
                if head >= CELL_MIN {
                    let fit = self.reference.fit(&cell[..head], track, position, rate);
                    self.accept(at, head, track, fit, Some((position, rate)));
                }
                return head;
            } else if self.follow(at, len, end, track, position, rate) {
                return len;
            }
        }
        self.misses += 1;
        if (self.misses >= 2 || self.runs.is_empty()) && at >= self.search_again {
            let found =
                self.reference.search(&self.sound[at..end.min(at + super::reference::SEARCH_LEN)]);
            if let Some((track, fit)) = found
                && fit.likeness >= LIKENESS_MIN
            {
                self.accept(at, len.min(CELL), track, fit, None);
                self.reach_back(at);
                return len.min(CELL);
            }
            self.search_again = at + self.search_pause * CELL;
            self.search_pause = (self.search_pause * 2).min(SEARCH_PAUSE_MAX);
        }
        len
    }

    /// The song goes on where it should, or not far from there.
    fn follow(
        &mut self,
        at: usize,
        len: usize,
        end: usize,
        track: usize,
        position: f64,
        rate: f64,
    ) -> bool {
        let cell = &self.sound[at..at + len];
        let fit = self.reference.fit(cell, track, position, rate);
        let usual = self.runs.last().map_or(1.0, |run| run.likeness);
        if fit.likeness >= LIKENESS_MIN && fit.likeness >= usual - LIKENESS_DROP {
            self.accept(at, len, track, fit, Some((position, rate)));
            return true;
        }
        let around = &self.sound[at..end.min(at + 2 * CELL)];
        let found = self.reference.search_near(around, track, position, REACH);
        // What fits the longer piece must fit this cell too: a step may lie between.
        let found = found.map(|found| self.reference.fit(cell, track, found.position, rate));
        let best = match found {
            Some(found) if found.likeness > fit.likeness + 0.005 => found,
            _ => fit,
        };
        let good = best.likeness >= LIKENESS_MIN;
        if good {
            self.accept(at, len, track, best, Some((position, rate)));
        }
        good
    }

    /// After a song's end: any song may begin here, `late` frames ago.
    fn next_song(&mut self, at: usize, len: usize, late: f64) -> bool {
        let cell = &self.sound[at..at + len];
        let exact =
            (0..self.reference.tracks.len()).map(|t| (t, self.reference.fit(cell, t, late, 1.0)));
        let best = exact.max_by(|a, b| a.1.likeness.total_cmp(&b.1.likeness));
        let best = best.filter(|(_, fit)| fit.likeness >= LIKENESS_MIN).or_else(|| {
            (0..self.reference.tracks.len())
                .filter_map(|t| Some((t, self.reference.search_near(cell, t, late, REACH)?)))
                .max_by(|a, b| a.1.likeness.total_cmp(&b.1.likeness))
        });
        match best {
            Some((track, fit)) if fit.likeness >= LIKENESS_MIN => {
                self.accept(at, len, track, fit, None);
                true
            }
            _ => false,
        }
    }

    /// Notes a place: in the run at hand if it goes on there, else in a new one.
    fn accept(
        &mut self,
        at: usize,
        len: usize,
        track: usize,
        fit: Fit,
        expected: Option<(f64, f64)>,
    ) {
        if fit.likeness < LIKENESS_MIN {
            return;
        }
        (self.misses, self.search_pause, self.search_again) = (0, 1, 0);
        let rate = expected.map_or(1.0, |(_, rate)| rate);
        let middle = len as f64 / 2.0;
        let point = Point {
            frame: at as f64 + middle,
            position: fit.position + rate * middle,
            gain: fit.gain,
        };
        let step_max = STEP_SECS * f64::from(self.reference.sample_rate);
        match (self.runs.last_mut(), expected) {
            (Some(run), Some((position, _))) if (fit.position - position).abs() < step_max => {
                run.points.push(point);
                run.to = at + len;
                run.likeness = 0.9 * run.likeness + 0.1 * fit.likeness;
            }
            _ => self.runs.push(Run {
                track,
                points: vec![point],
                from: at,
                to: at + len,
                likeness: fit.likeness,
            }),
        }
    }

    /// A run that was found by searching may have begun before: goes back as long as it fits.
    fn reach_back(&mut self, at: usize) {
        let Some((run, before)) = self.runs.split_last_mut() else { return };
        let end = before.last().map_or(0, |run| run.to);
        let mut from = at;
        while from >= end + CELL {
            let position = run.position((from - CELL) as f64);
            let fit = self.reference.fit(&self.sound[from - CELL..from], run.track, position, 1.0);
            if fit.likeness < LIKENESS_MIN {
                break;
            }
            from -= CELL;
            let middle = CELL as f64 / 2.0;
            let point = Point {
                frame: from as f64 + middle,
                position: fit.position + middle,
                gain: fit.gain,
            };
            run.points.insert(0, point);
        }
        run.from = from;
    }

    /// Where the last run leads to: song, position at frame `at`, song frames per output frame.
    fn predict(&self, at: usize) -> Option<(usize, f64, f64)> {
        let run = self.runs.last()?;
        let position = run.position(at as f64);
        let over = position - self.reference.tracks[run.track].frames;
        (over < SEAM_SECS * f64::from(self.reference.sample_rate))
            .then(|| (run.track, position, run.rate(run.points.len() - 1)))
    }
}

/// Root of the mean square.
pub(super) fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}
