//! From places to events: where the sound had holes, went back or ahead, or was not the song's.

use super::recording::{Index, Recording};
use super::reference::{Reference, emphasise};
use super::short::insert_short_songs;
use super::walk::{CELL, QUIET_RMS, Run, SEAM_SECS, STEP_SECS, rms, walk};

/// Silence from this length on is looked at, in seconds. A hole is heard from about 2 ms.
const HOLE_SECS: f64 = 500e-6;
/// What the song must miss in such a silence for it to be a hole, in seconds and in steps of 16-bit sound:
/// the ringing at the edge of a song's own silence is less.
const MISSED_SECS: f64 = 2e-3;
const MISSED_RMS: f32 = 20.0;
/// Sound and song are compared in blocks of this length, in frames: half a millisecond at 48 kHz.
const BLOCK: usize = 24;
/// Close to holes and jumps players fade, by intent: up to this length, in seconds, no fault of its own.
const FADE_SECS: f64 = 0.02;
/// This close to a gap or a jump it can't be told to which place a sample belongs, in seconds.
const EDGE_SECS: f64 = 0.05;

/// A position in a song.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Which song, as numbered in [`Heard::songs`].
    pub song: usize,
    /// From its first frame, in nanoseconds.
    pub position_ns: i64,
}

/// Silence where the song is not silent.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// Output frame at which it begins.
    pub frame: usize,
    /// Its length in output frames.
    pub frames: usize,
    /// CLOCK_MONOTONIC at its begin.
    pub at_ns: i64,
    /// Its length.
    pub length_ns: i64,
    /// What should have sounded first.
    pub place: Place,
}

/// The song position changed by a step: negative sizes repeat sound, positive ones leave some out.
#[derive(Clone, Debug, PartialEq)]
pub struct Jump {
    /// Output frame at which it happened.
    pub frame: usize,
    /// CLOCK_MONOTONIC at that frame.
    pub at_ns: i64,
    /// What would have sounded there.
    pub from: Place,
    /// What did.
    pub to: Place,
    /// By how much; none if another song began before this one was over.
    pub size_ns: Option<i64>,
}

/// Sound that is not what the song sounds like there: clicks, foreign sound, a broken decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Damage {
    /// Output frame at which it begins.
    pub frame: usize,
    /// Its length in output frames.
    pub frames: usize,
    /// CLOCK_MONOTONIC at its begin.
    pub at_ns: i64,
}

/// Everything that can be said about one recording.
pub struct Heard {
    /// Names of the songs, and their tracks (see [`super::Song::track`]).
    pub songs: Vec<(String, String)>,
    /// Holes, in order.
    pub gaps: Vec<Gap>,
    /// Steps, in order.
    pub jumps: Vec<Jump>,
    /// Wrong sound, in order.
    pub damage: Vec<Damage>,
    sample_rate: u32,
    pub(super) song_frames: Vec<f64>,
    pub(super) runs: Vec<Run>,
    /// Plain silence, and the recording's length, in output frames.
    holes: Vec<(usize, usize)>,
    frames: usize,
    index: Index,
}

/// A span in which sound and song differ.
struct Wrong {
    from: usize,
    to: usize,
    /// Far louder than the song is: heard however short it is. Anything else below a millisecond is
    /// what a resampler leaves where two songs meet.
    click: bool,
}

/// Listens to a whole recording.
///
/// # Panics
/// If `reference` was made for another rate than the recording's.
pub fn listen(reference: &Reference, recording: Recording) -> Heard {
    assert_eq!(reference.sample_rate, recording.sample_rate, "the reference is for this recording");
    let Recording { sample_rate, samples: raw, index } = recording;
    let holes = holes(&raw, (HOLE_SECS * f64::from(sample_rate)) as usize);
    let stretches = between(&holes, raw.len());
    let mut sound = raw;
    emphasise(&mut sound);

    let mut runs = walk(reference, &sound, &stretches);
    insert_short_songs(reference, &sound, &mut runs);
    let mut heard = Heard {
        songs: reference.songs().map(|song| (song.name.clone(), song.track.clone())).collect(),
        gaps: Vec::new(),
        jumps: Vec::new(),
        damage: Vec::new(),
        sample_rate,
        song_frames: reference.tracks.iter().map(|track| track.frames).collect(),
        runs,
        frames: sound.len(),
        holes: Vec::new(),
        index,
    };
    heard.join_runs(reference, &sound);
    heard.find_gaps(reference, &holes);
    heard.find_damage(reference, &sound, &stretches);
    heard.holes = holes;
    heard
}

impl Heard {
    /// The CLOCK_MONOTONIC nanoseconds between which known sound was heard.
    pub fn span_ns(&self) -> Option<(i64, i64)> {
        let (first, last) = (self.runs.first()?, self.runs.last()?);
        Some((self.instant(first.from), self.instant(last.to)))
    }

    /// Output frames per second, by the device's claim.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// The position that sounds at a CLOCK_MONOTONIC nanosecond, with its fraction: song, seconds. None where it is no
    /// song's, and close to a gap or a jump, where one place fades into another.
    pub fn position_at(&self, instant_ns: i64) -> Option<(usize, f64)> {
        let frame = self.index.frame_at(instant_ns as f64);
        let edge = EDGE_SECS * f64::from(self.sample_rate);
        let is_near =
            |from: usize, to: usize| from as f64 - edge < frame && frame < to as f64 + edge;
        let broken = self.gaps.iter().any(|gap| is_near(gap.frame, gap.frame + gap.frames));
        if broken || self.jumps.iter().any(|jump| is_near(jump.frame, jump.frame)) {
            return None;
        }
        // The last run that has begun: runs are in order.
        let run = self.runs.iter().rev().find(|run| run.from as f64 <= frame)?;
        if frame >= run.to as f64 {
            return None;
        }
        Some((run.track, run.position(frame) / f64::from(self.sample_rate)))
    }

    /// How long known sound was heard in all, without the holes, in seconds.
    pub fn sounding_secs(&self) -> f64 {
        let held: usize = self.gaps.iter().map(|gap| gap.frames).sum();
        let frames: usize = self.runs.iter().map(|run| run.to - run.from).sum();
        frames.saturating_sub(held) as f64 / f64::from(self.sample_rate)
    }

    /// The first places of each run of sound: what was heard, in order.
    pub fn sequence(&self) -> Vec<Place> {
        self.runs.iter().map(|run| self.place(run, run.from)).collect()
    }

    /// The output frames that each run covers, in order.
    pub fn run_spans(&self) -> impl Iterator<Item = (usize, usize)> {
        self.runs.iter().map(|run| (run.from, run.to))
    }

    /// Plain silence, in order: output frames.
    pub fn holes(&self) -> impl Iterator<Item = (usize, usize)> {
        self.holes.iter().copied()
    }

    /// The length of the recording, in output frames.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Song, and the position in it in frames of the recording's rate, at an output frame of a run.
    pub fn position(&self, run: usize, frame: usize) -> (usize, f64) {
        let run = &self.runs[run];
        (run.track, run.position(frame as f64))
    }

    /// When an output frame sounded: nanoseconds of CLOCK_MONOTONIC.
    pub fn instant(&self, frame: usize) -> i64 {
        self.index.instant_ns(frame as f64).round() as i64
    }

    fn nanos(&self, frames: f64) -> i64 {
        (frames * 1e9 / f64::from(self.sample_rate)).round() as i64
    }

    fn place(&self, run: &Run, frame: usize) -> Place {
        Place { song: run.track, position_ns: self.nanos(run.position(frame as f64)) }
    }

    /// Makes neighbouring runs meet where the sound changes from one to the other, and notes the steps.
    fn join_runs(&mut self, reference: &Reference, sound: &[f32]) {
        for at in 1..self.runs.len() {
            let (a, b) = (&self.runs[at - 1], &self.runs[at]);
            let meet = meeting(reference, sound, a, b);
            let (left, right) = (a.position(meet as f64), b.position(meet as f64));
            let end = self.song_frames[a.track];
            let straight = (a.track == b.track).then_some(right - left);
            let seam = right - (left - end);
            let near_seam = (seam.abs() < SEAM_SECS * f64::from(self.sample_rate)).then_some(seam);
            let size = match (straight, near_seam) {
                (Some(straight), Some(seam)) if seam.abs() < straight.abs() => Some(seam),
                (Some(straight), _) => Some(straight),
                (None, seam) => seam,
            };
            if size.is_none_or(|size| size.abs() >= STEP_SECS * f64::from(self.sample_rate)) {
                let jump = Jump {
                    frame: meet,
                    at_ns: self.instant(meet),
                    from: self.place(a, meet),
                    to: self.place(b, meet),
                    size_ns: size.map(|size| self.nanos(size)),
                };
                self.jumps.push(jump);
            }
            self.runs[at - 1].to = meet;
            self.runs[at].from = meet;
        }
    }

    fn find_gaps(&mut self, reference: &Reference, holes: &[(usize, usize)]) {
        let (Some(first), Some(last)) = (self.runs.first(), self.runs.last()) else { return };
        let (from, to) = (first.from, last.to);
        let mut gaps = Vec::new();
        let mut expected = [0.0; BLOCK];
        for (begin, end) in holes.iter().copied().filter(|hole| hole.0 > from && hole.1 < to) {
            let mut missed = 0;
            for block in (begin..end).step_by(BLOCK) {
                let Some(run) = self.run_at(block) else { continue };
                let len = BLOCK.min(end - block);
                reference.expect(run.track, run.position(block as f64), 1.0, &mut expected[..len]);
                if run.gain(block as f64) * rms(&expected[..len]) > MISSED_RMS {
                    missed += len;
                }
            }
            let enough = (MISSED_SECS * f64::from(self.sample_rate)) as usize;
            if missed >= enough.min((end - begin) / 2)
                && let Some(run) = self.run_at(begin)
            {
                let place = self.place(run, begin);
                gaps.push(Gap {
                    frame: begin,
                    frames: end - begin,
                    at_ns: self.instant(begin),
                    length_ns: self.instant(end) - self.instant(begin),
                    place,
                });
            }
        }
        self.gaps = gaps;
    }

    /// Compares what sounded with what should have, block by block.
    fn find_damage(&mut self, reference: &Reference, sound: &[f32], stretches: &[(usize, usize)]) {
        let mut found: Vec<Wrong> = Vec::new();
        for (from, to) in stretches.iter().copied() {
            for cell in (from..to).step_by(CELL) {
                self.damage_in_cell(reference, &sound[cell..to.min(cell + CELL)], cell, &mut found);
            }
        }
        let fade = (FADE_SECS * f64::from(self.sample_rate)) as usize;
        let edges: Vec<(usize, usize)> = self
            .gaps
            .iter()
            .map(|gap| (gap.frame, gap.frame + gap.frames))
            .chain(self.jumps.iter().map(|jump| (jump.frame, jump.frame)))
            .chain(self.runs.first().map(|run| (run.from, run.from)))
            .chain(self.runs.last().map(|run| (run.to, run.to)))
            .collect();
        let faded = |wrong: &Wrong| {
            wrong.to - wrong.from <= fade
                && edges.iter().any(|edge| wrong.from <= edge.1 + fade && wrong.to + fade >= edge.0)
        };
        self.damage = found
            .iter()
            .filter(|wrong| (wrong.click || wrong.to - wrong.from > BLOCK) && !faded(wrong))
            .map(|Wrong { from, to, .. }| Damage {
                frame: *from,
                frames: to - from,
                at_ns: self.instant(*from),
            })
            .collect();
    }

    fn damage_in_cell(
        &self,
        reference: &Reference,
        cell: &[f32],
        at: usize,
        found: &mut Vec<Wrong>,
    ) {
        let mut expected = vec![0.0; cell.len()];
        for (n, (block, heard)) in expected.chunks_mut(BLOCK).zip(cell.chunks(BLOCK)).enumerate() {
            self.expect_at(reference, at + n * BLOCK, heard, block);
        }
        let power = |samples: &[f32]| samples.iter().map(|s| s * s).sum::<f32>();
        let mean = power(&expected) / cell.len() as f32;
        // 16-bit rounding, and what resamplers leave around a sharp attack.
        let floor = QUIET_RMS * QUIET_RMS + 0.05 * mean;
        for (n, (heard, wanted)) in cell.chunks(BLOCK).zip(expected.chunks(BLOCK)).enumerate() {
            let left: f32 = heard.iter().zip(wanted).map(|(h, w)| (h - w) * (h - w)).sum();
            if left <= 0.5 * power(wanted) + floor * heard.len() as f32 {
                continue;
            }
            let from = at + n * BLOCK;
            let click = left > 4.0 * (power(wanted) + mean * heard.len() as f32);
            match found.last_mut() {
                Some(last) if from <= last.to + 2 * BLOCK => {
                    last.to = from + heard.len();
                    last.click |= click;
                }
                _ => found.push(Wrong { from, to: from + heard.len(), click }),
            }
        }
    }

    /// The run that accounts for an output frame; none outside of all known sound.
    fn run_at(&self, frame: usize) -> Option<&Run> {
        let at = self.runs.partition_point(|run| run.from <= frame);
        self.runs[..at].last().filter(|run| frame < run.to)
    }
}

/// The frame from which on run `b` explains the sound better than `a` does.
fn meeting(reference: &Reference, sound: &[f32], a: &Run, b: &Run) -> usize {
    let last = a.points[a.points.len() - 1].frame as usize;
    let from = last.min(a.to).max(a.from);
    let to = (b.points[0].frame as usize).max(from + 1).min(sound.len());
    let expected = |run: &Run| {
        let mut out = vec![0.0; to - from];
        // In pieces: over a long fade-out, a clock that is off by 60 ppm is off by some frames.
        for (n, piece) in out.chunks_mut(CELL).enumerate() {
            let frame = (from + n * CELL) as f64;
            reference.expect(run.track, run.position(frame), 1.0, piece);
            let gain = run.gain(frame);
            piece.iter_mut().for_each(|e| *e *= gain);
        }
        out
    };
    let (ours, theirs) = (expected(a), expected(b));
    // Every frame before the meeting is a's to explain, every one behind it b's.
    let (mut cost, mut best, mut meet) = (0.0f64, 0.0f64, from);
    for (n, sample) in sound[from..to].iter().enumerate() {
        cost += f64::from((sample - ours[n]).powi(2) - (sample - theirs[n]).powi(2));
        if cost < best {
            (best, meet) = (cost, from + n + 1);
        }
    }
    meet
}

/// Spans of at least `least` frames of plain silence.
fn holes(samples: &[f32], least: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut begin = None;
    for (n, sample) in samples.iter().chain(std::iter::once(&f32::MAX)).enumerate() {
        match (sample.abs() <= 1.0, begin) {
            (true, None) => begin = Some(n),
            (false, Some(from)) => {
                if n - from >= least {
                    found.push((from, n));
                }
                begin = None;
            }
            _ => {}
        }
    }
    found
}

fn between(holes: &[(usize, usize)], len: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    for (begin, end) in holes.iter().copied().chain(std::iter::once((len, len))) {
        if begin > from {
            found.push((from, begin));
        }
        from = end;
    }
    found
}
