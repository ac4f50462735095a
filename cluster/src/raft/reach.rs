//! Which members this node has heard from lately, and so whether it can reach a majority of the voters.
//!
//! Openraft says who leads. While nobody leads, that leaves open whether an election is under way or the majority is
//! gone. The difference decides what a client is told: to retry, or that its edit was refused. So each call that
//! a member answers, and each call that comes from one, is noted. Followers call each other in elections only, but those
//! follow one another for as long as nobody leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A majority counts as reachable for at least this long after it was heard, so that a short election never counts as a
/// lost majority, and an edit without a majority is refused within a second all the same.
const TIMEOUT_MIN: Duration = Duration::from_millis(500);
/// And for this many of the longest election timeouts: one until the first pre-vote, and two for split votes.
const ELECTIONS: u32 = 3;

/// How long ago a member may have been heard to count as reachable.
pub fn timeout(election_max: Duration) -> Duration {
    TIMEOUT_MIN.max(election_max * ELECTIONS)
}

/// When each member was heard last, by its node id.
#[derive(Debug, Default)]
pub struct Reach(Mutex<BTreeMap<u64, Instant>>);

impl Reach {
    /// The member `node` answered a call, or called.
    pub fn note(&self, node: u64, at: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node, at);
    }

    /// Whether this node, `own`, reaches a majority of each set of voters; during a change of the members there are two.
    pub fn has_majority(
        &self,
        own: u64,
        voters: &[BTreeSet<u64>],
        timeout: Duration,
        now: Instant,
    ) -> bool {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = |id: &u64| {
            let at = heard.get(id);
            *id == own || at.is_some_and(|at| now.saturating_duration_since(*at) < timeout)
        };
        voters.iter().all(|set| set.iter().filter(|id| reached(id)).count() * 2 > set.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_majority_is_reachable_until_its_members_fall_silent() {
        let (start, reach) = (Instant::now(), Reach::default());
        let voters = [BTreeSet::from([1, 2, 3])];
        let reaches = |at| reach.has_majority(1, &voters, timeout(MS(95)), start + at);
        assert!(!reaches(MS(0)), "nobody was heard");
        reach.note(3, start);
        assert!(reaches(MS(499)));
        assert!(!reaches(MS(500)));
        reach.note(2, start + MS(400));
        assert!(reaches(MS(899)));
        // A node that does not vote is no part of a majority.
        reach.note(9, start + MS(2000));
        assert!(!reaches(MS(2000)));
    }

    #[test]
    fn both_sets_of_voters_count_during_a_change_of_the_members() {
        let (start, reach) = (Instant::now(), Reach::default());
        reach.note(2, start);
        let changing = [BTreeSet::from([1, 2, 3]), BTreeSet::from([3, 4, 5])];
        assert!(!reach.has_majority(1, &changing, MS(500), start));
        reach.note(4, start);
        reach.note(5, start);
        assert!(reach.has_majority(1, &changing, MS(500), start));
        assert!(reach.has_majority(1, &[BTreeSet::from([1])], MS(500), start), "it is alone");
    }

    #[test]
    fn slow_elections_are_waited_for() {
        assert_eq!(timeout(MS(95)), MS(500));
        assert_eq!(timeout(MS(900)), MS(2700));
    }
}
