//! Changes on their way into the database.

use std::io;

use jam_world::Database;

use super::journal::Step;
use super::layout;

/// Changes that the database gets at once.
#[derive(Default)]
pub struct Pending {
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Pending {
    /// Sets a key.
    pub fn set(&mut self, key: Vec<u8>, value: Vec<u8>) {
        debug_assert!(
            value.len() <= layout::VALUE_BYTES_MAX,
            "longer values are cut by those who make them"
        );
        self.changes.push((key, Some(value)));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.changes.push((key, None));
    }

    /// Whether it holds no change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Tells the database, which makes it durable when it is synced.
    pub fn apply(self, db: &dyn Database) -> io::Result<()> {
        if self.is_empty() { Ok(()) } else { db.apply(self.changes) }
    }

    /// Adds a step of the journal. Of a purge, the entries themselves are removed elsewhere.
    pub fn step(&mut self, step: &Step<'_>, db: &dyn Database) -> io::Result<()> {
        match step {
            Step::Append { id, entry } => {
                for (part, value) in entry.chunks(layout::VALUE_BYTES_MAX).enumerate() {
                    self.set(layout::entry_key(id.index, part as u16), value.to_vec());
                }
            }
            Step::Vote(vote) => self.set(layout::VOTE.to_vec(), encode(vote)?),
            Step::Truncate { from, .. } => {
                // What is to go may still be in this batch.
                std::mem::take(self).apply(db)?;
                for entry in db.range(layout::entry_keys(*from..=u64::MAX)) {
                    self.remove(entry?.0);
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
