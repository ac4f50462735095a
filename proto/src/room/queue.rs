//! The entries that follow the current one.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Entry;
use crate::ids::EntryId;
use crate::time::Flicks;

/// Upcoming entries, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    slots: VecDeque<Slot>,
}

/// An entry with what is looked at often, so that a search through ten thousand of them stays in one block of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub id: EntryId,
    pub length: Flicks,
    pub entry: Arc<Entry>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    pub fn slot_mut(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.slots.iter().map(|slot| &slot.entry)
    }

    pub fn index_of(&self, id: EntryId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.id == id)
    }

    pub fn pop_front(&mut self) -> Option<Arc<Entry>> {
        self.slots.pop_front().map(|slot| slot.entry)
    }

    pub fn push_front(&mut self, entry: Arc<Entry>) {
        self.slots.push_front(Slot::new(entry));
    }

    /// Just before entry `before`; at the end if that is `None`, or not here. Returns where.
    pub fn insert(&mut self, entry: Arc<Entry>, before: Option<EntryId>) -> usize {
        let index = before.and_then(|id| self.index_of(id)).unwrap_or(self.slots.len());
        self.slots.insert(index, Slot::new(entry));
        index
    }

    /// Returns it, and where it was.
    pub fn remove(&mut self, id: EntryId) -> Option<(usize, Arc<Entry>)> {
        let index = self.index_of(id)?;
        self.slots.remove(index).map(|slot| (index, slot.entry))
    }

    pub fn clear(&mut self) {
        self.slots.clear();
    }
}

impl Slot {
    fn new(entry: Arc<Entry>) -> Self {
        Self { id: entry.id, length: entry.length(), entry }
    }
}

impl FromIterator<Arc<Entry>> for Queue {
    fn from_iter<I: IntoIterator<Item = Arc<Entry>>>(entries: I) -> Self {
        Self { slots: entries.into_iter().map(Slot::new).collect() }
    }
}
