//! What the rooms make the state hold, in bytes.
//!
//! Every node keeps the whole state in memory, and a restart brings it back. Whoever may create rooms and queue songs
//! could fill that memory, so from [`FeatureLevel::BOUNDED`] on all rooms together weigh no more than
//! [`limits::ROOMS_BYTES_MAX`]. The weights are round numbers above what a room and an entry take in memory and in a
//! snapshot. Pieces of timelines, tracks and sessions are not weighed: they have limits of their own.

use super::Shard;
use crate::command::Rejection;
use crate::level::FeatureLevel;
use crate::limits;
use crate::room::Room;

/// A room without entries, its name included.
pub const ROOM_BYTES: u64 = 1024;
/// An entry, without the tags, which it shares with its track.
pub const ENTRY_BYTES: u64 = 256;

/// What a room weighs.
pub(super) fn of(room: &Room) -> u64 {
    ROOM_BYTES + ENTRY_BYTES * room.entries_kept() as u64
}

impl Shard {
    /// Why the rooms may not weigh `more` than they do, if they may not.
    pub(super) fn is_full(&self, more: u64) -> Option<Rejection> {
        let is_bounded = self.level >= FeatureLevel::BOUNDED;
        let limit = limits::ROOMS_BYTES_MAX;
        (is_bounded && self.held + more > limit).then_some(Rejection::StateFull { limit })
    }

    /// What all rooms hold, in bytes; at most [`limits::ROOMS_BYTES_MAX`], save for what was there before that limit.
    pub fn held(&self) -> u64 {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use log::log_entry::Op;

    use super::*;
    use crate::command::{Command, Reply, RoomCommand};
    use crate::ids::{EntryId, RoomCode, SessionId, TrackId};
    use crate::shard::Outcome;
    use crate::time::{Flicks, SharedTime};
    use crate::wire::log::v1 as log;
    use crate::wire::v1::Track;

    const TRACK: TrackId = TrackId([1; 32]);
    const ENQUEUE: Command = Command::Enqueue { track: TRACK, next: false };

    /// A cluster with a track, a session and a room, in which one song is queued.
    struct Cluster {
        shard: Shard,
        sent: u64,
        now: SharedTime,
    }

    impl Cluster {
        fn new(level: FeatureLevel) -> Self {
            let mut cluster = Self { shard: Shard::default(), sent: 0, now: SharedTime(0) };
            let level = level.0;
            cluster.apply(Op::RaiseLevel(log::RaiseLevel { level }));
            let session = SessionId([1; 16]).to_wire();
            let open = log::OpenSession { session, user: "ann".to_owned(), ..Default::default() };
            cluster.apply(Op::OpenSession(open));
            cluster.register("song", "Album");
            assert_eq!(cluster.send(1, create()).rejection, None);
            assert_eq!(cluster.send(1, ENQUEUE).rejection, None);
            cluster
        }

        fn apply(&mut self, op: Op) -> Outcome {
            let level = self.shard.level().max(crate::level::needed(&op)).0;
            let stamp = self.now.0;
            let entry = log::LogEntry {
                proposed_stamp: stamp,
                proposed_effective: stamp,
                level,
                op: Some(op),
            };
            self.shard.apply(1, &entry).outcome
        }

        fn register(&mut self, title: &str, album: &str) -> Outcome {
            let track = Track {
                id: TRACK.to_wire(),
                title: title.to_owned(),
                album: album.to_owned(),
                frames: 48_000,
                sample_rate: 48_000,
                ..Default::default()
            };
            self.apply(Op::RegisterTrack(log::RegisterTrack {
                track: Some(track),
                holders: vec![],
            }))
        }

        fn send(&mut self, room: u64, command: Command) -> Reply {
            self.sent += 1;
            let (session, room) = (SessionId([1; 16]), RoomCode::from_random(room));
            let command = RoomCommand { session, number: self.sent, room, command };
            match self.apply(Op::Command(command.to_wire())) {
                Outcome::Command(reply) => reply,
                other => panic!("{other:?}"),
            }
        }

        /// As if other rooms held all but `left`.
        fn leave(&mut self, left: u64) {
            self.shard.held = limits::ROOMS_BYTES_MAX - left;
        }

        fn read_again(&self) -> Shard {
            Shard::from_wire(&self.shard.to_wire()).expect("its own snapshot")
        }
    }

    fn create() -> Command {
        Command::Create { name: "Kitchen".to_owned() }
    }

    #[test]
    fn when_the_rooms_are_full_only_what_adds_to_them_is_refused() {
        let mut cluster = Cluster::new(FeatureLevel::BOUNDED);
        let full = Some(Rejection::StateFull { limit: limits::ROOMS_BYTES_MAX });
        cluster.leave(ROOM_BYTES - 1);
        assert_eq!(cluster.send(2, create()).rejection, full);
        cluster.leave(ENTRY_BYTES);
        assert_eq!(cluster.send(1, ENQUEUE).rejection, None);
        assert_eq!(cluster.shard.held(), limits::ROOMS_BYTES_MAX);
        assert_eq!(cluster.send(1, ENQUEUE).rejection, full);
        let (first, second) = (EntryId(1), EntryId(2));
        for command in [
            Command::Play { entry: Some(first) },
            Command::Seek { entry: first, position: Flicks(7) },
            Command::Rename { name: "Attic".to_owned() },
            Command::Skip { entry: first },
            Command::Back { entry: Some(second) },
            Command::Pause { entry: Some(first) },
            Command::Remove { entry: second },
        ] {
            assert_eq!(cluster.send(1, command.clone()).rejection, None, "{command:?}");
        }
        assert_eq!(cluster.shard.held(), limits::ROOMS_BYTES_MAX, "the timeline still has it");
        assert_eq!(cluster.send(1, ENQUEUE).rejection, full);
        cluster.now = SharedTime(Flicks::from_secs(60).0);
        assert_eq!(cluster.send(1, Command::Rename { name: "Hall".to_owned() }).rejection, None);
        assert_eq!(cluster.shard.held(), limits::ROOMS_BYTES_MAX - ENTRY_BYTES);
        assert_eq!(cluster.send(1, ENQUEUE).rejection, None);
        assert_eq!(cluster.send(1, ENQUEUE).rejection, full);
        assert_eq!(cluster.send(1, Command::Clear).rejection, None);
        assert_eq!(cluster.send(1, ENQUEUE).rejection, None);
    }

    #[test]
    fn below_the_level_the_old_rule_holds() {
        let mut cluster = Cluster::new(FeatureLevel::GUARDED);
        cluster.leave(0);
        assert_eq!(cluster.send(1, ENQUEUE).rejection, None);
        assert_eq!(cluster.send(2, create()).rejection, None);
        let level = FeatureLevel::BOUNDED.0;
        cluster.apply(Op::RaiseLevel(log::RaiseLevel { level }));
        let full = Some(Rejection::StateFull { limit: limits::ROOMS_BYTES_MAX });
        assert_eq!(cluster.send(1, ENQUEUE).rejection, full);
    }

    #[test]
    fn a_tag_that_is_too_long_comes_from_no_node() {
        let mut cluster = Cluster::new(FeatureLevel::BOUNDED);
        let long = "x".repeat(limits::TAG_BYTES_MAX + 1);
        assert_eq!(cluster.register(&long, ""), Outcome::Nothing);
        let mut cluster = Cluster::new(FeatureLevel::GUARDED);
        assert!(matches!(cluster.register(&long, ""), Outcome::Track(_)), "the old rule");
    }

    #[test]
    fn a_snapshot_holds_the_tags_of_a_track_once() {
        let mut cluster = Cluster::new(FeatureLevel::GUARDED);
        let full = cluster.shard.to_wire();
        let of = |snapshot: &log::ShardSnapshot| snapshot.rooms[0].current.clone().expect("a song");
        assert_eq!((of(&full).title.as_str(), of(&full).frames), ("song", 48_000));
        assert_eq!(cluster.read_again(), cluster.shard);

        let level = FeatureLevel::BOUNDED.0;
        cluster.apply(Op::RaiseLevel(log::RaiseLevel { level }));
        let short = cluster.shard.to_wire();
        assert_eq!((of(&short).title.as_str(), of(&short).frames), ("", 0));
        let again = cluster.read_again();
        assert_eq!(again, cluster.shard);
        let room = again.room(&RoomCode::from_random(1)).expect("it is there");
        let entry = room.entry(EntryId(1)).expect("it is queued");
        assert!(std::sync::Arc::ptr_eq(&entry.song, &again.songs[&TRACK]), "it shares the tags");

        // An entry of a time when the track had other tags keeps its own, and below level 2 none may be without.
        let mut other = full.clone();
        other.level = level;
        let current = other.rooms[0].current.as_mut().expect("a song");
        current.title = "another title".to_owned();
        let kept = Shard::from_wire(&other).expect("it can be read").to_wire();
        assert_eq!(of(&kept), of(&other));
        let below = log::ShardSnapshot { level: FeatureLevel::GUARDED.0, ..short.clone() };
        assert!(Shard::from_wire(&below).is_err());
        let without_tracks = log::ShardSnapshot { tracks: Vec::new(), ..short };
        assert!(Shard::from_wire(&without_tracks).is_err());
    }
}
