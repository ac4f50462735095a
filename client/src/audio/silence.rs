//! Counts the silence that the output played while a song was due, whatever caused it.

use super::PlayerState;
use super::history::History;
use super::link::Stamp;
use super::plan::Due;
use super::render::Renderer;

/// Stamps of one device jitter by less: what is missing between two of them was not played, ns.
const STAMPS_JITTER_NS: i64 = 30_000_000;

/// Silence so far, from the first sound on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// How many times the sound stopped.
    pub times: u64,
    /// How long it was gone in all, ns.
    pub total_ns: i64,
}

/// Follows a device from stamp to stamp. What became of the frames of one callback is known at the next one.
#[derive(Debug, Default)]
pub(super) struct SilenceMeter {
    silence: Silence,
    /// Whether a song ever sounded.
    heard: bool,
    /// Whether the last frames that a song was due for were silent.
    is_silent: bool,
    last: Option<Callback>,
}

/// The callback whose fate is not known yet.
#[derive(Clone, Copy, Debug)]
struct Callback {
    /// `None`: it was another device's.
    stamp: Option<Stamp>,
    raw_ns: i64,
}

impl SilenceMeter {
    /// Silence so far.
    pub(super) fn silence(&self) -> Silence {
        self.silence
    }

    /// The device is gone: what comes next is another one's stamp.
    pub(super) fn detach(&mut self) {
        if let Some(last) = &mut self.last {
            last.stamp = None;
        }
    }

    /// Takes a stamp whose first frame sounds at `raw_ns` on a device of `rate`. `history` is what was rendered,
    /// and `is_due` tells whether a song is due at an instant of the raw clock.
    pub(super) fn observe(
        &mut self,
        stamp: Stamp,
        raw_ns: i64,
        rate: u32,
        history: &History,
        is_due: impl FnOnce(i64) -> bool,
    ) {
        let this = Callback { stamp: Some(stamp), raw_ns };
        let Some(before) = self.last.replace(this) else { return };
        let (window, last) = match before.stamp {
            Some(last) => (last.frame..stamp.frame, last),
            None => (0..0, stamp),
        };
        let (mut sounding, mut starved) = (0, 0);
        for piece in history.from(window.start).take_while(|piece| piece.block.start < window.end) {
            let frames = piece.block.end().min(window.end) - piece.block.start.max(window.start);
            match piece.state {
                PlayerState::Playing => sounding += frames,
                PlayerState::Starved => starved += frames,
                PlayerState::Joining | PlayerState::Paused | PlayerState::Ended => {}
            }
        }
        let in_ns = |frames: u64| (frames as f64 * 1e9 / f64::from(rate)) as i64;
        let length_ns = in_ns(window.end - window.start);
        // Sound that is sent elsewhere is placed anew without a hole.
        let late_ns =
            if stamp.moves == last.moves { raw_ns - before.raw_ns - length_ns } else { 0 };
        let ran_out = stamp.xruns != last.xruns;
        let skipped_ns = if ran_out || late_ns > STAMPS_JITTER_NS { late_ns.max(0) } else { 0 };
        let empty = stamp.empty.saturating_sub(last.empty).min(window.end - window.start);
        let unfed_ns = in_ns(empty) + skipped_ns;
        let unfed_ns = if unfed_ns > 0 && is_due(before.raw_ns) { unfed_ns } else { 0 };
        self.count(in_ns(starved) + unfed_ns, sounding > 0);
    }

    fn count(&mut self, silent_ns: i64, sounds: bool) {
        if self.heard && silent_ns > 0 {
            self.silence.times += u64::from(!self.is_silent);
            self.silence.total_ns += silent_ns;
        }
        self.is_silent = silent_ns > 0;
        self.heard |= sounds;
    }
}

impl Renderer {
    /// The silence so far, while a song was due.
    pub(super) fn silence(&self) -> Silence {
        self.silence.silence()
    }

    /// Takes a stamp, before anything else does.
    pub(super) fn meter_silence(&mut self, stamp: Stamp, raw_ns: i64) {
        let is_due = |raw_ns: i64| match (&self.room, &self.known_map) {
            (Some(room), Some(map)) => {
                Due::at(room, map.at(raw_ns + self.trim_ns)).0.sounding().is_some()
            }
            _ => false,
        };
        self.silence.observe(stamp, raw_ns, self.rate, &self.history, is_due);
    }
}
