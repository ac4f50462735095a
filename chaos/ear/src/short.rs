//! Songs that can't be found by searching: too short to be placed, or silent. They are known by where they lie: the song before
//! them ends and the next one begins as far apart as they are long, and nothing else sounds there.

use super::reference::Reference;
use super::walk::{Point, QUIET_RMS, Run, STEP_SECS};

/// A longer song that sounds is found by its sound, in seconds.
const SHORT_SECS: f64 = 0.1;
/// Of the song's power this much may be missing or foreign: resamplers ring around what is short.
const LEFT_MAX: f32 = 0.3;

/// Inserts such songs between the runs that were found, and behind the last one.
pub(super) fn insert_short_songs(reference: &Reference, sound: &[f32], runs: &mut Vec<Run>) {
    let mut at = 0;
    while at < runs.len() {
        let (run, next) = (&runs[at], runs.get(at + 1));
        let ends = run.ends_at(reference.tracks[run.track].frames);
        let begins = next.map(Run::begins_at);
        // Where one song goes on, or goes back within itself, no song lies between.
        let found = match begins.is_none_or(|begins| begins > ends) {
            true => short_song(reference, sound, run, ends, begins),
            false => None,
        };
        if let Some(run) = found {
            runs.insert(at + 1, run);
            // Several short songs may follow each other only where a long one tells where they end.
            at += 1;
        }
        at += 1;
    }
}

/// The short song that fills the sound from `ends` to `begins`; without `begins`, one that follows the last song.
fn short_song(
    reference: &Reference,
    sound: &[f32],
    before: &Run,
    ends: f64,
    begins: Option<f64>,
) -> Option<Run> {
    let rate = f64::from(reference.sample_rate);
    let fits = |frames: f64| match begins {
        Some(begins) => (frames - (begins - ends)).abs() < STEP_SECS * rate,
        None => true,
    };
    (0..reference.tracks.len()).find_map(|track| {
        let frames = reference.tracks[track].frames;
        let is_silent = begins.is_some() && reference.rms(track) * before.gain(ends) < QUIET_RMS;
        if !(fits(frames) && (is_silent || frames < SHORT_SECS * rate)) {
            return None;
        }
        let (from, to) = (ends.max(0.0).ceil() as usize, (ends + frames).floor().max(0.0) as usize);
        let part = sound.get(from..to.min(sound.len()))?;
        if part.is_empty() {
            return None;
        }
        let mut expected = vec![0.0; part.len()];
        reference.expect(track, from as f64 - ends, 1.0, &mut expected);
        let dot =
            |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        let (power, common) = (dot(&expected, &expected), dot(part, &expected));
        let gain = if power > 0.0 && !is_silent { common / power } else { before.gain(ends) };
        let wanted = gain * gain * power;
        let left: f32 = part.iter().zip(&expected).map(|(s, e)| (s - gain * e).powi(2)).sum();
        let floor = QUIET_RMS * QUIET_RMS * part.len() as f32;
        // What is not silent must sound like the song, or silence would pass for any of them.
        let is_heard = is_silent || (gain > 0.0 && wanted > floor);
        let middle = Point { frame: ends + frames / 2.0, position: frames / 2.0, gain };
        (is_heard && left <= LEFT_MAX * wanted + floor)
            .then(|| Run::placed(track, middle, from, to))
    })
}
