//! How well this listener is in time: the clock's part and the output's part, apart from each other.

use serde_json::{Value, json};

use crate::audio::{ClockView, PlayerState, PlayerStatus};
use crate::text;

/// A leader answers every second; after so long without, time is held over: ns.
const HELD_OVER_AFTER_NS: i64 = 3_000_000_000;
/// Being further off than this by one's own account is not being in sync: ns.
const IN_SYNC_NS: i64 = 2_000_000;

/// What is known of it at one moment.
pub(super) struct Sync<'a> {
    /// Shared time as it is known, if it is.
    pub clock: Option<&'a ClockView>,
    /// The raw clock of this moment, ns.
    pub raw_ns: i64,
    /// What the player does.
    pub status: &'a PlayerStatus,
}

impl Sync<'_> {
    /// In a few words.
    pub fn in_words(&self) -> Option<String> {
        let clock = self.clock?;
        let bound = text::error_bound(clock.bound_ns);
        let off_ns = self.status.error_ns;
        Some(match self.unheard_ns() {
            Some(unheard_ns) if unheard_ns >= HELD_OVER_AFTER_NS => {
                format!("on its own for {} s {bound}", unheard_ns / 1_000_000_000)
            }
            _ if self.status.state == PlayerState::Playing && off_ns.abs() > IN_SYNC_NS => {
                format!("{} off, coming closer", text::signed(off_ns))
            }
            _ => format!("in sync {bound}"),
        })
    }

    /// All of it, for people: the clock's part, and the output's.
    pub fn in_detail(&self) -> Vec<String> {
        let status = self.status;
        let mut lines = Vec::new();
        if let Some(clock) = self.clock {
            let standing = &clock.standing;
            lines.push(format!(
                "  clock: {}, drift {:+.1} ppm, RTT/2 {}, heard {:.1} s ago, {} to go",
                text::error_bound(clock.bound_ns),
                clock.map.drift * 1e6,
                text::error_bound(standing.rtt_ns / 2).trim_start_matches('±'),
                self.unheard_ns().unwrap_or(0) as f64 / 1e9,
                text::signed(standing.left_ns),
            ));
        }
        lines.push(format!(
            "  output: {} off, card {:+.1} ppm, corrected by {:+.1} ppm, stamps {}{}, {}, {}, {}",
            text::signed(status.error_ns),
            status.device_ppm,
            status.rate_ppm,
            text::error_bound(status.stamp_sigma_ns),
            if status.coarse_stamps { " (coarse)" } else { "" },
            text::count(status.underruns as usize, "underrun"),
            text::count(status.jumps as usize, "jump"),
            text::gaps(status.silence.times, status.silence.total_ns),
        ));
        lines
    }

    /// All of it, for programs.
    pub fn to_json(&self) -> Value {
        let (status, standing) = (self.status, self.clock.map(|clock| clock.standing));
        let state = match self.unheard_ns() {
            None => "unknown",
            Some(HELD_OVER_AFTER_NS..) => "holdover",
            Some(_) => "locked",
        };
        json!({
            "event": "sync",
            "state": state,
            "leader": self.clock.map(|clock| clock.leader),
            "epoch": self.clock.map(|clock| clock.epoch),
            "unheard_ns": self.unheard_ns(),
            "bound_ns": self.clock.map(|clock| clock.bound_ns),
            "sigma_ns": standing.map(|standing| standing.sigma_ns),
            "offset_ns": self.clock.map(|clock| clock.map.at(self.raw_ns).as_nanos() - self.raw_ns),
            "drift_ppm": self.clock.map(|clock| round(clock.map.drift * 1e6)),
            "half_rtt_ns": standing.map(|standing| standing.rtt_ns / 2),
            "left_ns": standing.map(|standing| standing.left_ns),
            "error_ns": status.error_ns,
            "device_ppm": round(status.device_ppm),
            "rate_ppm": round(status.rate_ppm),
            "stamp_sigma_ns": status.stamp_sigma_ns,
            "coarse_stamps": status.coarse_stamps,
            "underruns": status.underruns,
            "lost_frames": status.lost_frames,
            "jumps": status.jumps,
            "silences": status.silence.times,
            "silent_ns": status.silence.total_ns,
        })
    }

    fn unheard_ns(&self) -> Option<i64> {
        self.clock.map(|clock| (self.raw_ns - clock.standing.heard_raw_ns).max(0))
    }
}

/// To a thousandth of a ppm.
fn round(ppm: f64) -> f64 {
    (ppm * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use jam_proto::sync::SharedMap;
    use jam_proto::time::SharedTime;

    use super::*;
    use crate::audio::ClockStanding;

    fn view() -> ClockView {
        ClockView {
            map: SharedMap { raw_ns: 0, shared: SharedTime(0), drift: 12.34e-6 },
            bound_ns: 85_000,
            leader: 2,
            term: 3,
            epoch: 1,
            slept_ns: 0,
            standing: ClockStanding {
                heard_raw_ns: 1_000,
                sigma_ns: 9,
                rtt_ns: 400_000,
                left_ns: -7_000,
            },
        }
    }

    #[test]
    fn words_say_what_is_true() {
        let (clock, playing) = (view(), PlayerState::Playing);
        let words = |after_ns: i64, error_ns: i64| {
            let status = PlayerStatus { state: playing, error_ns, ..PlayerStatus::default() };
            Sync { clock: Some(&clock), raw_ns: 1_000 + after_ns, status: &status }.in_words()
        };
        assert_eq!(words(1_000_000_000, 4_000).as_deref(), Some("in sync ±85 µs"));
        assert_eq!(words(12_400_000_000, 4_000).as_deref(), Some("on its own for 12 s ±85 µs"));
        assert_eq!(words(0, -8_000_000).as_deref(), Some("−8.0 ms off, coming closer"));
        let status = PlayerStatus::default();
        assert_eq!(Sync { clock: None, raw_ns: 5, status: &status }.in_words(), None);
    }

    #[test]
    fn the_clock_and_the_output_are_told_apart() {
        let status = PlayerStatus {
            error_ns: 3_000,
            device_ppm: -31.25,
            rate_ppm: 44.0,
            stamp_sigma_ns: 12_000,
            underruns: 1,
            ..PlayerStatus::default()
        };
        let clock = view();
        let sync = Sync { clock: Some(&clock), raw_ns: 400_001_000, status: &status };
        assert_eq!(
            sync.in_detail(),
            [
                "  clock: ±85 µs, drift +12.3 ppm, RTT/2 200 µs, heard 0.4 s ago, −7 µs to go",
                "  output: +3 µs off, card -31.2 ppm, corrected by +44.0 ppm, stamps ±12 µs, 1 underrun, 0 jumps, no silence",
            ]
        );
        let json = sync.to_json();
        assert_eq!(
            (json["state"].as_str(), json["half_rtt_ns"].as_i64()),
            (Some("locked"), Some(200_000))
        );
        let unknown = Sync { clock: None, ..sync }.to_json();
        assert_eq!(
            (unknown["state"].as_str(), unknown["bound_ns"].as_i64()),
            (Some("unknown"), None)
        );
    }
}
