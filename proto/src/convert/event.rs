//! Events and the entries in them.

use std::sync::Arc;

use super::command::{named, optional, or_zero};
use super::{Malformed, check_length, instant, position};
use crate::event::{Entry, Event, EventKind, Song};
use crate::ids::{Revision, RoomCode, TrackId};
use crate::loudness::Gain;
use crate::wire::v1 as wire;
use crate::wire::v1::event::Kind;

impl Song {
    fn from_wire(entry: &wire::Entry) -> Result<Self, Malformed> {
        check_length(entry.frames, entry.sample_rate)?;
        Ok(Self {
            track: TrackId::from_wire(&entry.track)?,
            title: entry.title.clone(),
            artist: entry.artist.clone(),
            album: entry.album.clone(),
            frames: entry.frames,
            sample_rate: entry.sample_rate,
            own_gain: entry.own_gain.map(Gain),
        })
    }
}

impl Entry {
    /// From the wire.
    pub fn from_wire(entry: &wire::Entry) -> Result<Self, Malformed> {
        Self::from_wire_with(entry, Arc::new(Song::from_wire(entry)?))
    }

    /// The same, with a song that other entries have too.
    pub(crate) fn from_wire_with(entry: &wire::Entry, song: Arc<Song>) -> Result<Self, Malformed> {
        let (added_by, gain) = (entry.added_by.as_str().into(), Gain(entry.gain));
        Ok(Self { id: named(entry.id)?, song, added_by, gain })
    }

    /// For the wire.
    pub fn to_wire(&self) -> wire::Entry {
        wire::Entry {
            title: self.title.clone(),
            artist: self.artist.clone(),
            frames: self.frames,
            sample_rate: self.sample_rate,
            album: self.album.clone(),
            own_gain: self.own_gain.map(|gain| gain.0),
            ..self.to_wire_without_song()
        }
    }

    /// The same, for who has the song from elsewhere.
    pub(crate) fn to_wire_without_song(&self) -> wire::Entry {
        wire::Entry {
            id: self.id.0,
            track: self.track.to_wire(),
            added_by: self.added_by.as_ref().to_owned(),
            gain: self.gain.0,
            ..Default::default()
        }
    }
}

impl Event {
    /// From the wire.
    pub fn from_wire(event: &wire::Event) -> Result<Self, Malformed> {
        Ok(Self {
            revision: Revision(event.revision),
            stamp: instant("stamp", event.stamp)?,
            effective_at: instant("effective_at", event.effective_at)?,
            by: event.by.clone(),
            kind: EventKind::from_wire(
                event.kind.as_ref().ok_or(Malformed::Missing("what happened"))?,
            )?,
        })
    }

    /// For the wire.
    pub fn to_wire(&self) -> wire::Event {
        wire::Event {
            revision: self.revision.0,
            stamp: self.stamp.0,
            effective_at: self.effective_at.0,
            by: self.by.clone(),
            kind: Some(self.kind.to_wire()),
        }
    }
}

impl EventKind {
    fn from_wire(kind: &Kind) -> Result<Self, Malformed> {
        Ok(match kind {
            Kind::Created(created) => {
                Self::Created { code: RoomCode::parse(&created.code)?, name: created.name.clone() }
            }
            Kind::Enqueued(enqueued) => Self::Enqueued {
                entry: Entry::from_wire(
                    enqueued.entry.as_ref().ok_or(Malformed::Missing("the entry"))?,
                )?,
                before: optional(enqueued.before),
            },
            Kind::Removed(removed) => Self::Removed { entry: named(removed.entry)? },
            Kind::Moved(moved) => {
                Self::Moved { entry: named(moved.entry)?, before: optional(moved.before) }
            }
            Kind::Cleared(wire::Cleared {}) => Self::Cleared,
            Kind::Played(wire::Played {}) => Self::Played,
            Kind::Paused(paused) => Self::Paused { nobody_listening: paused.nobody_listening },
            Kind::Sought(sought) => {
                Self::Sought { entry: named(sought.entry)?, position: position(sought.position)? }
            }
            Kind::Skipped(skipped) => Self::Skipped { entry: named(skipped.entry)? },
            Kind::WentBack(back) => Self::WentBack { entry: named(back.entry)? },
            Kind::EpochBumped(bumped) => Self::EpochBumped {
                epoch: bumped.epoch,
                floor: instant("an epoch's floor", bumped.floor)?,
            },
            Kind::Renamed(renamed) => Self::Renamed { name: renamed.name.clone() },
        })
    }

    fn to_wire(&self) -> Kind {
        match *self {
            Self::Created { ref code, ref name } => {
                Kind::Created(wire::Created { code: code.as_str().to_owned(), name: name.clone() })
            }
            Self::Enqueued { ref entry, before } => Kind::Enqueued(wire::Enqueued {
                entry: Some(entry.to_wire()),
                before: or_zero(before),
            }),
            Self::Removed { entry } => Kind::Removed(wire::Removed { entry: entry.0 }),
            Self::Moved { entry, before } => {
                Kind::Moved(wire::Moved { entry: entry.0, before: or_zero(before) })
            }
            Self::Cleared => Kind::Cleared(wire::Cleared {}),
            Self::Played => Kind::Played(wire::Played {}),
            Self::Paused { nobody_listening } => Kind::Paused(wire::Paused { nobody_listening }),
            Self::Sought { entry, position } => {
                Kind::Sought(wire::Sought { entry: entry.0, position: position.0 })
            }
            Self::Skipped { entry } => Kind::Skipped(wire::Skipped { entry: entry.0 }),
            Self::WentBack { entry } => Kind::WentBack(wire::WentBack { entry: entry.0 }),
            Self::EpochBumped { epoch, floor } => {
                Kind::EpochBumped(wire::EpochBumped { epoch, floor: floor.0 })
            }
            Self::Renamed { ref name } => Kind::Renamed(wire::Renamed { name: name.clone() }),
        }
    }
}
