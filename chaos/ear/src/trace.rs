//! A trace says what was heard: its lines must agree with the sound.

use serde::{Deserialize, Serialize};

use super::quantile;
use super::untold::untold_ns;
use crate::Heard;

/// Players render so far ahead, at most: what they hear of takes as long to be heard.
const RENDERED_NS: i64 = 500_000_000;
/// How far a line may be from the sound.
pub const OFF_MAX_NS: i64 = 100_000;

/// What of a trace's line can be heard.
#[derive(Deserialize)]
struct Line {
    mono_ns: i64,
    #[serde(default)]
    track: Option<String>,
    #[serde(default)]
    frame: Option<i64>,
    #[serde(default)]
    sample_rate: Option<u32>,
    #[serde(default)]
    revision: Option<u64>,
    state: String,
    #[serde(default)]
    underruns: u64,
}

/// How a trace agrees with the sound.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Agreement {
    /// Lines that could be compared: playing, while known sound was heard.
    pub compared: usize,
    /// Lines that name another song than the one that sounded.
    pub other_song: usize,
    /// Half of the compared lines were nearer than this.
    pub p50_ns: i64,
    /// All were.
    pub max_ns: i64,
    /// The instant of the line that was furthest off, CLOCK_MONOTONIC.
    pub max_at_ns: i64,
    /// The longest part of one silence that was heard and that it does not tell of.
    pub untold_ns: i64,
    /// Underruns, by the trace.
    pub underruns: u64,
}

/// What its listener knew of the room, and when: revisions by CLOCK_MONOTONIC nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Knowledge(Vec<(i64, u64)>);

impl Knowledge {
    /// From a trace. A line that can't be read tells nothing.
    pub fn of(trace: &str) -> Self {
        let mut known: Vec<(i64, u64)> = Vec::new();
        for line in trace.lines().filter_map(|text| serde_json::from_str::<Line>(text).ok()) {
            if let Some(revision) = line.revision
                && known.last().is_none_or(|(_, last)| *last != revision)
            {
                known.push((line.mono_ns, revision));
            }
        }
        Self(known)
    }

    /// The revision that was known at an instant.
    fn at(&self, instant_ns: i64) -> Option<u64> {
        let after = self.0.partition_point(|(from_ns, _)| *from_ns <= instant_ns);
        after.checked_sub(1).map(|last| self.0[last].1)
    }

    /// Whether two knew the same, and had for long enough to play it. Without traces they did.
    pub fn same(&self, other: &Self, instant_ns: i64) -> bool {
        let both = !self.0.is_empty() && !other.0.is_empty();
        !both
            || [0, RENDERED_NS]
                .iter()
                .all(|ago| self.at(instant_ns - ago) == other.at(instant_ns - ago))
    }
}

/// A trace that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the trace is not what `jam join --trace` writes: {source}")]
pub struct TraceError {
    line: usize,
    source: serde_json::Error,
}

/// Compares a trace with the sound.
pub fn agreement(heard: &Heard, trace: &str) -> Result<Agreement, TraceError> {
    let mut found = Agreement { untold_ns: untold_ns(heard, trace), ..Agreement::default() };
    let mut off = Vec::new();
    let count = trace.lines().count();
    for (number, text) in trace.lines().enumerate().filter(|(_, text)| !text.is_empty()) {
        let line: Line = match serde_json::from_str(text) {
            Ok(line) => line,
            // A kill may cut the last line short.
            Err(_) if number + 1 == count && !trace.ends_with('\n') => break,
            Err(source) => return Err(TraceError { line: number + 1, source }),
        };
        found.underruns = found.underruns.max(line.underruns);
        let (Some(track), Some(frame), Some(rate)) = (line.track, line.frame, line.sample_rate)
        else {
            continue;
        };
        if line.state != "playing" || rate == 0 {
            continue;
        }
        let Some((song, position)) = heard.position_at(line.mono_ns) else { continue };
        let said = frame as f64 / f64::from(rate);
        if heard.songs[song].1 != track {
            found.other_song += 1;
            continue;
        }
        let off_ns = ((position - said) * 1e9).abs() as i64;
        if off_ns > found.max_ns {
            (found.max_ns, found.max_at_ns) = (off_ns, line.mono_ns);
        }
        off.push(off_ns);
    }
    off.sort_unstable();
    if !off.is_empty() {
        found.compared = off.len();
        found.p50_ns = quantile(&off, 0.5);
    }
    Ok(found)
}
