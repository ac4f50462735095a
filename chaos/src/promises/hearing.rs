//! What listeners hear is what their room plays: without a gap, an overlap or a repeat, each at the very place where
//! the committed events and shared time put it; and what they say of their clocks is true.
//!
//! A listener is held to what it knows: the room at its revision, and its own shared time. What it can't know yet is no
//! fault of its own, and what had to move its sound gives it a moment to come back: see [`listener::Listener::upsets`].
//! Once all is healed it has to get what it needs: see [`waits`].

mod clocks;
mod due;
mod listener;
mod waits;

use crate::history::{History, Phase, Sound};

use super::replay::Replay;
use super::sound::millis;
use super::verdict::{Findings, Verdict};
use due::Rooms;
use listener::{Listener, Piece};

/// What listeners are held to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How far the sound may be from where it is due by the listener's own clock, ns.
    pub phase_ns: i64,
    /// How even the sound of one song goes into the next one's, ns.
    pub seam_ns: i64,
    /// What a look at a clock may be off, ns.
    pub slack_ns: i64,
    /// How long a listener may lack something once all is healed, ns.
    pub waits_ns: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { phase_ns: 1_000_000, seam_ns: 300_000, slack_ns: 20_000, waits_ns: 10_000_000_000 }
    }
}

/// Around a seam the resampler mixes two songs, for so long at most.
const SEAM_BLUR_NS: i64 = 12_000_000;
/// A song may begin or end this far from where it is due to, in a fade.
const EDGE_NS: i64 = 25_000_000;

/// Judges a history; `replay` is of the same one.
pub fn judge(history: &History, replay: &Replay<'_>, bounds: &Bounds) -> Verdict {
    let mut found = Findings::default();
    let leaders = clocks::Leaders::of(history, replay);
    let mut rooms = Rooms::new(replay);
    let listeners = Listener::all(history);
    let is_music = |piece: &Piece<'_>| matches!(piece.sound, Sound::Song { .. });
    if !listeners.is_empty() && !listeners.iter().any(|one| one.pieces.iter().any(is_music)) {
        found.open("no listener heard any music");
    }
    for listener in listeners {
        let upsets = listener.upsets(&mut rooms);
        whole(&listener, &upsets, &mut rooms, bounds, &mut found);
        in_place(&listener, &upsets, &mut rooms, bounds, &mut found);
        clocks::even(&listener, &mut found);
        clocks::judge(&listener, &leaders, bounds, &mut found);
        if let Some((_, healed_ns)) = history.phase(Phase::Healed) {
            waits::judge(&listener, healed_ns, &mut rooms, bounds, &mut found);
        }
    }
    if let Some(why) = replay.open() {
        found.open(why);
    }
    found.verdict("nobody listened")
}

/// How many leader changes listeners heard nothing of: they played on, and nothing had upset them otherwise.
pub fn played_through(history: &History, replay: &Replay<'_>) -> u64 {
    let leaders = clocks::Leaders::of(history, replay);
    let mut rooms = Rooms::new(replay);
    let mut count = 0;
    for listener in Listener::all(history) {
        let upsets = listener.upsets(&mut rooms);
        let calm = |at_ns: i64| upsets.iter().all(|upset| at_ns < upset.0 || upset.1 < at_ns);
        let plays = |at_ns: i64| {
            matches!(listener.heard_at(at_ns).map(|piece| &piece.sound), Some(Sound::Song { .. }))
        };
        count += leaders.changes().filter(|&at_ns| calm(at_ns) && plays(at_ns)).count() as u64;
    }
    count
}

/// Nothing is missing, repeated or foreign.
fn whole(
    listener: &Listener<'_>,
    upsets: &[(i64, i64)],
    rooms: &mut Rooms<'_>,
    bounds: &Bounds,
    found: &mut Findings,
) {
    let upset = |from_ns: i64, until_ns: i64| {
        upsets.iter().any(|upset| from_ns <= upset.1 && upset.0 <= until_ns)
    };
    let pieces = &listener.pieces;
    let mut at = 0;
    while let Some(before) = pieces.get(at) {
        at += 1;
        let Sound::Song { track, until_ns: ended_at_ns, .. } = &before.sound else { continue };
        found.judged();
        // What follows, behind what is neither.
        let mut behind = at;
        while pieces.get(behind).is_some_and(|piece| matches!(piece.sound, Sound::Other)) {
            behind += 1;
        }
        let Some(after) = pieces.get(behind) else { continue };
        if behind == at && goes_on(before, after) {
            continue;
        }
        let (ends_ns, begins_ns) = (before.until_ns, after.from_ns);
        if upset(ends_ns, begins_ns) {
            continue;
        }
        let due = listener.due_at(ends_ns - EDGE_NS, rooms);
        let next = listener.due_at(begins_ns + EDGE_NS, rooms);
        let (Some(due), Some(next)) = (due, next) else { continue };
        let left_ns = due.length_ns - ended_at_ns;
        let is_over = next.origin_ns != due.origin_ns || next.entry != due.entry;
        let fits = match &after.sound {
            Sound::Song { from_ns: begun_at_ns, .. } => {
                let blur_ns = begins_ns - ends_ns;
                is_over
                    && left_ns.max(*begun_at_ns) <= SEAM_BLUR_NS
                    && (blur_ns - left_ns - begun_at_ns).abs() <= bounds.seam_ns
            }
            // The queue is dry, or somebody announced that it pauses here.
            Sound::Silence | Sound::Other => !next.playing && (left_ns <= EDGE_NS || is_over),
        };
        if !fits {
            let what = match &after.sound {
                Sound::Song { track: other, from_ns, .. } => format!(
                    "{}: from {} of song {} to {} of song {}, {} later",
                    listener.name(),
                    millis(*ended_at_ns),
                    short(&track.0),
                    millis(*from_ns),
                    short(&other.0),
                    millis(begins_ns - ends_ns)
                ),
                _ => format!(
                    "{}: a gap of {} at {} of song {}, and {} were left to play",
                    listener.name(),
                    millis(after.until_ns - ends_ns),
                    millis(*ended_at_ns),
                    short(&track.0),
                    millis(left_ns)
                ),
            };
            found.broken(what, [before.record, after.record]);
        }
    }
}

/// The same song, evenly.
fn goes_on(before: &Piece<'_>, after: &Piece<'_>) -> bool {
    match (before.sound, after.sound) {
        (Sound::Song { track: one, until_ns, .. }, Sound::Song { track: other, from_ns, .. }) => {
            // Less than half a frame of 48 kHz.
            one == other && (from_ns - until_ns).abs() < 10_000 && before.until_ns == after.from_ns
        }
        _ => false,
    }
}

/// What is heard is what is due, at the place where it is due.
fn in_place(
    listener: &Listener<'_>,
    upsets: &[(i64, i64)],
    rooms: &mut Rooms<'_>,
    bounds: &Bounds,
    found: &mut Findings,
) {
    for (record, at_ns, _) in &listener.samples {
        let at_ns = *at_ns;
        if upsets.iter().any(|upset| upset.0 <= at_ns && at_ns <= upset.1) {
            continue;
        }
        let Some(due) = listener.due_at(at_ns, rooms).filter(|due| due.playing) else { continue };
        let near_edge = due.position_ns < EDGE_NS || due.length_ns - due.position_ns < EDGE_NS;
        let Some(piece) = listener.heard_at(at_ns).filter(|_| !near_edge) else { continue };
        found.judged();
        let heard = match &piece.sound {
            Sound::Song { track, from_ns, .. } if track.0 == due.track => {
                let off_ns = from_ns + (at_ns - piece.from_ns) - due.position_ns;
                if off_ns.abs() <= bounds.phase_ns {
                    continue;
                }
                format!("{} off", millis(off_ns))
            }
            Sound::Song { track, .. } => format!("song {}", short(&track.0)),
            Sound::Silence => "silence".to_owned(),
            Sound::Other => "something else".to_owned(),
        };
        found.broken(
            format!(
                "{}: due is {} of song {}, and heard is {heard}",
                listener.name(),
                millis(due.position_ns),
                short(&due.track)
            ),
            [*record, piece.record],
        );
    }
}

fn short(track: &[u8]) -> String {
    track.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
