//! How far apart the times of one clock epoch's leaders may be.
//!
//! A new leader goes on with its own map. Its `ClockEpoch` says how far that is off the time of the leader before, and
//! how fast the two may run apart. The log sums that up; so whoever knows how far off it was from any one of an epoch's
//! leaders also knows how far off it may be from the last one, however many came and went in between. This is the
//! triangle inequality, and holds for as long as each leader's own word does.

use crate::convert::within_range;
use crate::time::SharedTime;
use crate::wire::log::v1 as log;

/// How far off a time may be, and how fast that may grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// At one instant, ns. Never negative; `i64::MAX`: nothing is known.
    pub bound_ns: i64,
    /// By how much the two rates may differ, parts in 10^9. Never negative.
    pub drift_ppb: i64,
}

impl Doubt {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { bound_ns: i64::MAX, drift_ppb: 0 };

    /// From numbers that may have come from outside: what is below 0 is 0.
    pub fn new(bound_ns: i64, drift_ppb: i64) -> Self {
        Self { bound_ns: bound_ns.max(0), drift_ppb: drift_ppb.max(0) }
    }

    /// What has become of it after `span_ns`; the past is as the present.
    pub fn after(self, span_ns: i64) -> Self {
        let grown = i128::from(span_ns.max(0)) * i128::from(self.drift_ppb) / 1_000_000_000;
        let grown_ns = i64::try_from(grown).unwrap_or(i64::MAX);
        Self { bound_ns: self.bound_ns.saturating_add(grown_ns), ..self }
    }

    /// Of a time that is off by this from one that is off by `other`.
    pub fn plus(self, other: Self) -> Self {
        Self {
            bound_ns: self.bound_ns.saturating_add(other.bound_ns),
            drift_ppb: self.drift_ppb.saturating_add(other.drift_ppb),
        }
    }
}

/// The leaders of one clock epoch up to one of them, in sum. The default is before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Succession {
    /// The clock epoch.
    pub epoch: u64,
    /// The term of the last one.
    pub term: u64,
    /// When that one began.
    pub since: SharedTime,
    /// How far its time may have been from that of the epoch's first leader then. Only differences between two of an
    /// epoch's successions mean anything.
    pub doubt: Doubt,
}

impl Succession {
    /// With the leader that opens with this `ClockEpoch`.
    pub fn followed_by(&self, opened: &log::ClockEpoch) -> Self {
        let (term, since) = (opened.term, within_range(opened.since).max(self.since));
        if opened.epoch > self.epoch {
            return Self { epoch: opened.epoch, term, since, doubt: Doubt::default() };
        }
        let doubt = Doubt::new(opened.error_bound_ns, opened.drift_bound_ppb);
        Self { term, since, doubt: self.doubt_at(since).plus(doubt), ..*self }
    }

    /// How far the time of its last leader may be, at `now`, from the time that the last leader of `earlier` would have.
    /// Unknown if that is of another epoch, or if a leader in between knew nothing.
    pub fn doubt_from(&self, earlier: &Self, now: SharedTime) -> Doubt {
        let (then, here) = (earlier.doubt_at(now), self.doubt_at(now));
        if self.epoch != earlier.epoch || here.bound_ns == i64::MAX {
            return Doubt::UNKNOWN;
        }
        Doubt::new(
            here.bound_ns.saturating_sub(then.bound_ns),
            here.drift_ppb.saturating_sub(then.drift_ppb),
        )
    }

    fn doubt_at(&self, now: SharedTime) -> Doubt {
        self.doubt.after(now.since(self.since).as_nanos())
    }

    /// For snapshots.
    pub fn to_wire(&self) -> log::Succession {
        let Self { epoch, term, since, doubt: Doubt { bound_ns, drift_ppb } } = *self;
        log::Succession { epoch, term, since: since.0, bound_ns, drift_ppb }
    }

    /// From a snapshot.
    pub fn from_wire(wire: &log::Succession) -> Self {
        let log::Succession { epoch, term, since, bound_ns, drift_ppb } = *wire;
        Self { epoch, term, since: within_range(since), doubt: Doubt::new(bound_ns, drift_ppb) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{FLICKS_PER_SECOND, Flicks};

    fn at(secs: i64) -> SharedTime {
        SharedTime(Flicks::from_secs(secs).0)
    }

    fn opened(
        epoch: u64,
        term: u64,
        secs: i64,
        error_bound_ns: i64,
        drift_bound_ppb: i64,
    ) -> log::ClockEpoch {
        let since = secs * FLICKS_PER_SECOND;
        log::ClockEpoch {
            epoch,
            term,
            since,
            error_bound_ns,
            drift_bound_ppb,
            ..Default::default()
        }
    }

    /// Leaders at 10, 20 and 40 s, of which the second is off by a millisecond and 2 ppm, the third by 3 µs and 5 ppm.
    fn three() -> [Succession; 3] {
        let first = Succession::default().followed_by(&opened(1, 3, 10, 77, 77));
        let second = first.followed_by(&opened(1, 4, 20, 1_000_000, 2_000));
        [first, second, second.followed_by(&opened(1, 9, 40, 3_000, 5_000))]
    }

    #[test]
    fn the_doubt_of_leaders_in_between_adds_up() {
        let [first, second, third] = three();
        assert_eq!(second.doubt_from(&first, at(20)), Doubt::new(1_000_000, 2_000));
        assert_eq!(second.doubt_from(&first, at(30)), Doubt::new(1_020_000, 2_000));
        assert_eq!(third.doubt_from(&second, at(40)), Doubt::new(3_000, 5_000));
        // 80 s at 2 ppm, and 60 s at 5 ppm.
        assert_eq!(third.doubt_from(&first, at(100)), Doubt::new(1_463_000, 7_000));
        assert_eq!(third.doubt_from(&third, at(100)), Doubt::default());
        // Whoever knows less of the past may be closer than it says, not farther away.
        for now in [40, 50, 4_000] {
            let (far, near) =
                (third.doubt_from(&first, at(now)), third.doubt_from(&second, at(now)));
            assert!(far.bound_ns >= near.bound_ns && far.drift_ppb >= near.drift_ppb);
        }
    }

    #[test]
    fn another_epoch_begins_anew() {
        let [_, _, third] = three();
        let bumped = third.followed_by(&opened(2, 10, 50, 0, 0));
        assert_eq!((bumped.epoch, bumped.term, bumped.doubt), (2, 10, Doubt::default()));
        assert_eq!(bumped.doubt_from(&third, at(60)), Doubt::UNKNOWN);
        // An older epoch is none that could be opened; should it be, the one in force stays.
        assert_eq!(bumped.followed_by(&opened(1, 11, 60, 5, 0)).epoch, 2);
    }

    #[test]
    fn numbers_from_outside_only_saturate() {
        let mut succession = Succession { since: at(-1_000_000_000), ..Succession::default() };
        for wild in [i64::MIN, -1, i64::MAX, 0, i64::MAX] {
            let wild = log::ClockEpoch { since: wild, ..opened(1, 1, 0, wild, wild) };
            let next = succession.followed_by(&wild);
            assert!(next.since >= succession.since);
            assert!(next.doubt.bound_ns >= succession.doubt.bound_ns);
            assert!(next.doubt_from(&succession, SharedTime(i64::MAX)).bound_ns >= 0);
            assert_eq!(Succession::from_wire(&next.to_wire()), next);
            succession = next;
        }
    }
}
