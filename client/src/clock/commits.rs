//! How far the cluster had committed its log, by the leader's word: what a watch is held against.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A node gets this long to send on what is committed. An idle node tells each second how far it is, so less would
/// call healthy nodes late.
pub const BEHIND_MAX: Duration = Duration::from_secs(2);

/// The log indexes that leaders named lately. The clock notes them, whoever follows the room asks.
#[derive(Debug, Default)]
pub struct Commits(Mutex<Named>);

#[derive(Debug, Default)]
struct Named {
    /// The last one that is old enough.
    due: u64,
    /// Those that are not yet, in order.
    young: VecDeque<(Instant, u64)>,
}

impl Commits {
    /// The leader named `index` as its commit index at `at`; 0: it named none.
    pub fn name(&self, index: u64, at: Instant) {
        let mut named = self.lock();
        let last = named.young.back().map_or(named.due, |(_, last)| *last);
        if index > last {
            named.young.push_back((at, index));
        }
    }

    /// The log index that a watch must have reached by `now`; 0: none was named for long enough.
    pub fn due(&self, now: Instant) -> u64 {
        let mut named = self.lock();
        while let Some((at, index)) = named.young.front().copied()
            && now.saturating_duration_since(at) >= BEHIND_MAX
        {
            named.due = index;
            named.young.pop_front();
        }
        named.due
    }

    fn lock(&self) -> MutexGuard<'_, Named> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_two_seconds_ago_is_due() {
        let (commits, start) = (Commits::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        commits.name(0, start);
        assert_eq!(commits.due(after(9000)), 0);
        commits.name(7, start);
        commits.name(7, after(500));
        commits.name(9, after(1000));
        // An answer that was on its way for longer than the next one.
        commits.name(8, after(1100));
        assert_eq!(commits.due(after(1999)), 0);
        assert_eq!(commits.due(after(2000)), 7);
        assert_eq!(commits.due(after(2999)), 7);
        assert_eq!(commits.due(after(3000)), 9);
        assert_eq!(commits.due(after(90_000)), 9);
        commits.name(12, after(90_000));
        assert_eq!((commits.due(after(90_001)), commits.due(after(92_000))), (9, 12));
    }
}
