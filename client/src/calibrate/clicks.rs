//! Clicks at every whole second of shared time, through the same player as music.

use std::sync::Arc;

use jam_proto::event::{Entry, Event, EventKind, Song};
use jam_proto::ids::{EntryId, Revision, RoomCode, TrackId};
use jam_proto::limits::SONG_SECS_MAX;
use jam_proto::loudness::Gain;
use jam_proto::room::Room;
use jam_proto::time::{Flicks, SharedTime};

use crate::audio::{SongSource, Sound};

/// Frames a second.
pub const RATE: u32 = 48_000;
/// A click lasts 5 ms.
pub const CLICK_FRAMES: u64 = RATE as u64 / 200;
/// Each fourth one is higher, so that one is not taken for another.
const HIGH_EVERY: u64 = 4;
const LOW_HZ: f64 = 1500.0;
const HIGH_HZ: f64 = 2250.0;

/// A click's sample at a frame of it: a burst of a few waves that dies away.
pub fn click(frame: u64, hz: f64) -> f32 {
    let seconds = frame as f64 / f64::from(RATE);
    let fades = 1.0 - frame as f64 / CLICK_FRAMES as f64;
    (0.7 * fades * (std::f64::consts::TAU * hz * seconds).sin()) as f32
}

/// What a click of second `second` is like.
pub fn hz(second: u64) -> f64 {
    if second.is_multiple_of(HIGH_EVERY) { HIGH_HZ } else { LOW_HZ }
}

/// The only song there is.
pub struct Clicks;

struct Ticking {
    at: u64,
    frames: u64,
}

impl Sound for Ticking {
    fn seek(&mut self, frame: u64) {
        self.at = frame;
    }

    fn read(&mut self, out: &mut [f32]) -> usize {
        let frames = ((out.len() / 2) as u64).min(self.frames.saturating_sub(self.at));
        for (frame, samples) in (self.at..self.at + frames).zip(out.chunks_exact_mut(2)) {
            let (second, within) = (frame / u64::from(RATE), frame % u64::from(RATE));
            let sample = if within < CLICK_FRAMES { click(within, hz(second)) } else { 0.0 };
            samples.fill(sample);
        }
        self.at += frames;
        frames as usize
    }

    fn failure(&self) -> Option<&str> {
        None
    }
}

impl SongSource for Clicks {
    fn open(&self, entry: &Entry) -> Option<Result<Box<dyn Sound>, String>> {
        Some(Ok(Box::new(Ticking { at: 0, frames: entry.frames })))
    }

    fn has(&self, _track: &TrackId, _from: u64, _to: u64) -> bool {
        true
    }

    fn here_until(&self, _track: &TrackId, _frame: u64) -> u64 {
        u64::MAX
    }
}

/// A room of this machine alone, that ticks from the whole second before `now` on.
pub fn room(now: SharedTime) -> Arc<Room> {
    let seconds = now.as_nanos().div_euclid(1_000_000_000);
    let begin = SharedTime(Flicks::from_secs(seconds - seconds.rem_euclid(HIGH_EVERY as i64)).0);
    let event = |revision, kind| Event {
        revision: Revision(revision),
        stamp: begin,
        effective_at: begin,
        by: String::new(),
        kind,
    };
    let entry = Entry {
        id: EntryId(1),
        song: Arc::new(Song {
            track: TrackId([0; 32]),
            title: "clicks".to_owned(),
            artist: String::new(),
            album: String::new(),
            frames: SONG_SECS_MAX * u64::from(RATE),
            sample_rate: RATE,
            own_gain: None,
        }),
        added_by: "".into(),
        gain: Gain(0),
    };
    let created = EventKind::Created { code: RoomCode::from_random(0), name: String::new() };
    let mut room = Room::begin(&event(1, created)).expect("a room begins with its creation");
    let rest = [EventKind::Enqueued { entry, before: None }, EventKind::Played];
    for (number, kind) in rest.into_iter().enumerate() {
        room.fold(&event(number as u64 + 2, kind)).expect("they follow each other");
    }
    Arc::new(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_clicks_at_the_same_seconds() {
        for now_ns in [5_200_000_000, 1_000_000_000_000_700, -300] {
            let now = SharedTime(Flicks::from_nanos(now_ns).0);
            let room = room(now);
            let sounding = room.at(now);
            assert!(sounding.playing);
            let origin = now - sounding.position;
            assert_eq!(origin.as_nanos().rem_euclid(HIGH_EVERY as i64 * 1_000_000_000), 0);
            assert!(sounding.position < Flicks::from_secs(HIGH_EVERY as i64));
        }
    }

    #[test]
    fn a_click_begins_with_its_second() {
        let mut ticking = Ticking { at: 0, frames: 10 * u64::from(RATE) };
        ticking.seek(3 * u64::from(RATE) - 2);
        let mut out = [9.0; 2 * 6];
        assert_eq!(ticking.read(&mut out), 6);
        assert_eq!(out[..6], [0.0; 6]);
        assert!(out[6..].iter().all(|sample| *sample > 0.0));
        ticking.seek(10 * u64::from(RATE) - 1);
        assert_eq!(ticking.read(&mut out), 1);
    }
}
