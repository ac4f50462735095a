//! Stamps: when each log entry happened, and by which of them things grow old.

use super::Shard;
use crate::convert::within_range;
use crate::level::FeatureLevel;
use crate::room::Room;
use crate::sync::floor;
use crate::time::SharedTime;
use crate::wire::log::v1 as log;
use log::log_entry::Op;

/// An entry's times: given once, here.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub stamp: SharedTime,
    /// Not before `stamp`, but maybe before what a room has announced already.
    pub audible: SharedTime,
    /// The stamp by which things expire: see [`Shard::aged`].
    pub aged: SharedTime,
}

impl Times {
    pub fn effective_in(self, room: &Room) -> SharedTime {
        self.audible.max(room.last_effective())
    }
}

impl Shard {
    /// Stamps an entry, above the one before.
    ///
    /// From level [`FeatureLevel::GUARDED`] on, a new epoch begins at most [`floor::AHEAD_MAX`] after the last stamp, and
    /// most of what it goes ahead makes nothing older.
    pub(super) fn stamp(&mut self, term: u64, entry: &log::LogEntry) -> Times {
        let before = self.last_stamp;
        let mut proposed = within_range(entry.proposed_stamp);
        let mut begins = false;
        if let Some(Op::ClockEpoch(epoch)) = &entry.op
            && self.admits(epoch, term)
        {
            let mut floor = within_range(epoch.floor);
            begins = self.level >= FeatureLevel::GUARDED && epoch.epoch > self.epoch.epoch;
            if self.level >= FeatureLevel::GUARDED {
                floor = floor::cut(floor, before);
            }
            if begins {
                proposed = floor::cut(proposed, before);
            }
            self.last_stamp = before.max(floor);
        }
        let next = SharedTime(self.last_stamp.0.saturating_add(1));
        let stamp = proposed.max(next);
        #[cfg(feature = "planted")]
        let stamp = match crate::planted::Bug::BackwardStamp.is_planted() {
            true if entry.proposed_stamp % 64 == 0 => SharedTime(self.last_stamp.0 - 1),
            _ => stamp,
        };
        if begins {
            self.skipped += floor::skipped(before, stamp);
        }
        self.last_stamp = stamp;
        let audible = within_range(entry.proposed_effective).max(stamp);
        Times { stamp, audible, aged: self.aged(stamp) }
    }

    /// Whether a clock epoch is taken. From level [`FeatureLevel::GUARDED`] on it follows the one in force or continues it,
    /// and its leader speaks of its own term: a forged one would expire every session and take the clock away for good.
    pub(super) fn admits(&self, epoch: &log::ClockEpoch, term: u64) -> bool {
        let follows = self.epoch.epoch..=self.epoch.epoch.saturating_add(1);
        self.level < FeatureLevel::GUARDED || (follows.contains(&epoch.epoch) && epoch.term == term)
    }

    /// The instant by which things expire: `time` less what stamps went ahead at the beginning of epochs. Sessions, unused
    /// tracks and whatever else has a grace period keep this, so that a clock that was wrong ends none of them.
    pub fn aged(&self, time: SharedTime) -> SharedTime {
        time - self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TrackId;
    use crate::limits::SESSION_IDLE_SECS_MAX;
    use crate::shard::Outcome;
    use crate::time::Flicks;
    use crate::wire::v1::Track;

    const HOUR: i64 = 3600;

    fn at(secs: i64) -> SharedTime {
        SharedTime(Flicks::from_secs(secs).0)
    }

    fn apply(shard: &mut Shard, secs: i64, op: Op) -> Outcome {
        let (stamp, level) = (at(secs).0, crate::level::needed(&op).0);
        let entry =
            log::LogEntry { proposed_stamp: stamp, proposed_effective: stamp, level, op: Some(op) };
        shard.apply(1, &entry).outcome
    }

    fn begin(shard: &mut Shard, epoch: u64, secs: i64) -> Outcome {
        let epoch = log::ClockEpoch { epoch, term: 1, floor: at(secs).0, ..Default::default() };
        apply(shard, secs, Op::ClockEpoch(epoch))
    }

    fn open(shard: &mut Shard, secs: i64) {
        let user = "ann".to_owned();
        let open = log::OpenSession { session: vec![1; 16], user, ..Default::default() };
        let opened = apply(shard, secs, Op::OpenSession(open));
        assert!(matches!(opened, Outcome::SessionOpened { .. }), "{opened:?}");
    }

    /// A command of a room that is not there: only its session matters.
    fn is_expired(shard: &Shard, secs: i64) -> bool {
        let command = crate::command::RoomCommand {
            session: crate::ids::SessionId([1; 16]),
            number: 1,
            room: crate::ids::RoomCode::parse("ABCD-EFGH-JKMN").expect("it looks like one"),
            command: crate::command::Command::Clear,
        };
        match apply(&mut shard.clone(), secs, Op::Command(command.to_wire())) {
            Outcome::Command(reply) => {
                reply.rejection == Some(crate::command::Rejection::SessionExpired)
            }
            other => panic!("a command was answered by {other:?}"),
        }
    }

    fn guarded() -> Shard {
        let mut shard = Shard::default();
        begin(&mut shard, 1, HOUR);
        apply(&mut shard, HOUR, Op::RaiseLevel(log::RaiseLevel { level: 1 }));
        shard
    }

    #[test]
    fn a_floor_is_cut_from_level_1_on_and_never_refused() {
        let far = 40 * 24 * HOUR;
        let mut old = Shard::default();
        begin(&mut old, 1, HOUR);
        assert_eq!(begin(&mut old, 2, far), Outcome::Epoch);
        assert_eq!(old.last_stamp().0, at(far).0 + 1);

        let mut shard = guarded();
        let before = shard.last_stamp();
        assert_eq!(begin(&mut shard, 2, far), Outcome::Epoch);
        assert_eq!(shard.epoch().epoch, 2);
        assert_eq!(shard.last_stamp(), before + floor::AHEAD_MAX + Flicks(1));
        // One that continues the epoch may be later than that: its clock ran.
        let term_2 = log::ClockEpoch { epoch: 2, term: 1, ..Default::default() };
        apply(&mut shard, 9 * HOUR, Op::ClockEpoch(term_2));
        assert_eq!(shard.last_stamp(), at(9 * HOUR));
    }

    #[test]
    fn one_that_is_not_taken_moves_no_stamp() {
        let mut shard = guarded();
        let before = shard.last_stamp();
        for (epoch, term) in [(u64::MAX, 1), (3, 1), (2, 7), (0, 1)] {
            let forged =
                log::ClockEpoch { epoch, term, floor: at(3 * HOUR).0, ..Default::default() };
            assert_eq!(apply(&mut shard, HOUR, Op::ClockEpoch(forged)), Outcome::Nothing);
        }
        assert_eq!(shard.last_stamp(), before + Flicks(4));
    }

    #[test]
    fn a_jump_expires_nothing_that_an_hour_would_not() {
        let mut shard = guarded();
        open(&mut shard, HOUR);
        let week = SESSION_IDLE_SECS_MAX;
        // 100 epochs, each two hours ahead of all that was stamped: more than a week, of which half counts.
        let mut now = HOUR;
        for epoch in 2..102 {
            now += 2 * HOUR;
            begin(&mut shard, epoch, now);
        }
        assert!(now > week && !is_expired(&shard, now));
        let left = week - 100 * HOUR;
        assert!(!is_expired(&shard, now + left - 60));
        assert!(is_expired(&shard, now + left + 60), "what passes since then counts in full");
        assert_eq!(Shard::from_wire(&shard.to_wire()).expect("its own snapshot"), shard);
    }

    #[test]
    fn a_track_that_nobody_needs_keeps_its_grace_over_a_jump() {
        let mut shard = guarded();
        let (id, frames, sample_rate) = (TrackId([1; 32]).to_wire(), 48_000, 48_000);
        let track = Track { id: id.clone(), frames, sample_rate, bytes: 1, ..Default::default() };
        let register = log::RegisterTrack { track: Some(track), ..Default::default() };
        apply(&mut shard, HOUR, Op::RegisterTrack(register));
        begin(&mut shard, 2, 3 * HOUR);
        let unused = |shard: &Shard, grace: i64, now: i64| {
            let before = shard.aged(at(now)) - Flicks::from_secs(grace);
            shard.unused_before(before).count()
        };
        assert_eq!(unused(&shard, HOUR + 60, 3 * HOUR), 0);
        assert_eq!(unused(&shard, HOUR + 60, 3 * HOUR + 120), 1);
    }

    #[test]
    fn before_level_1_every_jump_counts() {
        let mut shard = Shard::default();
        begin(&mut shard, 1, HOUR);
        open(&mut shard, HOUR);
        begin(&mut shard, 2, 3 * HOUR + SESSION_IDLE_SECS_MAX);
        assert!(is_expired(&shard, 3 * HOUR + SESSION_IDLE_SECS_MAX));
        assert_eq!(shard.to_wire().skipped, 0);
    }
}
