//! The entries that follow the current one.
//!
//! Whoever is in a room may queue and move songs as fast as the log takes it, and every node does the work. So nothing
//! here takes time in proportion to the queue's length, but for looking through all of it and for taking all of it away.

#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use imbl::{OrdMap, OrdSet};

use self::tree::{Slot, Tree};
use crate::event::Entry;
use crate::ids::EntryId;
use crate::time::Flicks;

/// How far apart the labels of neighbours are at first. An entry that comes between two gets a label half-way, so labels
/// last for 100 entries that each come just before the one that came last; then all are given out anew.
const LABELS_APART: i128 = 1 << 100;

/// Upcoming entries, in order. Each has an id of its own.
#[derive(Clone, Default)]
pub(crate) struct Queue {
    tree: Tree,
    labels: OrdMap<EntryId, i128>,
    /// Entries that were current and came back, and may have a place on the timeline: no other ones have. Some may be gone
    /// since.
    returned: OrdSet<EntryId>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    pub fn get(&self, index: usize) -> Option<Entry> {
        self.tree.get(index).map(|slot| slot.entry)
    }

    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        self.tree.iter().map(|slot| slot.entry)
    }

    pub fn index_of(&self, id: EntryId) -> Option<usize> {
        Some(self.tree.index_of(*self.labels.get(&id)?))
    }

    pub fn contains(&self, id: EntryId) -> bool {
        self.labels.contains_key(&id)
    }

    /// The index of the song that sounds `offset` after the first one began, and when it begins; the length of the queue
    /// and of all its songs if none does any more.
    pub fn sounding(&self, offset: Flicks) -> (usize, Flicks) {
        self.tree.sounding(offset)
    }

    pub fn pop_front(&mut self) -> Option<Entry> {
        let (slot, rest) = std::mem::take(&mut self.tree).split_first()?;
        self.tree = rest;
        self.forget(slot.entry.id);
        Some(slot.entry)
    }

    /// Puts an entry first that was current.
    pub fn push_front(&mut self, entry: Entry) {
        let id = entry.id;
        if self.insert_at(0, entry) {
            self.returned.insert(id);
        }
    }

    /// Just before entry `before`; at the end if that is `None`, or not here. Returns where; `None` if the entry is here
    /// already, which then stays where it is.
    pub fn insert(&mut self, entry: Entry, before: Option<EntryId>) -> Option<usize> {
        let index = before.and_then(|id| self.index_of(id)).unwrap_or(self.len());
        self.insert_at(index, entry).then_some(index)
    }

    /// Returns it, and where it was. Put back elsewhere, it may have a place on the timeline all the same.
    pub fn remove(&mut self, id: EntryId) -> Option<(usize, Entry)> {
        let index = self.index_of(id)?;
        let (before, rest) = std::mem::take(&mut self.tree).split(index);
        let (slot, after) = rest.split_first()?;
        self.tree = before.followed_by(after);
        self.labels.remove(&id);
        Some((index, slot.entry))
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// These may have a place on the timeline, of those that are here.
    pub fn set_returned(&mut self, begun: impl Iterator<Item = EntryId>) {
        self.returned = begun.filter(|id| self.labels.contains_key(id)).collect();
    }

    /// Whether entries are here that may have begun.
    pub fn has_returned(&self) -> bool {
        !self.returned.is_empty()
    }

    /// Brings the entry `at` and its neighbours of the same album to the gain of the loudest of them, and of `current` if
    /// it stands right before them and is of their album. Those that have `begun` keep theirs. Returns whom it concerned.
    pub fn level(
        &mut self,
        at: usize,
        current: Option<&Entry>,
        begun: &BTreeSet<EntryId>,
    ) -> Range<usize> {
        let Some(Slot { entry, .. }) = self.tree.get(at) else { return at..at };
        let album = entry.album.as_str();
        let (before, rest) = std::mem::take(&mut self.tree).split(at);
        // Songs of no album have no neighbours.
        let (first, end) = match album {
            "" => (at, at + 1),
            _ => (at - before.last_of_album(album), at + rest.first_of_album(album)),
        };
        let (before, run) = before.split(first);
        let (rest, after) = rest.split(end - at);
        let mut run = run.followed_by(rest);

        let followed =
            current.filter(|current| first == 0 && !album.is_empty() && current.album == album);
        let known = followed.map(|current| current.gain).into_iter().chain(run.least());
        self.returned = self.returned.iter().filter(|id| begun.contains(id)).copied().collect();
        let labels = self.returned.iter().filter_map(|id| self.labels.get(id));
        let kept: Vec<_> = labels.filter_map(|label| run.find(*label)).collect();
        run.set_gain(known.min().unwrap_or_default());
        for (index, slot) in kept {
            run.replace(index, slot);
        }
        self.tree = before.followed_by(run).followed_by(after);
        first..end
    }

    /// Whether it was not here yet.
    fn insert_at(&mut self, index: usize, entry: Entry) -> bool {
        if self.contains(entry.id) {
            return false;
        }
        let label = self.label_at(index).unwrap_or_else(|| {
            *self = Self { returned: self.returned.clone(), ..self.iter().collect() };
            self.label_at(index).expect("labels were given out anew")
        });
        self.labels.insert(entry.id, label);
        let (before, after) = std::mem::take(&mut self.tree).split(index);
        self.tree = before.linked(Slot { label, entry }, after);
        true
    }

    /// A label for what comes to stand at `index`; `None` if none is free there.
    fn label_at(&self, index: usize) -> Option<i128> {
        let label = |index: usize| self.tree.get(index).map(|slot| slot.label);
        match (index.checked_sub(1).and_then(label), label(index)) {
            (None, None) => Some(0),
            (Some(before), None) => before.checked_add(LABELS_APART),
            (None, Some(after)) => after.checked_sub(LABELS_APART),
            (Some(before), Some(after)) => {
                let between = before.midpoint(after);
                (between > before && between < after).then_some(between)
            }
        }
    }

    fn forget(&mut self, id: EntryId) {
        self.labels.remove(&id);
        self.returned.remove(&id);
    }
}

/// The same entries in the same order.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Queue {}

impl fmt::Debug for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}

/// Each entry has an id of its own.
impl FromIterator<Entry> for Queue {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let labels = (0..).map(|number: i128| number * LABELS_APART);
        let slots: Vec<Slot> =
            labels.zip(entries).map(|(label, entry)| Slot { label, entry }).collect();
        let labels = slots.iter().map(|slot| (slot.entry.id, slot.label)).collect();
        let count = slots.len();
        let tree = Tree::from_slots(&mut slots.into_iter(), count);
        Self { tree, labels, returned: OrdSet::new() }
    }
}

/// Counts how many nodes of trees are looked at, in tests.
mod steps {
    #[cfg(test)]
    thread_local! {
        pub static TAKEN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    pub fn count() {
        #[cfg(test)]
        TAKEN.with(|taken| taken.set(taken.get() + 1));
    }
}

/// How many nodes of trees `work` looks at.
#[cfg(test)]
pub(crate) fn steps_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = steps::TAKEN.get();
    let done = work();
    (steps::TAKEN.get() - before, done)
}
