//! Which candidate the leader has asked to take over.
//!
//! A vote request that says of itself that it is part of such a transfer goes around the leader's lease in openraft. That is
//! right only if the leader asked for it: it tells all voters whom it hands over to, and a voter remembers that here.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::types::Vote;

/// The last transfer that this node's leader asked for.
#[derive(Debug, Default)]
pub struct Transfers(watch::Sender<Option<Transfer>>);

#[derive(Clone, Copy, Debug)]
struct Transfer {
    leader: Vote,
    to: u64,
    until: Instant,
}

impl Transfers {
    /// The leader hands over to the node `to`. The caller knows that this is its leader. It holds for `lasts`: a leader
    /// whose transfer failed leads on.
    pub fn announce(&self, leader: Vote, to: u64, lasts: Duration) {
        self.0.send_replace(Some(Transfer { leader, to, until: Instant::now() + lasts }));
    }

    /// Whether the leader asked this candidate. The leader tells all voters at the same time, so the candidate may be heard
    /// first: then this waits for so long.
    pub async fn is_announced(&self, candidate: &Vote, wait: Duration) -> bool {
        let (term, node) = (candidate.leader_id.term, candidate.leader_id.voted_for);
        let asked = |transfer: &Option<Transfer>| {
            transfer.is_some_and(|Transfer { leader, to, until }| {
                to == node
                    && leader.leader_id.term.checked_add(1) == Some(term)
                    && Instant::now() < until
            })
        };
        let mut latest = self.0.subscribe();
        timeout(wait, latest.wait_for(asked)).await.is_ok_and(|found| found.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const LATER: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn only_the_node_that_the_leader_named_is_asked_and_only_for_the_next_term() {
        let transfers = Transfers::default();
        assert!(!transfers.is_announced(&Vote::new(5, 2), NOW).await);
        transfers.announce(Vote::new_committed(4, 1), 2, LATER);
        assert!(transfers.is_announced(&Vote::new(5, 2), NOW).await);
        assert!(!transfers.is_announced(&Vote::new(5, 3), NOW).await, "another node");
        assert!(!transfers.is_announced(&Vote::new(6, 2), NOW).await, "another term");
        assert!(!transfers.is_announced(&Vote::new(4, 2), NOW).await, "the leader's term");
        transfers.announce(Vote::new_committed(u64::MAX, 1), 2, LATER);
        assert!(!transfers.is_announced(&Vote::new(0, 2), NOW).await, "no term follows");
        transfers.announce(Vote::new_committed(4, 1), 2, NOW);
        assert!(!transfers.is_announced(&Vote::new(5, 2), NOW).await, "it is over");
    }

    #[tokio::test]
    async fn a_candidate_that_is_heard_before_the_leader_waits() {
        let transfers = Transfers::default();
        let candidate = Vote::new(5, 2);
        let (asked, ()) = tokio::join!(transfers.is_announced(&candidate, LATER), async {
            transfers.announce(Vote::new_committed(4, 1), 2, LATER);
        });
        assert!(asked);
    }
}
