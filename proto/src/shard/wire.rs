//! Shards in snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost::Message;

use super::opening::origin_from_wire;
use super::sessions::{Session, Sessions, Settled};
use super::{Shard, weight};
use crate::command::{Command, Reply};
use crate::convert::{self, Malformed};
use crate::event::{Entry, Song};
use crate::ids::{Origin, RoomCode, SessionId, TrackId, check_user_name};
use crate::level::FeatureLevel;
use crate::room::Room;
use crate::sync::Succession;
use crate::time::Flicks;
use crate::wire::log::v1 as log;
use crate::wire::v1::{self as wire, SubmitReply};

impl Shard {
    /// The whole state, for snapshots.
    pub fn to_wire(&self) -> log::ShardSnapshot {
        log::ShardSnapshot {
            level: self.level.0,
            last_stamp: self.last_stamp.0,
            skipped: self.skipped.0,
            epoch: Some(self.epoch),
            succession: Some(self.succession.to_wire()),
            rooms: self
                .rooms
                .values()
                .map(|room| room.write(|entry| self.write_entry(entry)))
                .collect(),
            sessions: self.sessions.iter().map(|(id, session)| session.to_wire(*id)).collect(),
            tracks: self.tracks.values().map(|track| track.as_ref().clone()).collect(),
            replacements: self
                .replacements
                .iter()
                .map(|(&place, &node)| log::Replacement { place, node })
                .collect(),
            next_node: self.next_node,
            unused: self
                .uses
                .unused()
                .map(|(id, since)| log::UnusedTrack { track: id.to_wire(), since: since.0 })
                .collect(),
            lost: self.lost().map(|id| id.to_wire()).collect(),
        }
    }

    /// From a snapshot; one that can't be is refused. The caller refuses one above the feature level of its build: see
    /// [`crate::level::check_snapshot`].
    pub fn from_wire(snapshot: &log::ShardSnapshot) -> Result<Self, Malformed> {
        let mut shard = Self {
            level: FeatureLevel(snapshot.level),
            last_stamp: convert::instant("last_stamp", snapshot.last_stamp)?,
            skipped: Flicks(snapshot.skipped.max(0)),
            epoch: snapshot.epoch.unwrap_or_default(),
            succession: snapshot.succession.as_ref().map(Succession::from_wire).unwrap_or_default(),
            next_node: snapshot.next_node,
            ..Self::default()
        };
        for track in &snapshot.tracks {
            let id = convert::check_track(track)?;
            shard.tracks.insert(id, Arc::new(track.clone()));
            shard.songs.insert(id, Arc::new(Song::of(id, track)));
            shard.derived.add(id, track);
        }
        let mut names = BTreeSet::new();
        for room in &snapshot.rooms {
            let room = Room::read(room, &mut |entry| shard.read_entry(entry, &mut names))?;
            shard.held += weight::of(&room);
            shard.rooms.insert(room.code().clone(), Arc::new(room));
        }
        shard.sessions =
            snapshot.sessions.iter().try_fold(Sessions::default(), |mut sessions, wire| {
                sessions.insert(SessionId::from_wire(&wire.session)?, Session::from_wire(wire)?);
                Ok::<_, Malformed>(sessions)
            })?;
        shard.count_uses(&snapshot.unused)?;
        for lost in &snapshot.lost {
            shard.lost.insert(TrackId::from_wire(lost)?);
        }
        shard.replacements =
            snapshot.replacements.iter().map(|wire| (wire.place, wire.node)).collect();
        Ok(shard)
    }

    /// From [`FeatureLevel::BOUNDED`] on, an entry whose song is that of its track is written without it.
    fn write_entry(&self, entry: &Entry) -> wire::Entry {
        let is_of_track = || self.songs.get(&entry.track).is_some_and(|song| *song == entry.song);
        if self.level >= FeatureLevel::BOUNDED && is_of_track() {
            entry.to_wire_without_song()
        } else {
            entry.to_wire()
        }
    }

    /// Entries of one track share its song, and entries of one person the name.
    fn read_entry(
        &self,
        wire: &wire::Entry,
        names: &mut BTreeSet<Arc<str>>,
    ) -> Result<Entry, Malformed> {
        let known = self.songs.get(&TrackId::from_wire(&wire.track)?);
        let mut entry = if self.level >= FeatureLevel::BOUNDED && wire.frames == 0 {
            let song = known.ok_or(Malformed::Missing("the track of an entry"))?;
            Entry::from_wire_with(wire, Arc::clone(song))?
        } else {
            Entry::from_wire(wire)?
        };
        if let Some(song) = known.filter(|song| **song == entry.song) {
            entry.song = Arc::clone(song);
        }
        match names.get(&entry.added_by) {
            Some(name) => entry.added_by = Arc::clone(name),
            None => drop(names.insert(Arc::clone(&entry.added_by))),
        }
        Ok(entry)
    }

    /// What the rooms need is theirs to say. A track that nobody needs and that is not listed is of a version that did not
    /// count: its grace begins here.
    fn count_uses(&mut self, unused: &[log::UnusedTrack]) -> Result<(), Malformed> {
        for room in self.rooms.values() {
            room.tracks().for_each(|track| self.uses.add(track));
        }
        for wire in unused {
            let id = TrackId::from_wire(&wire.track)?;
            let since = convert::instant("since when a track is unused", wire.since)?;
            if self.tracks.contains_key(&id) {
                self.uses.begin(id, since);
            }
        }
        for id in self.tracks.keys() {
            if self.uses.since(id).is_none() {
                self.uses.begin(*id, self.aged(self.last_stamp));
            }
        }
        Ok(())
    }
}

impl Session {
    fn to_wire(&self, id: SessionId) -> log::Session {
        let (number, payload, reply) = match self.last.as_deref() {
            Some(last) => {
                let room = last.room.as_str().to_owned();
                let payload = log::RoomCommand {
                    room,
                    command: Some(last.command.to_wire()),
                    ..Default::default()
                };
                (last.number, payload.encode_to_vec(), last.reply.to_wire().encode_to_vec())
            }
            None => Default::default(),
        };
        let (session, user) = (id.to_wire(), self.user.as_ref().to_owned());
        let origin = self.origin.map_or(Vec::new(), Origin::to_wire);
        log::Session { session, user, number, payload, reply, used: self.used.0, origin }
    }

    fn from_wire(wire: &log::Session) -> Result<Self, Malformed> {
        check_user_name(&wire.user)?;
        Ok(Self {
            user: wire.user.as_str().into(),
            origin: origin_from_wire(&wire.origin)?,
            used: convert::instant("a session's last use", wire.used)?,
            last: if wire.number == 0 { None } else { Some(Arc::new(Settled::from_wire(wire)?)) },
        })
    }
}

impl Settled {
    fn from_wire(wire: &log::Session) -> Result<Self, Malformed> {
        let payload = log::RoomCommand::decode(wire.payload.as_slice()).map_err(|source| {
            Malformed::Undecodable { what: "a session's last command", source }
        })?;
        let reply = SubmitReply::decode(wire.reply.as_slice())
            .map_err(|source| Malformed::Undecodable { what: "a session's last reply", source })?;
        Ok(Self {
            number: wire.number,
            room: RoomCode::parse(&payload.room)?,
            command: Command::from_wire(
                &payload.command.ok_or(Malformed::Missing("the command"))?,
            )?,
            reply: Reply::from_wire(&reply)?,
        })
    }
}
