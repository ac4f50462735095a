//! A trace tells every silence: where the recording falls silent and the room plays, `silent_ns` grows by as much.

use serde::Deserialize;

use crate::Heard;

/// Shorter gaps are a fade's.
const GAP_NS: i64 = 20_000_000;
/// A period of the device on both sides of a gap, and what fades in and out there.
const SLACK_NS: i64 = 40_000_000;
/// A trace tells of a silence when the sound is back, and its lines come at least so often.
const TOLD_WITHIN_NS: i64 = 500_000_000;

#[derive(Deserialize)]
struct Line {
    mono_ns: i64,
    state: String,
    #[serde(default)]
    silent_ns: Option<i64>,
}

/// The longest part of one silence that a trace does not tell of, ns. 0: it tells of all.
pub fn untold_ns(heard: &Heard, trace: &str) -> i64 {
    let gaps = heard.gaps.iter().map(|gap| (gap.at_ns, gap.length_ns));
    untold_of(gaps, trace)
}

fn untold_of(gaps: impl Iterator<Item = (i64, i64)>, trace: &str) -> i64 {
    let lines: Vec<Line> =
        trace.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told_at = |at_ns: i64| {
        let after = lines.partition_point(|line| line.mono_ns <= at_ns);
        lines[..after].last().and_then(|line| line.silent_ns)
    };
    let stood = |from_ns: i64, until_ns: i64| {
        let within = lines.iter().filter(|line| (from_ns..until_ns).contains(&line.mono_ns));
        let mut states = within.map(|line| line.state.as_str());
        states.any(|state| matches!(state, "paused" | "ended"))
    };
    let untold =
        gaps.filter(|(_, length_ns)| *length_ns >= GAP_NS).filter_map(|(at_ns, length_ns)| {
            let end_ns = at_ns + length_ns;
            if stood(at_ns - SLACK_NS, end_ns + SLACK_NS) {
                return None;
            }
            let told_ns = told_at(end_ns + TOLD_WITHIN_NS)? - told_at(at_ns)?;
            Some(length_ns - told_ns - SLACK_NS)
        });
    untold.max().unwrap_or(0).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn line(mono_ns: i64, state: &str, silent_ns: i64) -> String {
        format!(r#"{{"mono_ns":{mono_ns},"state":"{state}","silent_ns":{silent_ns}}}"#)
    }

    #[test]
    fn a_silence_that_is_not_told_is_found() {
        let gap = [(10 * SECOND, 3 * SECOND / 10)];
        let before = line(9 * SECOND, "playing", 0);
        let trace = |lines: &[String]| lines.join("\n");
        let late = [before.clone(), line(10 * SECOND + 700_000_000, "playing", 290_000_000)];
        assert_eq!(untold_of(gap.into_iter(), &trace(&late)), 0);
        let hidden = [before.clone(), line(10 * SECOND + 700_000_000, "joining", 0)];
        assert_eq!(untold_of(gap.into_iter(), &trace(&hidden)), 260_000_000);
        // Half of it is not enough, and a pause is none.
        let half = [before.clone(), line(10 * SECOND + 700_000_000, "playing", 100_000_000)];
        assert_eq!(untold_of(gap.into_iter(), &trace(&half)), 160_000_000);
        let paused = [before.clone(), line(10 * SECOND + 100_000_000, "paused", 0)];
        assert_eq!(untold_of(gap.into_iter(), &trace(&paused)), 0);
    }
}
