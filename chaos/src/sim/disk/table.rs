//! What a process sees of a database.

use std::io;
use std::ops::RangeInclusive;

use jam_world::{Database, Entries};

use super::database::Walk;
use super::faults::Event;
use super::handle::Handle;

/// An open database.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) handle: Handle,
    pub(super) number: u64,
}

impl Database for Table {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.handle.state();
        state.begin(self.handle.life())?;
        Ok(state.store(self.number)?.get(key).cloned())
    }

    fn range(&self, keys: RangeInclusive<Vec<u8>>) -> Entries<'_> {
        match self.handle.state().begin(self.handle.life()) {
            Ok(()) => Box::new(Rows { table: self, walk: Some(Walk::new(keys)) }),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn apply(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()> {
        let mut state = self.handle.state();
        state.change(self.handle.life(), |state| {
            let size = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| {
                value.as_ref().map_or(0, |value| (key.len() + value.len()) as u64)
            };
            if changes.iter().map(size).sum::<u64>() > state.room_bytes() {
                return Err(state.full());
            }
            state.store(self.number)?.apply(changes);
            state.tally.count(Event::Batch, 1);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.state().sync(self.handle.life(), |state| {
            state.tally.count(Event::BatchSync, 1);
            if let Ok(store) = state.store(self.number) {
                store.sync();
            }
        })
    }
}

/// What is left of a range.
struct Rows<'a> {
    table: &'a Table,
    walk: Option<Walk>,
}

impl Rows<'_> {
    fn step(&mut self, last: bool) -> Option<io::Result<(Vec<u8>, Vec<u8>)>> {
        let walk = self.walk.as_mut()?;
        let mut state = self.table.handle.state();
        let bounds = walk.bounds();
        let found = match (bounds, state.check(self.table.handle.life())) {
            (None, _) => None,
            (_, Err(error)) => Some(Err(error)),
            (Some(bounds), Ok(())) => match state.store(self.table.number) {
                Ok(store) => store.edge(bounds, last).map(Ok),
                Err(error) => Some(Err(error)),
            },
        };
        match &found {
            Some(Ok((key, _))) => walk.pass(key.clone(), last),
            Some(Err(_)) | None => self.walk = None,
        }
        found
    }
}

impl Iterator for Rows<'_> {
    type Item = io::Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

impl DoubleEndedIterator for Rows<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}
