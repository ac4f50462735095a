//! How often the leader changed lately, and whether an operator may move it again.
//!
//! A change of the leader takes each listener's reference away for a moment. One is nothing; a row of them, faster than
//! clocks are compared, leaves no node that knows the time well enough to continue it. Every node sees every change, so the
//! limit holds wherever the request goes, and needs no log.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::server::bucket::Bucket;
use crate::shard::Group;

/// An operator who moves the leader away from one machine after the other does it as often, and no more.
const MOVES_AT_ONCE: u32 = 3;
/// A listener is in step with a new leader within a second; time that is compared for this long bears another change.
const MOVE_EVERY: Duration = Duration::from_secs(10);

/// The changes of the leader that this node has seen.
#[derive(Debug)]
pub struct Moves(Mutex<Bucket>);

impl Default for Moves {
    fn default() -> Self {
        Self(Mutex::new(Bucket::new(MOVES_AT_ONCE, MOVE_EVERY, Instant::now())))
    }
}

impl Moves {
    /// Counts them, until the node stops.
    pub async fn count(&self, group: Group) {
        let mut changes = group.standing_changes();
        let mut last = None;
        loop {
            let leads = {
                let standing = changes.borrow_and_update();
                standing.leader.map(|leader| (standing.term, leader))
            };
            if let Some(leads) = leads
                && last.replace(leads).is_some_and(|last| last != leads)
            {
                self.moved(Instant::now());
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// After how long the leader may be moved again.
    pub fn wait(&self, now: Instant) -> Duration {
        self.lock().wait(1, now)
    }

    /// An election counts too, and is never refused: then nothing is left, and nothing is owed.
    fn moved(&self, now: Instant) {
        self.lock().take(1, now);
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_some_moves_the_leader_stays_for_a_while() {
        let moves = Moves::default();
        let now = Instant::now();
        for _ in 0..MOVES_AT_ONCE {
            assert_eq!(moves.wait(now), Duration::ZERO);
            moves.moved(now);
        }
        assert_eq!(moves.wait(now), MOVE_EVERY);
        // Elections while it is so make nobody wait longer.
        moves.moved(now);
        assert_eq!(moves.wait(now), MOVE_EVERY);
        assert_eq!(moves.wait(now + MOVE_EVERY), Duration::ZERO);
    }
}
