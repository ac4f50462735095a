//! What is due at an instant, as the renderer compares it: by song and origin, not by position.

use jam_proto::event::Entry;
use jam_proto::ids::{EntryId, TrackId};
use jam_proto::room::Room;
use jam_proto::time::{FLICKS_PER_SECOND, Flicks, SharedTime};

use super::PlayerState;

/// What is due for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    /// `Playing`, `Paused` or `Ended`.
    pub state: PlayerState,
    /// The current song.
    pub song: Option<Song>,
    /// While playing: when the song's first frame was due. Two instants of one uninterrupted
    /// playing have the same origin, to the flick. Else: when its current frame would have been
    /// due at time 0.
    pub origin: SharedTime,
}

/// The current song.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Song {
    /// Its entry.
    pub entry: EntryId,
    /// Its bytes.
    pub track: TrackId,
    /// Its exact length.
    pub frames: u64,
    /// Its rate.
    pub rate: u32,
}

impl Due {
    /// What is due at `time`, and until when.
    pub fn at(room: &Room, time: SharedTime) -> (Self, Option<SharedTime>) {
        let sounding = room.at(time);
        let song = sounding.entry.as_ref().map(Song::of);
        let state = match (sounding.playing, song) {
            (true, Some(_)) => PlayerState::Playing,
            (true, None) => PlayerState::Ended,
            (false, _) => PlayerState::Paused,
        };
        let reference = if state == PlayerState::Playing { time } else { SharedTime(0) };
        (Self { state, song, origin: reference - sounding.position }, sounding.until)
    }

    /// The song that is due to sound.
    pub fn sounding(&self) -> Option<Song> {
        self.song.filter(|_| self.state == PlayerState::Playing)
    }

    /// The song's position in its frames at `playhead`: a fraction.
    pub fn frame_at(&self, playhead: Playhead) -> f64 {
        let Some(song) = self.song else { return 0.0 };
        let flicks = match self.state {
            PlayerState::Playing => playhead.since(self.origin),
            _ => -(self.origin.0 as f64),
        };
        flicks * song.frames_per_flick()
    }
}

impl Song {
    /// Of an entry.
    pub fn of(entry: &Entry) -> Self {
        Self { entry: entry.id, track: entry.track, frames: entry.frames, rate: entry.sample_rate }
    }

    /// Its exact length.
    pub fn length(&self) -> Flicks {
        Flicks::from_frames(self.frames, self.rate)
    }

    /// Its frames in a flick.
    pub fn frames_per_flick(&self) -> f64 {
        f64::from(self.rate) / FLICKS_PER_SECOND as f64
    }
}

/// The renderer's place on the time line of the room: shared time, to a fraction of a flick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Playhead {
    at: SharedTime,
    fraction: f64,
}

impl Playhead {
    /// At a whole flick.
    pub fn new(at: SharedTime) -> Self {
        Self { at, fraction: 0.0 }
    }

    /// The last whole flick.
    pub fn time(&self) -> SharedTime {
        self.at
    }

    /// Later by so many flicks.
    pub fn after(&self, flicks: f64) -> Self {
        let sum = self.fraction + flicks;
        let whole = sum.floor();
        Self { at: self.at + Flicks(whole as i64), fraction: sum - whole }
    }

    /// Flicks since an instant. Exact to a hundredth of a flick over days.
    pub fn since(&self, earlier: SharedTime) -> f64 {
        self.at.since(earlier).0 as f64 + self.fraction
    }
}
