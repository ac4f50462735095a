//! How far ahead a new clock epoch may begin, and how much of that counts.
//!
//! A leader that can't continue its clock begins a new epoch at the time that it believes it is. A number that went
//! wrong on a disk must not carry the whole cluster into the future: stamps never fall, so it could never come back.
//! Both the leader and `apply` use the rules of this file, so that the leader's clock agrees with what was applied.

use crate::time::{Flicks, SharedTime};

/// A new epoch begins at most this long after the last stamp. The leader commits something at least once an hour, so an
/// honest clock is ahead of the last stamp by little more than the time that the cluster had no quorum.
pub const AHEAD_MAX: Flicks = Flicks::from_secs(2 * 3600);

/// What one epoch's beginning adds at most to the age of what expires.
pub const AGED_MAX: Flicks = Flicks::from_secs(3600);

/// The floor that a new epoch gets: `floor`, unless that is too far above the last stamp. It is cut then and never refused:
/// a refusal would leave the cluster without a leader.
pub fn cut(floor: SharedTime, last_stamp: SharedTime) -> SharedTime {
    floor.min(last_stamp + AHEAD_MAX)
}

/// How much of the span between two stamps does not count for expiry if an epoch began between them.
pub fn skipped(last_stamp: SharedTime, stamp: SharedTime) -> Flicks {
    (stamp.since(last_stamp) - AGED_MAX).max(Flicks::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> SharedTime {
        SharedTime(Flicks::from_secs(secs).0)
    }

    #[test]
    fn a_floor_is_cut_two_hours_ahead() {
        assert_eq!(cut(at(100 + 7200), at(100)), at(100 + 7200));
        assert_eq!(cut(at(101 + 7200), at(100)), at(100 + 7200));
        assert_eq!(
            cut(at(50), at(100)),
            at(50),
            "what is behind the last stamp is not its concern"
        );
        assert_eq!(cut(SharedTime(i64::MAX), SharedTime(i64::MAX)), SharedTime(i64::MAX));
    }

    #[test]
    fn a_jump_counts_as_an_hour_at_most() {
        assert_eq!(skipped(at(100), at(100 + 3600)), Flicks::ZERO);
        assert_eq!(skipped(at(100), at(100 + 7200)), Flicks::from_secs(3600));
        assert_eq!(skipped(at(100), at(50)), Flicks::ZERO);
    }
}
