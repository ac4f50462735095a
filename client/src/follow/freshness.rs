//! Whether the node that is followed is up to date, and when to leave it for another one.

use std::time::Duration;

use tokio::time::Instant;

use crate::connection::Backoff;

/// Whoever follows a node that turned stale waits up to so long before it leaves, so that a crowd does not leave at once.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);
/// While no other node is better, they are asked again after at most so long.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(4);

/// Why what a node sends may be old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// It hears no live leader.
    CutOff,
    /// It has not sent what the leader named as committed for some time.
    Lags,
}

impl Outdated {
    /// For programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CutOff => "cut_off",
            Self::Lags => "lags",
        }
    }
}

/// What a node said of how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freshness {
    /// It hears no live leader.
    pub stale: bool,
    /// Log index up to which it has sent everything; `None`: it is of a build that does not say.
    pub reached: Option<u64>,
}

impl Freshness {
    /// By the first message of a stream.
    pub fn of_hello(stale_ms: Option<u64>, applied: u64) -> Self {
        Self { stale: stale_ms.is_some(), reached: (applied > 0).then_some(applied) }
    }

    /// It has sent all up to `index`.
    pub fn reach(&mut self, index: u64) {
        self.reached = self.reached.map(|reached| reached.max(index));
    }

    /// Why it may be old, if so; `due`: the log index that it must have reached by now.
    pub fn outdated(&self, due: u64) -> Option<Outdated> {
        if self.stale {
            Some(Outdated::CutOff)
        } else if self.reached.is_some_and(|reached| reached < due) {
            Some(Outdated::Lags)
        } else {
            None
        }
    }
}

/// When to look for another node.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    next: Option<Instant>,
    backoff: Backoff,
}

impl Leaving {
    /// A look at `now`; `jitter`: from 0 to 1. True: it is time to look for another node.
    pub fn is_due(&mut self, outdated: bool, now: Instant, jitter: f64) -> bool {
        if !outdated {
            *self = Self::default();
            return false;
        }
        let next = *self.next.get_or_insert(now + LEAVE_WITHIN.mul_f64(jitter));
        if now < next {
            return false;
        }
        self.next = Some(now + LEAVE_WITHIN + self.backoff.next_pause(ASK_AGAIN_MAX));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_outdated_when_it_says_so_or_is_behind() {
        let mut node = Freshness::of_hello(None, 10);
        assert_eq!((node.outdated(0), node.outdated(10)), (None, None));
        assert_eq!(node.outdated(11), Some(Outdated::Lags));
        node.reach(12);
        node.reach(11);
        assert_eq!((node.outdated(12), node.outdated(13)), (None, Some(Outdated::Lags)));
        assert_eq!(Freshness::of_hello(Some(0), 10).outdated(0), Some(Outdated::CutOff));
    }

    #[test]
    fn a_node_of_the_build_before_is_not_called_late() {
        let mut node = Freshness::of_hello(None, 0);
        node.reach(3);
        assert_eq!(node.outdated(90), None);
    }

    #[test]
    fn one_leaves_after_a_moment_and_asks_again_ever_more_rarely() {
        let (mut leaving, start) = (Leaving::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert!(!leaving.is_due(false, start, 0.5));
        assert!(!leaving.is_due(true, start, 0.5));
        assert!(!leaving.is_due(true, after(499), 0.0));
        assert!(leaving.is_due(true, after(500), 0.0));
        assert!(!leaving.is_due(true, after(1499), 0.0), "not at once again");
        let asked = (1500..60_000).filter(|ms| leaving.is_due(true, after(*ms), 0.0)).count();
        assert!((10..30).contains(&asked), "{asked}");
        // It is well again: the next time begins anew.
        assert!(!leaving.is_due(false, after(60_000), 0.0));
        assert!(!leaving.is_due(true, after(60_001), 1.0));
        assert!(leaving.is_due(true, after(61_001), 0.0));
    }
}
