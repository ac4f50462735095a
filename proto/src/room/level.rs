//! Neighbours of one album are played at one gain, so that what was mastered together stays in proportion.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Room;
use crate::ids::EntryId;
use crate::loudness::Gain;

impl Room {
    /// Brings the upcoming entry `at` and its neighbours of the same album to the gain of the loudest of them. What has
    /// begun keeps its own, and is followed.
    fn level(&mut self, at: usize) {
        let album_at = |at: usize| self.upcoming.slot(at).map(|slot| slot.entry.album.as_str());
        let Some(album) = album_at(at) else { return };
        // Songs of no album have no neighbours.
        let same =
            |other: &usize| *other == at || (!album.is_empty() && album_at(*other) == Some(album));
        let first = (0..at).rev().take_while(same).last().unwrap_or(at);
        let end = (at..).take_while(same).last().unwrap_or(at) + 1;

        let current = self.timeline.last().entry.as_ref();
        let current =
            current.filter(|current| first == 0 && !album.is_empty() && current.album == album);
        let own = (first..end).filter_map(|at| self.upcoming.slot(at)?.entry.own_gain);
        let known = current.map(|current| current.gain).into_iter().chain(own);
        let gain = known.min().unwrap_or_default();
        let begun: BTreeSet<EntryId> = self.begun().collect();
        for at in first..end {
            self.upcoming.set_gain(at, gain, &begun);
        }
    }

    /// The same for an entry that came, or went, and for those on both sides of it.
    pub(super) fn level_around(&mut self, at: usize) {
        for at in at.saturating_sub(1)..=at + 1 {
            self.level(at);
        }
    }

    /// Entries that have a place on the timeline.
    fn begun(&self) -> impl Iterator<Item = EntryId> {
        self.timeline.pieces().filter_map(|piece| piece.entry.as_ref()).map(|entry| entry.id)
    }
}

impl super::queue::Queue {
    /// Unless it has begun.
    fn set_gain(&mut self, at: usize, gain: Gain, begun: &BTreeSet<EntryId>) {
        let slot = self.slot_mut(at).filter(|slot| !begun.contains(&slot.id));
        if let Some(slot) = slot.filter(|slot| slot.entry.gain != gain) {
            Arc::make_mut(&mut slot.entry).gain = gain;
        }
    }
}
