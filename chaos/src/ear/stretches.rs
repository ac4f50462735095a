//! What was heard, as histories tell it.

use jam_ear::Heard;

use crate::history::{Hex, Sound, Stretch};

/// Stretches are no longer than this, so that the rate within one is even; s.
const STRETCH_SECS: f64 = 0.1;

/// A part of a recording, in output frames.
struct Part {
    from: usize,
    to: usize,
    /// The run that it is of.
    run: Option<usize>,
    is_silent: bool,
}

/// All that was heard, from the first frame to the last; true time is CLOCK_MONOTONIC less `begun_ns`.
pub fn stretches(heard: &Heard, listener: &str, life: u32, begun_ns: i64) -> Vec<Stretch> {
    let tracks: Vec<Hex> = heard.songs.iter().map(|(_, track)| hex(track)).collect();
    let frame_ns = 1e9 / f64::from(heard.sample_rate());
    let mut stretches = Vec::new();
    for Part { from, to, run, is_silent } in parts(heard) {
        let longest = (STRETCH_SECS * f64::from(heard.sample_rate())) as usize;
        let mut at = from;
        while at < to {
            let end = (at + longest).min(to);
            let place = |frame: usize| {
                let (song, position) = heard.position(run?, frame);
                Some((song, (position * frame_ns).round() as i64))
            };
            let sound = match (place(at), place(end)) {
                (Some((song, from_ns)), Some((_, until_ns))) => {
                    Sound::Song { track: tracks[song].clone(), from_ns, until_ns }
                }
                _ if is_silent => Sound::Silence,
                _ => Sound::Other,
            };
            stretches.push(Stretch {
                listener: listener.to_owned(),
                life,
                from_ns: heard.instant(at) - begun_ns,
                until_ns: heard.instant(end) - begun_ns,
                sound,
            });
            at = end;
        }
    }
    stretches
}

/// Runs without their gaps and what is wrong in them, and what is between.
fn parts(heard: &Heard) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    for (number, (from, to)) in heard.run_spans().enumerate() {
        between(heard, at, from, &mut parts);
        let silent = heard.gaps.iter().map(|gap| (gap.frame, gap.frame + gap.frames, true));
        let wrong =
            heard.damage.iter().map(|wrong| (wrong.frame, wrong.frame + wrong.frames, false));
        let mut breaks: Vec<_> =
            silent.chain(wrong).filter(|(begin, end, _)| *begin < to && from < *end).collect();
        breaks.sort_unstable();
        at = from;
        for (begin, end, is_silent) in breaks {
            let (begin, end) = (begin.max(at), end.min(to));
            if at < begin {
                parts.push(Part { from: at, to: begin, run: Some(number), is_silent: false });
            }
            if begin < end {
                parts.push(Part { from: begin, to: end, run: None, is_silent });
            }
            at = at.max(end);
        }
        if at < to {
            parts.push(Part { from: at, to, run: Some(number), is_silent: false });
        }
        at = at.max(to);
    }
    between(heard, at, heard.frames(), &mut parts);
    parts
}

/// Outside of all runs there is silence, or nobody knows what.
fn between(heard: &Heard, from: usize, to: usize, parts: &mut Vec<Part>) {
    let mut at = from;
    for (begin, end) in heard.holes().filter(|(begin, end)| *begin < to && from < *end) {
        let (begin, end) = (begin.max(at), end.min(to));
        if at < begin {
            parts.push(Part { from: at, to: begin, run: None, is_silent: false });
        }
        if begin < end {
            parts.push(Part { from: begin, to: end, run: None, is_silent: true });
        }
        at = at.max(end);
    }
    if at < to {
        parts.push(Part { from: at, to, run: None, is_silent: false });
    }
}

fn hex(track: &str) -> Hex {
    blake3::Hash::from_hex(track).map_or(Hex(Vec::new()), |hash| Hex(hash.as_bytes().to_vec()))
}
