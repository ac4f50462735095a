//! What the other nodes' clocks tell a new leader that can't continue its own.

use crate::convert::{self, Malformed};
use crate::time::{Flicks, SharedTime};
use crate::wire::peer::v1::ReadClockReply;

use super::succession::{Doubt, Succession};

/// Two crystals are within ±100 ppm of true time, so they run apart by this at most, parts in 10^9.
pub const CRYSTALS_APART_PPB: i64 = 200_000;

/// One node's clock, read by another node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The reader's raw clock in the middle of the exchange, ns.
    pub raw_ns: i64,
    /// Shared time at that instant.
    pub shared: SharedTime,
    /// The committed clock epoch that the clock was last of; 0: of none.
    pub epoch: u64,
    /// Whether it ran without a break since then. If not, it only says where time was at least.
    pub continued: bool,
    /// How far it may be from the time of the last leader in `reference`, the exchange included.
    pub doubt: Doubt,
    /// The leaders up to the one that it was compared with last.
    pub reference: Succession,
}

impl Reading {
    /// From an exchange: sent and back by the reader's raw clock, ns. Half of the round trip is part of the doubt, and so
    /// is that the two crystals run apart.
    ///
    /// # Errors
    /// If the reply tells an instant that can't be.
    pub fn answered(sent_ns: i64, reply: &ReadClockReply, back_ns: i64) -> Result<Self, Malformed> {
        let rtt_ns = back_ns.saturating_sub(sent_ns).max(0);
        let exchange = Doubt::new(rtt_ns / 2 + 1, CRYSTALS_APART_PPB);
        let reference = reply.reference.as_ref().map(Succession::from_wire).unwrap_or_default();
        Ok(Self {
            raw_ns: sent_ns.saturating_add(rtt_ns / 2),
            shared: convert::instant("the time of another node", reply.shared)?,
            epoch: reply.epoch,
            continued: reply.continued && reply.epoch > 0,
            doubt: Doubt::new(reply.error_bound_ns, reply.drift_bound_ppb).plus(exchange),
            reference,
        })
    }

    /// What it would say at a later reading of the reader's raw clock, as if both machines' crystals were alike.
    fn later(&self, raw_ns: i64) -> Self {
        let span_ns = raw_ns.saturating_sub(self.raw_ns);
        let (shared, doubt) =
            (self.shared + Flicks::from_nanos(span_ns), self.doubt.after(span_ns));
        Self { raw_ns, shared, doubt, ..*self }
    }

    /// As a node says it of itself.
    pub fn to_wire(&self) -> ReadClockReply {
        ReadClockReply {
            shared: self.shared.0,
            epoch: self.epoch,
            continued: self.continued,
            error_bound_ns: self.doubt.bound_ns,
            drift_bound_ppb: self.doubt.drift_ppb,
            reference: Some(self.reference.to_wire()),
        }
    }
}

/// What a new leader makes of its own clock and the other nodes'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// A clock of the committed epoch that runs, and how far it may be off the time of the epoch's last leader.
    Now(Reading, Doubt),
    /// Where time was at least when it stopped.
    AtLeast(SharedTime),
    /// No node knows more than the log.
    Nothing,
}

/// Judges readings at an instant of the reader's raw clock. Readings of another epoch than the committed one are ignored, and
/// so are those that are provably behind the last stamp.
///
/// Of the clocks that ran on, the one with the smallest bound is taken. Of clocks that stopped, the one in the middle
/// (the higher one of two): so one wrong file among three neither carries time ahead nor back.
pub fn judge(
    readings: &[Reading],
    committed: &Succession,
    last_stamp: SharedTime,
    raw_ns: i64,
) -> Found {
    let known = || readings.iter().filter(|reading| reading.epoch == committed.epoch);
    let running = known().filter(|reading| reading.continued).map(|reading| {
        let now = reading.later(raw_ns);
        (now, now.doubt.plus(committed.doubt_from(&now.reference, now.shared)))
    });
    let running = running.filter(|(now, doubt)| !is_behind(now.shared, *doubt, last_stamp));
    if let Some((now, doubt)) = running.min_by_key(|(_, doubt)| doubt.bound_ns) {
        return Found::Now(now, doubt);
    }
    let mut stopped: Vec<SharedTime> =
        known().filter(|reading| !reading.continued).map(|reading| reading.shared).collect();
    stopped.sort_unstable();
    stopped.get(stopped.len() / 2).map_or(Found::Nothing, |shared| Found::AtLeast(*shared))
}

/// Whether a clock is wrong for certain: even with its whole doubt it is behind a stamp that was given.
pub fn is_behind(shared: SharedTime, doubt: Doubt, last_stamp: SharedTime) -> bool {
    last_stamp.since(shared).as_nanos() > doubt.bound_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn at(secs: i64) -> SharedTime {
        SharedTime(Flicks::from_secs(secs).0)
    }

    fn committed() -> Succession {
        Succession { epoch: 3, term: 7, since: at(100), doubt: Doubt::default() }
    }

    /// Read at raw 0, of a node that followed the last leader.
    fn running(secs: i64, bound_ns: i64) -> Reading {
        let doubt = Doubt::new(bound_ns, 1_000);
        let reference = committed();
        Reading { raw_ns: 0, shared: at(secs), epoch: 3, continued: true, doubt, reference }
    }

    fn stopped(secs: i64) -> Reading {
        Reading { continued: false, doubt: Doubt::UNKNOWN, ..running(secs, 0) }
    }

    fn at_least(secs: i64) -> Found {
        Found::AtLeast(at(secs))
    }

    #[test]
    fn the_clock_with_the_smallest_bound_runs_on() {
        let readings =
            [stopped(900), running(500, 9_000), running(501, 4_000), running(502, 6_000)];
        let Found::Now(best, doubt) = judge(&readings, &committed(), at(400), 2 * SECOND_NS) else {
            panic!("three clocks run")
        };
        assert_eq!(best.shared, at(503), "two seconds later");
        assert_eq!(doubt, Doubt::new(6_000, 1_000), "4 µs, and 2 s at 1 ppm");
    }

    #[test]
    fn leaders_that_the_other_node_has_not_heard_of_count() {
        let later = Succession { term: 8, doubt: Doubt::new(50_000, 0), ..committed() };
        let found = judge(&[running(500, 4_000)], &later, at(400), 0);
        assert_eq!(found, Found::Now(running(500, 4_000), Doubt::new(54_000, 1_000)));
    }

    #[test]
    fn a_clock_behind_a_stamp_is_wrong() {
        let readings = [running(399, 1_000), running(401, 2_000)];
        let found = judge(&readings, &committed(), at(400), 0);
        assert_eq!(found, Found::Now(readings[1], Doubt::new(2_000, 1_000)));
        assert_eq!(judge(&readings[..1], &committed(), at(400), 0), Found::Nothing);
        // It may be right if it is off by no more than it says.
        let doubtful = running(399, 2 * SECOND_NS);
        assert!(matches!(judge(&[doubtful], &committed(), at(400), 0), Found::Now(..)));
    }

    #[test]
    fn of_clocks_that_stopped_the_middle_one_counts() {
        let judge = |readings: &[Reading]| judge(readings, &committed(), at(0), SECOND_NS);
        assert_eq!(judge(&[stopped(500)]), at_least(500), "it doesn't run");
        assert_eq!(judge(&[stopped(480), stopped(500)]), at_least(500));
        assert_eq!(judge(&[stopped(9_000_000), stopped(499), stopped(500)]), at_least(500));
        assert_eq!(judge(&[stopped(3), stopped(500), stopped(499)]), at_least(499));
        assert_eq!(judge(&[]), Found::Nothing);
    }

    #[test]
    fn another_epochs_clock_says_nothing() {
        for epoch in [0, 2, 4] {
            let running = Reading { epoch, ..running(500, 1) };
            let stopped = Reading { epoch, ..stopped(500) };
            assert_eq!(judge(&[running, stopped], &committed(), at(0), 0), Found::Nothing);
        }
    }

    #[test]
    fn an_exchange_counts_with_half_its_round_trip() {
        let said = running(500, 4_000).to_wire();
        let reading = Reading::answered(SECOND_NS, &said, SECOND_NS + 600).expect("it can be");
        assert_eq!((reading.raw_ns, reading.shared), (SECOND_NS + 300, at(500)));
        assert_eq!(reading.doubt, Doubt::new(4_301, 1_000 + CRYSTALS_APART_PPB));
        assert_eq!(reading.reference, committed());
        let wild = ReadClockReply { shared: i64::MIN, ..said };
        assert!(Reading::answered(0, &wild, 1).is_err());
        let nameless = ReadClockReply { shared: 1, epoch: 0, ..said };
        assert!(!Reading::answered(0, &nameless, 1).expect("it can be").continued);
    }
}
