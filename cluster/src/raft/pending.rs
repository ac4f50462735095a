//! Changes on their way into sled.

use std::io;

use super::journal::Step;
use super::layout;

/// Changes that sled gets at once.
#[derive(Default)]
pub struct Pending {
    batch: sled::Batch,
    changes: usize,
}

impl Pending {
    /// Sets a key.
    pub fn set(&mut self, key: Vec<u8>, value: impl Into<sled::IVec>) {
        let value = value.into();
        debug_assert!(
            value.len() <= layout::VALUE_BYTES_MAX,
            "longer values are cut by those who make them"
        );
        self.batch.insert(key, value);
        self.changes += 1;
    }

    /// Removes a key.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.batch.remove(key);
        self.changes += 1;
    }

    /// Whether it holds no change.
    pub fn is_empty(&self) -> bool {
        self.changes == 0
    }

    /// Tells sled, which makes it durable when it is flushed.
    pub fn apply(self, db: &sled::Db) -> io::Result<()> {
        if !self.is_empty() {
            db.apply_batch(self.batch)?;
        }
        Ok(())
    }

    /// Adds a step of the journal. Of a purge, the entries themselves are removed elsewhere.
    pub fn step(&mut self, step: &Step<'_>, db: &sled::Db) -> io::Result<()> {
        match step {
            Step::Append { id, entry } => {
                for (part, value) in entry.chunks(layout::VALUE_BYTES_MAX).enumerate() {
                    self.set(layout::entry_key(id.index, part as u16), value);
                }
            }
            Step::Vote(vote) => self.set(layout::VOTE.to_vec(), encode(vote)?),
            Step::Truncate { from, .. } => {
                // What is to go may still be in this batch.
                std::mem::take(self).apply(db)?;
                for key in db.range(layout::entry_keys(*from..=u64::MAX)).keys() {
                    self.remove(key?.to_vec());
                }
            }
            Step::Purge(upto) => self.set(layout::PURGED.to_vec(), encode(upto)?),
        }
        Ok(())
    }
}

/// A small value for a key under `m`.
pub fn encode<T: serde::Serialize>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(io::Error::other)
}
