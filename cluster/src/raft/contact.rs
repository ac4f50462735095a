//! Whether this node is in contact with a live leader, and since when it is not.
//!
//! Openraft tells a follower who leads, not when that leader was heard last: a follower that is cut off from its peers
//! names the old leader for as long as the cut lasts. So each append and heartbeat is noted as it comes in, and on the leader
//! each look that finds a live lease. A leader without a lease says so in what it sends, and does not count: it leads nobody
//! where its messages arrive and no answer comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// An election takes less on a healthy network, however short its timeout is.
const SILENCE_MIN: Duration = Duration::from_secs(1);
/// And less than so many of the longest timeouts, even where votes are split.
const ELECTIONS_MAX: u32 = 10;

/// What a node can say of its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// A live leader was heard a moment ago.
    Live,
    /// None was heard for so long. What this node knows may be old.
    Stale(Duration),
}

impl Contact {
    /// Whether a live leader is heard.
    pub fn is_live(self) -> bool {
        self == Self::Live
    }

    /// As it goes on the wire: for how long none was heard, ms; `None`: one is.
    pub fn stale_ms(self) -> Option<u64> {
        match self {
            Self::Live => None,
            Self::Stale(silent) => Some(u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// How long no leader may be heard before a node says so.
pub fn silence_max(election_max: Duration) -> Duration {
    SILENCE_MIN.max(election_max * ELECTIONS_MAX)
}

/// Judges how a node stands that last heard a live leader `silent` ago.
pub fn judge(silent: Silence, election_max: Duration) -> Contact {
    match silent {
        Silence::For(silent) if silent < silence_max(election_max) => Contact::Live,
        // Whoever was never heard may have gone on without this node for as long as it was away.
        Silence::For(silent) | Silence::SinceStart(silent) => Contact::Stale(silent),
    }
}

/// For how long no live leader was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// So long.
    For(Duration),
    /// Never since Raft started here, so long ago.
    SinceStart(Duration),
}

impl Silence {
    /// How long it has lasted.
    pub fn duration(self) -> Duration {
        match self {
            Self::For(silent) | Self::SinceStart(silent) => silent,
        }
    }
}

/// When a live leader was heard last.
#[derive(Debug)]
pub struct LastHeard {
    started: Instant,
    heard: Mutex<Option<Instant>>,
    /// The last log index that was committed when a leader was heard first.
    goal: OnceLock<u64>,
}

impl LastHeard {
    /// Nobody was heard yet; Raft starts now.
    pub fn new(started: Instant) -> Self {
        Self { started, heard: Mutex::default(), goal: OnceLock::new() }
    }

    /// A live leader was heard.
    pub fn note(&self, at: Instant) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// A live leader was heard, elsewhere. It has committed the log up to the index `committed`.
    pub fn note_leader(&self, at: Instant, committed: u64) {
        self.note(at);
        self.goal.get_or_init(|| committed);
    }

    /// This node leads, and its first entry is applied: it has all that was ever committed.
    pub fn note_complete(&self) {
        self.goal.get_or_init(|| 0);
    }

    /// Whether this node, which has applied the log up to the index `applied`, has all that was committed when it heard a leader
    /// first.
    pub fn has_caught_up(&self, applied: u64) -> bool {
        self.goal.get().is_some_and(|goal| applied >= *goal)
    }

    /// For how long none was heard by `now`.
    pub fn silent_for(&self, now: Instant) -> Silence {
        match *self.heard.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(heard) => Silence::For(now.saturating_duration_since(heard)),
            None => Silence::SinceStart(now.saturating_duration_since(self.started)),
        }
    }
}

/// Whether this node leads without a lease: what its messages say of it.
#[derive(Clone, Debug, Default)]
pub struct Lease(Arc<AtomicBool>);

impl Lease {
    /// It leads, and no majority has answered for long enough that it may have been replaced.
    pub fn set_lost(&self, is_lost: bool) {
        self.0.store(is_lost, Ordering::Relaxed);
    }

    /// What was set last.
    pub fn is_lost(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_second_passes_or_ten_elections() {
        assert_eq!(silence_max(MS(95)), MS(1000));
        assert_eq!(silence_max(MS(700)), MS(7000));
        let judged = |silent| judge(Silence::For(silent), MS(95));
        assert_eq!(judged(MS(0)), Contact::Live);
        assert_eq!(judged(MS(999)), Contact::Live);
        assert_eq!(judged(MS(1000)), Contact::Stale(MS(1000)));
        assert_eq!(judge(Silence::For(MS(6999)), MS(700)), Contact::Live);
        assert_eq!(judge(Silence::For(MS(7000)), MS(700)), Contact::Stale(MS(7000)));
    }

    #[test]
    fn a_node_that_heard_nobody_yet_is_stale_from_its_start() {
        assert_eq!(judge(Silence::SinceStart(MS(0)), MS(95)), Contact::Stale(MS(0)));
        assert_eq!(judge(Silence::SinceStart(MS(300)), MS(95)).stale_ms(), Some(300));
        assert_eq!(Contact::Live.stale_ms(), None);
    }

    #[test]
    fn what_the_first_leader_had_committed_is_the_goal() {
        let start = Instant::now();
        let heard = LastHeard::new(start);
        assert!(!heard.has_caught_up(u64::MAX), "nobody has said how far the log goes");
        heard.note_leader(start, 7);
        heard.note_leader(start, 90);
        assert!(!heard.has_caught_up(6));
        assert!(heard.has_caught_up(7));
        let leader = LastHeard::new(start);
        leader.note_complete();
        assert!(leader.has_caught_up(0), "it led before it heard anybody");
    }

    #[test]
    fn the_last_one_counts() {
        let start = Instant::now();
        let heard = LastHeard::new(start);
        assert_eq!(heard.silent_for(start + MS(5)), Silence::SinceStart(MS(5)));
        heard.note(start + MS(10));
        heard.note(start + MS(40));
        assert_eq!(heard.silent_for(start + MS(2040)), Silence::For(MS(2000)));
        assert_eq!(heard.silent_for(start), Silence::For(MS(0)));
    }
}
