//! What people ask of a room, and how a room says no.

use crate::ids::{EntryId, Revision, RoomCode, SessionId, TrackId};
use crate::time::{Flicks, SharedTime};

/// One edit of a room. Each names what its user saw, and fails if the room has moved on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes the room. Its code comes with the command, from the client.
    Create {
        /// What people call it.
        name: String,
    },
    /// Adds a committed track to the queue.
    Enqueue {
        /// Which one.
        track: TrackId,
        /// Right after the current song, not at the end.
        next: bool,
    },
    /// Takes an entry out. If it is the current one, the next one starts.
    Remove {
        /// Which one.
        entry: EntryId,
    },
    /// Moves an upcoming entry.
    Move {
        /// Which one.
        entry: EntryId,
        /// To just before this one; `None`: to the end.
        before: Option<EntryId>,
    },
    /// Takes every upcoming entry out; the current one plays on.
    Clear,
    /// Starts the clock of the current song, or of the next one that is queued. Does nothing while it runs.
    Play {
        /// The entry that the user heard or saw.
        entry: Option<EntryId>,
    },
    /// Stops it, whatever plays by then.
    Pause {
        /// The entry that the user heard or saw. Below [`crate::level::FeatureLevel::HEARD`] it must still be current.
        entry: Option<EntryId>,
    },
    /// Moves to a position in the current song.
    Seek {
        /// The current entry that the user saw.
        entry: EntryId,
        /// From its start.
        position: Flicks,
    },
    /// Ends the current song now.
    Skip {
        /// The entry that the user heard: two who skip at once skip one song.
        entry: EntryId,
    },
    /// Goes back to the song before, from its start.
    Back {
        /// The current entry that the user saw.
        entry: Option<EntryId>,
    },
    /// Calls the room something else.
    Rename {
        /// What people call it from now on.
        name: String,
    },
}

/// A command in its session, as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomCommand {
    /// Whose.
    pub session: SessionId,
    /// Which one of the session's, from 1.
    pub number: u64,
    /// The room that it edits.
    pub room: RoomCode,
    /// The edit.
    pub command: Command,
}

/// What became of a command that was applied, or was judged and refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The room's revision after it; 0 if there is no such room.
    pub revision: Revision,
    /// From when on it can be heard.
    pub effective_at: SharedTime,
    /// The new entry of an `Enqueue`.
    pub entry: Option<EntryId>,
    /// Why nothing changed, if nothing did.
    pub rejection: Option<Rejection>,
}

/// Why a command that was judged changed nothing. Each has a stable code for programs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such room.
    #[error("there is no room {0}; `jam rooms` lists them")]
    RoomUnknown(RoomCode),
    /// `Create` with a code that is taken.
    #[error("the room code {0} is taken; create the room again")]
    RoomExists(RoomCode),
    /// No such entry in the queue.
    #[error("entry {0} is not in the queue; `jam queue` shows what is")]
    EntryUnknown(EntryId),
    /// The song that the user saw is not the current one any more.
    #[error("the room has moved on: {}", moved_on(*.current))]
    NotCurrent {
        /// What is current.
        current: Option<EntryId>,
    },
    /// `Skip` of an entry that somebody else has skipped.
    #[error("entry {0} is already skipped; nothing else was skipped")]
    AlreadySkipped(EntryId),
    /// `Move` of the current entry, or to before it.
    #[error("entry {0} is current and stays first; skip it or move others")]
    EntryCurrent(EntryId),
    /// `Seek` past the end.
    #[error("the song is {} long; seek to a position within it", clock_text(*.length))]
    PastEnd {
        /// How long the song is.
        length: Flicks,
    },
    /// `Back` with nothing before.
    #[error("nothing was played before this")]
    NoHistory,
    /// The track is not committed, or was forgotten.
    #[error("the cluster does not have this song (any more); add the file again")]
    TrackGone(TrackId),
    /// The queue's limit.
    #[error("the queue is full: {limit} entries at most; remove some first")]
    QueueFull {
        /// Entries.
        limit: usize,
    },
    /// The cluster's limit of rooms.
    #[error("the cluster has {limit} rooms, its limit")]
    RoomsFull {
        /// Rooms.
        limit: usize,
    },
    /// The limit of what all rooms hold.
    #[error(
        "all rooms and queues together hold as much as they may, {} MiB; clear queues or remove entries that nobody needs, then try again",
        limit >> 20
    )]
    StateFull {
        /// Bytes.
        limit: u64,
    },
    /// The session is not known, or not any more. This attempt was not applied; what became of an earlier one is not
    /// known.
    #[error(
        "this session is not open (any more), so this attempt was not applied; if the command was sent before, look at `jam queue` to see whether it was applied then"
    )]
    SessionExpired,
    /// A number lower than the session's last one.
    #[error(
        "command number {number} is older than the session's last one, {last}; it is not applied now"
    )]
    Stale {
        /// The number that came.
        number: u64,
        /// The session's last.
        last: u64,
    },
    /// The session's last number, with another command.
    #[error("command number {0} was used for another command; use a higher one")]
    NumberReused(u64),
    /// From a newer node: one that this version does not know.
    #[error("{message}")]
    Other {
        /// Its stable code.
        code: String,
        /// Its sentence.
        message: String,
    },
}

impl Rejection {
    /// The stable code for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::RoomUnknown(_) => "room_unknown",
            Self::RoomExists(_) => "room_exists",
            Self::EntryUnknown(_) => "entry_unknown",
            Self::NotCurrent { .. } => "not_current",
            Self::AlreadySkipped(_) => "already_skipped",
            Self::EntryCurrent(_) => "entry_current",
            Self::PastEnd { .. } => "past_end",
            Self::NoHistory => "no_history",
            Self::TrackGone(_) => "track_gone",
            Self::QueueFull { .. } => "queue_full",
            Self::RoomsFull { .. } => "rooms_full",
            Self::StateFull { .. } => "state_full",
            Self::SessionExpired => "session_expired",
            Self::Stale { .. } => "stale",
            Self::NumberReused(_) => "number_reused",
            Self::Other { code, .. } => code,
        }
    }
}

impl Rejection {
    /// Whether the session refused the command, so that the room never judged it. Such a rejection is about one attempt:
    /// it says nothing of earlier attempts to send the same command. All others are kept for the command's number, and
    /// every attempt gets the same one.
    pub fn is_by_session(&self) -> bool {
        matches!(self, Self::SessionExpired | Self::Stale { .. } | Self::NumberReused(_))
    }
}

fn moved_on(current: Option<EntryId>) -> String {
    match current {
        Some(entry) => format!("entry {entry} is current now; look at `jam status` and try again"),
        None => "nothing is current now".to_owned(),
    }
}

/// `m:ss.mmm`, for messages.
pub fn clock_text(position: Flicks) -> String {
    let millis = position.as_nanos().max(0) / 1_000_000;
    format!("{}:{:02}.{:03}", millis / 60_000, millis / 1000 % 60, millis % 1000)
}
