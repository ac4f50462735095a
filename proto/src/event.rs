//! What happened in a room: the only thing that changes it.

use std::ops::Deref;
use std::sync::Arc;

use crate::ids::{EntryId, Revision, RoomCode, TrackId};
use crate::loudness::Gain;
use crate::time::{Flicks, SharedTime};
use crate::wire::v1::Track;

/// What a queue knows of a song. It comes from the song's track, and all entries of one track share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Song {
    /// The song's bytes.
    pub track: TrackId,
    /// From its tags, or its file name.
    pub title: String,
    /// From its tags; may be empty.
    pub artist: String,
    /// From its tags; may be empty.
    pub album: String,
    /// Exact length: frames decoded and trimmed.
    pub frames: u64,
    /// Frames per second, never 0.
    pub sample_rate: u32,
    /// What brings the song by itself to an even loudness; `None`: nobody knows.
    pub own_gain: Option<Gain>,
}

impl Song {
    /// The song of a committed track.
    pub fn of(id: TrackId, track: &Track) -> Self {
        Self {
            track: id,
            title: track.title.clone(),
            artist: track.artist.clone(),
            album: track.album.clone(),
            frames: track.frames,
            sample_rate: track.sample_rate,
            own_gain: track.loudness.as_ref().map(Gain::of),
        }
    }

    /// Its exact length, rounded once (and only at odd rates) to a flick.
    pub fn length(&self) -> Flicks {
        Flicks::from_frames(self.frames, self.sample_rate)
    }
}

/// A song in a queue. It reads as its song, and a copy of it costs next to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id in the room.
    pub id: EntryId,
    /// What is played.
    pub song: Arc<Song>,
    /// Who queued it.
    pub added_by: Arc<str>,
    /// What it is played at: neighbours of one album share one ([`crate::room`]).
    pub gain: Gain,
}

impl Deref for Entry {
    type Target = Song;

    fn deref(&self) -> &Song {
        &self.song
    }
}

/// One committed change of one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The room's revision once it is folded: exactly one above the one before.
    pub revision: Revision,
    /// When the leader took the command, made strictly monotonic.
    pub stamp: SharedTime,
    /// From when on it can be heard. Never falls.
    pub effective_at: SharedTime,
    /// Who did it; empty: the cluster itself.
    pub by: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The room began.
    Created {
        /// Its code.
        code: RoomCode,
        /// Its name.
        name: String,
    },
    /// An entry joined the queue.
    Enqueued {
        /// The entry.
        entry: Entry,
        /// Just before this one; `None`: at the end.
        before: Option<EntryId>,
    },
    /// An entry left the queue without (or while) being played.
    Removed {
        /// Which.
        entry: EntryId,
    },
    /// An entry changed its place.
    Moved {
        /// Which.
        entry: EntryId,
        /// Just before this one; `None`: to the end.
        before: Option<EntryId>,
    },
    /// All upcoming entries left.
    Cleared,
    /// The clock runs.
    Played,
    /// The clock stands.
    Paused {
        /// By the cluster, since nobody had listened for a minute.
        nobody_listening: bool,
    },
    /// Another position in the current song.
    Sought {
        /// The current song.
        entry: EntryId,
        /// The position at `effective_at`.
        position: Flicks,
    },
    /// The current song went to the history before its end.
    Skipped {
        /// Which.
        entry: EntryId,
    },
    /// The last played song is current again, from its start.
    WentBack {
        /// Which.
        entry: EntryId,
    },
    /// Shared time could not be continued: what played at `floor` goes on from there at `effective_at`.
    EpochBumped {
        /// The new epoch.
        epoch: u64,
        /// Where the old one's time ends.
        floor: SharedTime,
    },
    /// The room is called something else.
    Renamed {
        /// Its new name.
        name: String,
    },
}
