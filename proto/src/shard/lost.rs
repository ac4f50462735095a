//! Tracks that are marked as lost: no member has their bytes any more.
//!
//! A lost track stays in the log's state, since entries name it. No room queues it again, and a new node may vote without
//! it. Who registers the same bytes again ends the mark.

use std::sync::Arc;

use super::{Applied, Outcome, Shard, Times, derived, weight};
use crate::convert::Malformed;
use crate::event::EventKind;
use crate::ids::{RoomCode, TrackId};
use crate::wire::log::v1 as log;

impl Shard {
    /// Marks a track, and takes its upcoming entries out of all rooms. The song that is current stays: listeners play it
    /// from their caches.
    pub(super) fn mark_lost(
        &mut self,
        mark: &log::MarkLost,
        times: Times,
    ) -> Result<Applied, Malformed> {
        let id = TrackId::from_wire(&mark.track)?;
        if !self.tracks.contains_key(&id) || self.lost.insert(id).is_some() {
            return Ok(Applied::only(Outcome::Nothing));
        }
        let mut applied = Applied::only(Outcome::Lost);
        let mut gone = Vec::new();
        let rooms: Vec<RoomCode> = self.rooms.keys().cloned().collect();
        for code in rooms {
            let room = self.rooms.get_mut(&code).expect("its code was found there");
            let effective_at = times.effective_in(room);
            let entries = room.upcoming_of(&id, effective_at);
            if entries.is_empty() {
                continue;
            }
            let before = weight::of(room);
            let room = Arc::make_mut(room);
            let remove = |entry| {
                let kind = EventKind::Removed { entry };
                room.append(kind, "", times.stamp, effective_at, &mut gone)
            };
            let events = entries.into_iter().map(remove).collect();
            self.held = self.held - before + weight::of(room);
            applied.events.push((code, events));
        }
        self.uses.drop_all(gone, times.stamp);
        Ok(applied)
    }

    /// Whether a track is marked as lost.
    pub fn is_lost(&self, id: &TrackId) -> bool {
        self.lost.contains(id)
    }

    /// The tracks that are marked as lost, by id.
    pub fn lost(&self) -> impl Iterator<Item = TrackId> {
        self.lost.iter().copied()
    }

    /// The bytes that a node must hold before it may vote: those of all tracks that are not lost, and what was made of
    /// these. Some come twice.
    pub fn needed(&self) -> impl Iterator<Item = TrackId> {
        let kept = self.tracks.iter().filter(|(id, _)| !self.is_lost(id));
        kept.flat_map(|(id, track)| {
            let made = track.derived.iter().filter_map(derived::read).map(|(id, _)| id);
            std::iter::once(*id).chain(made)
        })
    }
}

#[cfg(test)]
mod tests {
    use log::log_entry::Op;

    use super::*;
    use crate::level::FeatureLevel;
    use crate::wire::v1::{Derived, Track};

    fn id(number: u8) -> TrackId {
        TrackId([number; 32])
    }

    fn apply(shard: &mut Shard, level: FeatureLevel, op: Op) -> Outcome {
        shard
            .apply(1, &log::LogEntry { level: level.0, op: Some(op), ..Default::default() })
            .outcome
    }

    fn register(shard: &mut Shard, number: u8, made: u8) {
        let derived = Derived { name: "cover".to_owned(), id: id(made).to_wire(), bytes: 5 };
        let track = Track {
            id: id(number).to_wire(),
            frames: 48_000,
            sample_rate: 48_000,
            bytes: 9,
            derived: vec![derived],
            ..Default::default()
        };
        let register = log::RegisterTrack { track: Some(track), ..Default::default() };
        apply(shard, FeatureLevel::FIRST, Op::RegisterTrack(register));
    }

    fn mark(shard: &mut Shard, number: u8) -> Outcome {
        let mark = log::MarkLost { track: id(number).to_wire() };
        apply(shard, FeatureLevel::GUARDED, Op::MarkLost(mark))
    }

    fn needed(shard: &Shard) -> Vec<TrackId> {
        let mut needed: Vec<_> = shard.needed().collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    #[test]
    fn a_new_node_needs_all_but_what_is_lost() {
        let mut shard = Shard::default();
        register(&mut shard, 1, 50);
        register(&mut shard, 2, 50);
        register(&mut shard, 3, 51);
        assert_eq!(mark(&mut shard, 1), Outcome::Nothing, "the level is not in force yet");
        assert_eq!(needed(&shard), [1, 2, 3, 50, 51].map(id));

        let raise = log::RaiseLevel { level: FeatureLevel::GUARDED.0 };
        apply(&mut shard, FeatureLevel::GUARDED, Op::RaiseLevel(raise));
        assert_eq!(mark(&mut shard, 1), Outcome::Lost);
        assert_eq!(mark(&mut shard, 1), Outcome::Nothing, "it is marked already");
        assert_eq!(mark(&mut shard, 9), Outcome::Nothing, "there is no such track");
        // Another track still has the cover.
        assert_eq!(needed(&shard), [2, 3, 50, 51].map(id));
        mark(&mut shard, 3);
        assert_eq!(needed(&shard), [2, 50].map(id));
        assert_eq!(shard.lost().collect::<Vec<_>>(), [1, 3].map(id));
        let again = Shard::from_wire(&shard.to_wire()).expect("its own snapshot");
        assert_eq!(again, shard);

        register(&mut shard, 1, 50);
        let unused_before = shard.last_stamp().0;
        let forget = log::ForgetTrack { track: id(3).to_wire(), unused_before };
        apply(&mut shard, FeatureLevel::GUARDED, Op::ForgetTrack(forget));
        assert_eq!(shard.lost().count(), 0, "one came again, and one is forgotten");
        assert_eq!(needed(&shard), [1, 2, 50].map(id));
    }
}
