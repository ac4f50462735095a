//! What listeners heard, and what they said of it.

use serde::{Deserialize, Serialize};

use super::Hex;

/// A stretch of what left a listener's device, all of one kind. Stretches of a listener follow each other without
/// holes for as long as the device runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// The listener.
    pub listener: String,
    /// Which start of its process.
    pub life: u32,
    /// True time of its begin, ns.
    pub from_ns: i64,
    /// True time of its end, ns.
    pub until_ns: i64,
    /// What it was.
    pub sound: Sound,
}

/// What can be heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sound {
    /// Nothing.
    Silence,
    /// A song that goes on evenly.
    Song {
        /// BLAKE3 of its bytes, 32 bytes.
        track: Hex,
        /// Its position at the begin, ns.
        from_ns: i64,
        /// Its position at the end, ns.
        until_ns: i64,
    },
    /// Something else: two songs that fade into each other, a seam, noise.
    Other,
}

/// What a listener says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerSample {
    /// The listener.
    pub listener: String,
    /// Which start of its process.
    pub life: u32,
    /// The true time of its shared time, ns. The rest was true then, too, or a moment ago.
    pub at_ns: i64,
    /// The room that it is in.
    pub room: String,
    /// Up to where it knows that room; 0: not at all.
    pub revision: u64,
    /// The clock epoch that it is in; 0: none.
    pub epoch: u64,
    /// The term of the leader that its clock follows.
    pub term: u64,
    /// Shared time, flicks, if it is known.
    pub shared: Option<i64>,
    /// Its distance from the leader's time is at most this, ns.
    pub bound_ns: i64,
    /// How long before that its clock heard a leader last, ns; `None`: it does not tell, or heard none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard_ns: Option<i64>,
    /// What it does, as in a trace.
    pub state: String,
    /// The current song is on its disk.
    pub song_here: bool,
}
