//! Which tracks the rooms still need: entries that are queued, current or in a history.
//!
//! Counted as entries come and go, so that no command looks at more than its own room. A track that nobody needs keeps the
//! stamp since when, and the leader may propose to forget it.

use imbl::{OrdMap, OrdSet};

use crate::ids::TrackId;
use crate::time::SharedTime;

/// How often each committed track is needed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Uses {
    /// Entries that name it; no more than those of all rooms.
    entries: OrdMap<TrackId, u64>,
    /// Committed tracks that no entry names, and since when.
    unused: OrdMap<TrackId, SharedTime>,
    by_age: OrdSet<(SharedTime, TrackId)>,
}

impl Uses {
    /// A track was committed, and nobody needs it yet.
    pub fn begin(&mut self, id: TrackId, since: SharedTime) {
        if !self.entries.contains_key(&id) {
            self.take_unused(&id);
            self.unused.insert(id, since);
            self.by_age.insert((since, id));
        }
    }

    /// An entry names it.
    pub fn add(&mut self, id: TrackId) {
        *self.entries.entry(id).or_insert(0) += 1;
        self.take_unused(&id);
    }

    /// These entries are gone, one for each time that a track is listed.
    pub fn drop_all(&mut self, gone: Vec<TrackId>, stamp: SharedTime) {
        for id in gone {
            let Some(left) = self.entries.get_mut(&id) else { continue };
            *left -= 1;
            if *left == 0 {
                self.entries.remove(&id);
                self.begin(id, stamp);
            }
        }
    }

    /// The track goes, if nobody has needed it since `before` or longer. Whether it does.
    pub fn end(&mut self, id: &TrackId, before: SharedTime) -> bool {
        let goes = self.since(id).is_some_and(|since| since <= before);
        if goes {
            self.take_unused(id);
        }
        goes
    }

    /// Since when no entry names it.
    pub fn since(&self, id: &TrackId) -> Option<SharedTime> {
        self.unused.get(id).copied()
    }

    /// Tracks that nobody has needed since `time` or longer, the oldest first.
    pub fn unused_before(&self, time: SharedTime) -> impl Iterator<Item = TrackId> {
        self.by_age.iter().take_while(move |(since, _)| *since <= time).map(|(_, id)| *id)
    }

    /// All that nobody needs, and since when.
    pub fn unused(&self) -> impl Iterator<Item = (&TrackId, SharedTime)> {
        self.unused.iter().map(|(id, since)| (id, *since))
    }

    fn take_unused(&mut self, id: &TrackId) {
        if let Some(since) = self.unused.remove(id) {
            self.by_age.remove(&(since, *id));
        }
    }
}
