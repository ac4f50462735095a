//! Feature levels: what keeps builds of different age from making different rooms of one log.
//!
//! A level stands for a set of operations, fields and rules. Each log entry and each snapshot states the level that it
//! needs. A node whose build is below that level stops with a sentence; it never drops what it does not know and goes
//! on with another state. A field that is added to a known operation counts like a new operation.
//!
//! The cluster's level is part of the replicated state. It begins at [`FeatureLevel::FIRST`], and a logged entry raises
//! it once every member runs a build that knows the new level. It never falls. Entries before that one are applied by
//! the old rules for ever, on every build: a rule of `apply` that changes asks `level >= FeatureLevel::…` first.

use std::fmt;

use crate::wire::log::v1 as log;
use log::log_entry::Op;

/// A set of operations, fields and rules. Each level includes those below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureLevel(pub u32);

impl FeatureLevel {
    /// Of the first release, which stated no level.
    pub const FIRST: Self = Self(0);
    /// Guards against strangers, lost disks and cut lines: checked clock epochs, time marks, origins of sessions, the
    /// latest holder of a place, holders of a track, lost tracks.
    pub const GUARDED: Self = Self(1);
    /// Bounds on what clients make the state hold: the weight of all rooms, the length of tags; snapshots that hold a
    /// track's tags once.
    pub const BOUNDED: Self = Self(2);
    /// Nodes have a door of their own: the membership has two addresses of a node, and they may change.
    pub const DOORS: Self = Self(2);
    /// A command is about what its sender heard, also where it takes effect later: a pause stops whatever plays by then, and
    /// a skip of what was skipped says so.
    pub const HEARD: Self = Self(3);
    /// The highest that this build knows.
    pub const CURRENT: Self = Self(3);
}

impl fmt::Display for FeatureLevel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Something was written by a build that knows more than this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it needs feature level {needed}, and this jamd knows levels up to {known}")]
pub struct Newer {
    /// What it needs.
    pub needed: FeatureLevel,
    /// What the build knows.
    pub known: FeatureLevel,
}

/// The level that an operation needs, by itself and by the fields that are set in it.
pub fn needed(op: &Op) -> FeatureLevel {
    match op {
        Op::RaiseLevel(raise) => FeatureLevel(raise.level),
        Op::TimeMark(_) | Op::MarkLost(_) => FeatureLevel::GUARDED,
        Op::OpenSession(open) if !open.origin.is_empty() => FeatureLevel::GUARDED,
        Op::RegisterTrack(register) if !register.holders.is_empty() => FeatureLevel::GUARDED,
        Op::OpenSession(_)
        | Op::Command(_)
        | Op::RegisterTrack(_)
        | Op::ForgetTrack(_)
        | Op::ClockEpoch(_)
        | Op::PauseUnheard(_)
        | Op::ReplaceNode(_)
        | Op::SetDerived(_) => FeatureLevel::FIRST,
    }
}

/// Checks that a build that knows levels up to `known` can apply an entry.
///
/// # Errors
/// [`Newer`] if it can't: the node must stop before it.
pub fn check_entry(entry: &log::LogEntry, known: FeatureLevel) -> Result<(), Newer> {
    check(FeatureLevel(entry.level), known)
}

/// Checks that a build that knows levels up to `known` can read a snapshot.
///
/// # Errors
/// [`Newer`] if it can't.
pub fn check_snapshot(snapshot: &log::ShardSnapshot, known: FeatureLevel) -> Result<(), Newer> {
    check(FeatureLevel(snapshot.level), known)
}

fn check(needed: FeatureLevel, known: FeatureLevel) -> Result<(), Newer> {
    if needed > known { Err(Newer { needed, known }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Outcome, Shard};
    use crate::time::SharedTime;

    fn entry(level: u32, op: Op) -> log::LogEntry {
        log::LogEntry { level, op: Some(op), ..Default::default() }
    }

    fn raise(level: u32) -> log::LogEntry {
        entry(level, Op::RaiseLevel(log::RaiseLevel { level }))
    }

    #[test]
    fn an_entry_above_the_build_is_refused() {
        let newer = raise(7);
        let refusal = check_entry(&newer, FeatureLevel::CURRENT).expect_err("it is newer");
        assert_eq!(refusal.needed, FeatureLevel(7));
        assert!(check_entry(&newer, FeatureLevel(7)).is_ok());
        let snapshot = log::ShardSnapshot { level: 7, ..Default::default() };
        assert!(check_snapshot(&snapshot, FeatureLevel::CURRENT).is_err());
    }

    #[test]
    fn the_level_rises_and_never_falls() {
        let mut shard = Shard::default();
        assert_eq!(shard.apply(1, &raise(1)).outcome, Outcome::Level(FeatureLevel(1)));
        assert_eq!(shard.apply(1, &raise(0)).outcome, Outcome::Level(FeatureLevel(1)));
        let again = Shard::from_wire(&shard.to_wire()).expect("its own snapshot");
        assert_eq!((again.level(), &again), (FeatureLevel(1), &shard));
    }

    #[test]
    fn an_operation_above_the_level_in_force_or_the_stated_one_does_nothing() {
        let open =
            log::OpenSession { session: vec![1; 16], user: "ann".into(), origin: vec![1; 8] };
        let open = |level| entry(level, Op::OpenSession(open.clone()));
        let mut shard = Shard::default();
        assert_eq!(shard.apply(1, &open(1)).outcome, Outcome::Nothing);
        shard.apply(1, &raise(1));
        assert_eq!(shard.apply(1, &open(0)).outcome, Outcome::Nothing);
        assert_eq!(
            shard.apply(1, &open(1)).outcome,
            Outcome::SessionOpened { existed: Some(false) }
        );
        assert_eq!(shard.last_stamp(), SharedTime(4), "each entry has its stamp");
    }
}
