//! What one file holds: in the cache, where every process sees it, and on the platter, where a power cut leaves it.
//!
//! What was not synced is kept, or dropped, or kept in part: any of the writes but the last, and of that any sectors. A length
//! may be kept without its bytes. All of that is what Linux's file systems are known to do.

use std::time::SystemTime;

use crate::seed::Stream;

/// What a disk writes in one go. A write that the power cut short is torn at these.
pub(super) const SECTOR_BYTES: usize = 512;

/// The bytes of a file.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// What a sync failed to write, and will never write: Linux takes such pages for clean.
    given_up: bool,
    pub(super) modified: SystemTime,
    durable_modified: SystemTime,
}

#[derive(Debug)]
enum Change {
    Write {
        at: usize,
        bytes: Vec<u8>,
        /// The power went while it was written.
        torn: bool,
    },
    /// All that it held is gone.
    Emptied,
}

/// What a power cut did to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of it was durable.
    Safe,
    /// What was not durable is there all the same.
    Kept,
    /// What was not durable is gone.
    Dropped,
    /// Some of what was not durable is there.
    Torn,
}

impl Content {
    pub(super) fn new(modified: SystemTime) -> Self {
        Self {
            now: Vec::new(),
            durable: Vec::new(),
            unsynced: Vec::new(),
            given_up: false,
            modified,
            durable_modified: modified,
        }
    }

    /// Writes into the cache. `torn`: as the power goes.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8], modified: SystemTime, torn: bool) {
        write(&mut self.now, at, bytes);
        self.unsynced.push(Change::Write { at, bytes: bytes.to_vec(), torn });
        self.modified = modified;
    }

    /// Empties it, in the cache.
    pub(super) fn empty(&mut self, modified: SystemTime) {
        self.now.clear();
        self.unsynced.push(Change::Emptied);
        self.modified = modified;
    }

    /// Gives it other bytes, durably.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.now = bytes.to_vec();
        self.durable = bytes.to_vec();
        self.unsynced.clear();
    }

    /// Makes the bytes durable, and the length with them: without it they could not be read, so `fdatasync` writes it too.
    pub(super) fn sync_data(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { at, bytes, .. } => write(&mut self.durable, at, &bytes),
                Change::Emptied => self.durable.clear(),
            }
        }
    }

    /// Makes all of it durable.
    pub(super) fn sync_all(&mut self) {
        self.sync_data();
        self.durable_modified = self.modified;
    }

    /// A sync failed. What it was to write may be taken for written from now on.
    pub(super) fn sync_failed(&mut self, draws: &mut Stream) {
        if !self.unsynced.is_empty() && draws.one_in(2) {
            self.unsynced.clear();
            self.given_up = true;
        }
    }

    /// How many changes are not durable.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Leaves what the platter holds, and of the rest what the draws say.
    pub(super) fn cut_power(&mut self, draws: &mut Stream) -> Fate {
        if self.modified != self.durable_modified && draws.one_in(2) {
            self.modified = self.durable_modified;
        }
        self.durable_modified = self.modified;
        if self.unsynced.is_empty() {
            if std::mem::take(&mut self.given_up) {
                self.now.clone_from(&self.durable);
                return Fate::Dropped;
            }
            return Fate::Safe;
        }
        let fate = match draws.below(3) {
            0 => Fate::Dropped,
            1 if !matches!(self.unsynced.last(), Some(Change::Write { torn: true, .. })) => {
                Fate::Kept
            }
            _ => Fate::Torn,
        };
        let length = self.now.len();
        match fate {
            Fate::Dropped => self.unsynced.clear(),
            Fate::Torn => self.tear(draws),
            Fate::Kept | Fate::Safe => {}
        }
        self.sync_data();
        // The length is metadata and may have been written before the bytes: they are zeros then.
        if fate != Fate::Kept && self.durable.len() < length && draws.one_in(4) {
            self.durable.resize(length, 0);
        }
        self.given_up = false;
        self.now.clone_from(&self.durable);
        fate
    }

    /// The cache is written back in any order: each change but the last is kept or not, and of the last some sectors.
    fn tear(&mut self, draws: &mut Stream) {
        let last = self.unsynced.pop();
        self.unsynced.retain(|_| draws.one_in(2));
        let Some(Change::Write { at, bytes, .. }) = last else { return };
        let in_order = draws.one_in(2);
        let sectors = (at + bytes.len()).div_ceil(SECTOR_BYTES) - at / SECTOR_BYTES;
        let until = at / SECTOR_BYTES + draws.below(sectors as u64 + 1) as usize;
        let mut from = 0;
        while from < bytes.len() {
            let sector = (at + from) / SECTOR_BYTES;
            let to = ((sector + 1) * SECTOR_BYTES - at).min(bytes.len());
            if if in_order { sector < until } else { draws.one_in(2) } {
                let bytes = bytes[from..to].to_vec();
                self.unsynced.push(Change::Write { at: at + from, bytes, torn: false });
            }
            from = to;
        }
    }

    /// Flips some bits of one byte on the platter, so that every reader sees it. `None` if it holds nothing.
    pub(super) fn flip(&mut self, draws: &mut Stream) -> Option<usize> {
        let at = draws.below(self.durable.len() as u64) as usize;
        let mask = draws.within(1..=255) as u8;
        *self.durable.get_mut(at)? ^= mask;
        // What covers it in the cache will be written over it.
        let covered = self.unsynced.iter().any(|change| match change {
            Change::Write { at: from, bytes, .. } => (*from..from + bytes.len()).contains(&at),
            Change::Emptied => true,
        });
        if let (false, Some(byte)) = (covered, self.now.get_mut(at)) {
            *byte ^= mask;
        }
        Some(at)
    }
}

fn write(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[at..end].copy_from_slice(bytes);
}
