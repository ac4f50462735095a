//! Neighbours of one album are played at one gain, so that what was mastered together stays in proportion.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::Room;
use crate::ids::EntryId;

impl Room {
    /// Brings the upcoming entries next to `at` and at it to the gains of their albums' neighbours: `at` came, or went.
    /// What has begun keeps its own gain, and is followed.
    pub(super) fn level_around(&mut self, at: usize) {
        let begun: BTreeSet<EntryId> =
            if self.upcoming.has_returned() { self.begun().collect() } else { BTreeSet::new() };
        let current = self.timeline.last().entry.clone();
        let mut levelled = 0..0;
        for at in at.saturating_sub(1)..=at + 1 {
            if !levelled.contains(&at) {
                levelled = self.upcoming.level(at, current.as_ref(), &begun);
            }
        }
    }

    /// Entries that have a place on the timeline.
    pub(super) fn begun(&self) -> impl Iterator<Item = EntryId> {
        self.timeline.pieces().filter_map(|piece| piece.entry.as_ref()).map(|entry| entry.id)
    }
}
