//! What is said at the end: how well it was heard.

use serde_json::{Value, json};

use crate::audio::{PlayerState, PlayerStatus};
use crate::text;

/// Looks during which a start is still being steered in: a second.
const SETTLING_LOOKS: u32 = 5;

/// How it went, from looking on.
#[derive(Debug, Default)]
pub(super) struct Summary {
    playing_looks: u32,
    /// Playing for long enough to tell how well.
    settled: bool,
    worst_error_ns: i64,
    worst_bound_ns: i64,
}

impl Summary {
    /// Takes one look.
    pub fn look(&mut self, status: &PlayerStatus, bound_ns: Option<i64>) {
        if status.state != PlayerState::Playing {
            self.playing_looks = 0;
            return;
        }
        self.playing_looks += 1;
        if self.playing_looks > SETTLING_LOOKS {
            self.settled = true;
            self.worst_error_ns = self.worst_error_ns.max(status.error_ns.saturating_abs());
            self.worst_bound_ns = self.worst_bound_ns.max(bound_ns.unwrap_or(0));
        }
    }

    /// For people.
    pub fn to_text(&self, status: &PlayerStatus) -> String {
        let underruns = text::count(status.underruns as usize, "underrun");
        let jumps = text::count(status.jumps as usize, "jump");
        let silence = text::gaps(status.silence.times, status.silence.total_ns);
        if !self.settled {
            return format!("left the room: {underruns}, {jumps}, {silence}");
        }
        let error = text::error_bound(self.worst_error_ns);
        let bound = text::error_bound(self.worst_bound_ns);
        format!(
            "left the room: {underruns}, {jumps}, {silence}, at worst {error} off the room's clock, which was known to {bound}"
        )
    }

    /// For programs.
    pub fn to_json(&self, status: &PlayerStatus) -> Value {
        json!({
            "event": "left",
            "underruns": status.underruns,
            "jumps": status.jumps,
            "silences": status.silence.times,
            "silent_ns": status.silence.total_ns,
            "worst_error_ns": self.worst_error_ns,
            "worst_bound_ns": self.worst_bound_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_does_not_count() {
        let mut summary = Summary::default();
        let status = |error_ns| PlayerStatus {
            state: PlayerState::Playing,
            error_ns,
            ..PlayerStatus::default()
        };
        for _ in 0..SETTLING_LOOKS {
            summary.look(&status(5_000_000), Some(9_000_000));
        }
        summary.look(&status(-30_000), Some(80_000));
        let text = summary.to_text(&PlayerStatus { underruns: 1, ..PlayerStatus::default() });
        assert_eq!(
            text,
            "left the room: 1 underrun, 0 jumps, no silence, at worst ±30 µs off the room's clock, which was known to ±80 µs"
        );
    }
}
