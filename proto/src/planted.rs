//! Bugs on purpose, for the judges to find. They take the feature `planted`, which no release has, and a process has one of
//! them at most.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// The journal acknowledges what it has not synced.
    SkippedSync = 1,
    /// A read does not ask a majority first.
    StaleRead,
    /// A command that comes again is judged again.
    NoDeduplication,
    /// A watcher that got a snapshot lacks the event behind it.
    DroppedEvent,
    /// A stamp may lie before the one before it.
    BackwardStamp,
    /// A new leader takes the time of day for shared time.
    WallClockTime,
    /// A vote is acknowledged and not written down.
    ForgottenVote,
    /// A listener plays some milliseconds late and believes it is in time.
    WrongPhase,
    /// A node gives a song away with a byte that is another one.
    BadSong,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SkippedSync,
        Self::StaleRead,
        Self::NoDeduplication,
        Self::DroppedEvent,
        Self::BackwardStamp,
        Self::WallClockTime,
        Self::ForgottenVote,
        Self::WrongPhase,
        Self::BadSong,
    ];

    /// Plants the one that the environment names in `JAM_PLANTED`, if it names one.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn plant_as_told() {
        if let Ok(name) = std::env::var("JAM_PLANTED") {
            name.parse::<Self>().expect("JAM_PLANTED names a bug").plant();
        }
    }

    /// Plants it in this process.
    pub fn plant(self) {
        PLANTED.store(self as u8, Ordering::Relaxed);
    }

    /// Whether it was planted.
    pub fn is_planted(self) -> bool {
        PLANTED.load(Ordering::Relaxed) == self as u8
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SkippedSync => "skipped-sync",
            Self::StaleRead => "stale-read",
            Self::NoDeduplication => "no-deduplication",
            Self::DroppedEvent => "dropped-event",
            Self::BackwardStamp => "backward-stamp",
            Self::WallClockTime => "wall-clock-time",
            Self::ForgottenVote => "forgotten-vote",
            Self::WrongPhase => "wrong-phase",
            Self::BadSong => "bad-song",
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = Self::ALL.iter().map(|bug| bug.name()).collect();
        let found = Self::ALL.into_iter().find(|bug| bug.name() == text);
        found.ok_or_else(|| format!("'{text}' is none of {}", names.join(", ")))
    }
}
