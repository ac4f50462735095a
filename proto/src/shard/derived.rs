//! What was made of tracks: further bytes that the nodes keep, each named by its hash. Tracks may share some, such as the
//! cover of an album.

use imbl::{OrdMap, OrdSet};

use crate::ids::TrackId;
use crate::wire::v1::{Derived, Track};

/// The bytes that are kept besides the tracks' own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Blobs {
    /// Their length, and how many tracks have them.
    blobs: OrdMap<TrackId, (u64, u64)>,
    /// Tracks whose renditions are still to be made.
    unrendered: OrdSet<TrackId>,
}

impl Blobs {
    /// A track is there, or has more than it had.
    pub fn add(&mut self, id: TrackId, track: &Track) {
        if track.rendered {
            self.unrendered.remove(&id);
        } else {
            self.unrendered.insert(id);
        }
        for (id, bytes) in track.derived.iter().filter_map(read) {
            self.blobs.entry(id).or_insert((bytes, 0)).1 += 1;
        }
    }

    /// A track is gone. Returns what no other has.
    pub fn end(&mut self, id: &TrackId, track: &Track) -> Vec<TrackId> {
        self.unrendered.remove(id);
        self.drop_all(&track.derived)
    }

    /// A track has these no more. Returns those that no other has.
    pub fn drop_all(&mut self, derived: &[Derived]) -> Vec<TrackId> {
        let mut gone = Vec::new();
        for (id, _) in derived.iter().filter_map(read) {
            let Some((_, tracks)) = self.blobs.get_mut(&id) else { continue };
            *tracks -= 1;
            if *tracks == 0 {
                self.blobs.remove(&id);
                gone.push(id);
            }
        }
        gone
    }

    /// The length of some bytes, if a track has them.
    pub fn bytes(&self, id: &TrackId) -> Option<u64> {
        self.blobs.get(id).map(|(bytes, _)| *bytes)
    }

    /// Tracks whose renditions are still to be made.
    pub fn unrendered(&self) -> impl Iterator<Item = TrackId> {
        self.unrendered.iter().copied()
    }

    /// All of them, and their lengths.
    pub fn iter(&self) -> impl Iterator<Item = (&TrackId, u64)> {
        self.blobs.iter().map(|(id, (bytes, _))| (id, *bytes))
    }
}

/// What was checked when it came in.
pub(super) fn read(derived: &Derived) -> Option<(TrackId, u64)> {
    Some((TrackId::from_wire(&derived.id).ok()?, derived.bytes))
}
