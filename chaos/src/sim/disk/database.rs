//! An ordered map whose last changes a power cut takes back: whole batches, and none before one that stays, since sled's log
//! is written in order.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, RangeInclusive};

use crate::seed::Stream;

/// As many durable batches can be taken back by a database that lost its end.
const HISTORY_BATCHES: usize = 512;

type Key = Vec<u8>;
type Value = Vec<u8>;
/// What `BTreeMap::range` takes.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Keys and values, and how to take the last batches back.
#[derive(Debug, Default)]
pub(super) struct Store {
    now: BTreeMap<Key, Value>,
    /// For each of the last batches what its keys held before it.
    undo: VecDeque<Vec<(Key, Option<Value>)>>,
    /// As many of those are not durable.
    untold: usize,
    /// Bytes of all keys and values.
    bytes: u64,
}

impl Store {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Value> {
        self.now.get(key)
    }

    /// The first pair within two bounds, or the last.
    pub(super) fn edge(&self, keys: Bounds<'_>, last: bool) -> Option<(Key, Value)> {
        let mut range = self.now.range::<[u8], _>(keys);
        let pair = if last { range.next_back() } else { range.next() };
        pair.map(|(key, value)| (key.clone(), value.clone()))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn untold(&self) -> usize {
        self.untold
    }

    pub(super) fn apply(&mut self, changes: Vec<(Key, Option<Value>)>) {
        let mut before = Vec::with_capacity(changes.len());
        for (key, value) in changes {
            let old = self.set(key.clone(), value);
            before.push((key, old));
        }
        self.undo.push_back(before);
        self.untold += 1;
    }

    pub(super) fn sync(&mut self) {
        self.untold = 0;
        let past = self.undo.len().saturating_sub(HISTORY_BATCHES);
        self.undo.drain(..past);
    }

    /// Keeps some of the batches that are not durable, none after one that is lost. Says how many were lost.
    pub(super) fn cut_power(&mut self, draws: &mut Stream) -> u64 {
        let kept = draws.below(self.untold as u64 + 1) as usize;
        let lost = self.untold - kept;
        self.take_back(lost);
        self.untold = 0;
        lost as u64
    }

    /// Loses durable batches. Says how many.
    pub(super) fn set_back(&mut self, batches: u64) -> u64 {
        let batches = self.undo.len().min(usize::try_from(batches).unwrap_or(usize::MAX));
        self.take_back(batches);
        self.untold = self.untold.saturating_sub(batches);
        batches as u64
    }

    fn take_back(&mut self, batches: usize) {
        for before in self.undo.split_off(self.undo.len() - batches).into_iter().rev() {
            for (key, value) in before.into_iter().rev() {
                self.set(key, value);
            }
        }
    }

    fn set(&mut self, key: Key, value: Option<Value>) -> Option<Value> {
        let key_bytes = key.len() as u64;
        let size = |value: &Option<Value>| {
            value.as_ref().map_or(0, |value| key_bytes + value.len() as u64)
        };
        let added = size(&value);
        let old = match value {
            Some(value) => self.now.insert(key, value),
            None => self.now.remove(&key),
        };
        self.bytes = self.bytes + added - size(&old);
        old
    }
}

/// A walk over a range that sees changes made meanwhile, as sled's may.
#[derive(Debug)]
pub(super) struct Walk {
    from: Bound<Key>,
    to: Bound<Key>,
}

impl Walk {
    pub(super) fn new(keys: RangeInclusive<Key>) -> Self {
        let (from, to) = keys.into_inner();
        Self { from: Bound::Included(from), to: Bound::Included(to) }
    }

    /// What is left of it, if anything.
    pub(super) fn bounds(&self) -> Option<Bounds<'_>> {
        let (from, to) =
            (self.from.as_ref().map(Vec::as_slice), self.to.as_ref().map(Vec::as_slice));
        let is_empty = match (from, to) {
            // `BTreeMap::range` panics on it.
            (Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
            (
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(to) | Bound::Excluded(to),
            ) => from > to,
            _ => false,
        };
        (!is_empty).then_some((from, to))
    }

    /// Goes past a key that was found at one of its ends.
    pub(super) fn pass(&mut self, key: Key, last: bool) {
        let end = if last { &mut self.to } else { &mut self.from };
        *end = Bound::Excluded(key);
    }
}
