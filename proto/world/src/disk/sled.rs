//! sled, made durable.
//!
//! Its flush ends in `sync_file_range`, which survives no power cut, so each is followed by an `fdatasync` of its
//! file through a handle of our own. One thread flushes at a time: its asynchronous flush deadlocks under a
//! handful of callers. A leaf above 128 KiB would go to files that are never synced: the values stay small.
//!
//! It takes a snapshot of its own that it could not finish (the disk was full, the process was killed) for its newest one,
//! finds it corrupted, and opens no more. So what is half-made is removed before it looks.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{Database, Entries};

#[derive(Debug)]
pub(super) struct Sled {
    db: ::sled::Db,
    file: Mutex<File>,
    /// After `db`, since fields are dropped in this order.
    _released: Released,
}

/// Waits in its drop until sled has let go of its file. sled's own threads hold it for a moment after the database was dropped, and
/// whoever opens the folder in that moment is refused.
#[derive(Debug)]
struct Released(File);

impl Drop for Released {
    fn drop(&mut self) {
        // Closing this handle takes the lock back. If it can't be had, whoever opens the folder next hears of it from sled.
        let _ = self.0.lock();
    }
}

impl Sled {
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> io::Result<Self> {
        let fresh = !folder.join("db").exists();
        std::fs::create_dir_all(folder)?;
        remove_unfinished(folder)?;
        let opened = ::sled::Config::new().path(folder).cache_capacity(cache_bytes).open();
        let db = opened.map_err(plain)?;
        let path = folder.join("db");
        let released = Released(File::open(&path)?);
        let this = Self { db, file: Mutex::new(File::open(&path)?), _released: released };
        if fresh {
            // Makes the files themselves, and their names, survive a power cut: sled never does.
            this.sync()?;
            for path in [&path, &folder.join("conf"), folder] {
                File::open(path)?.sync_all()?;
            }
            folder.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())?;
        }
        Ok(this)
    }
}

/// What sled has not given its name yet.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

impl Database for Sled {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.db.get(key).map_err(plain)?.map(|value| value.to_vec()))
    }

    fn range(&self, keys: RangeInclusive<Vec<u8>>) -> Entries<'_> {
        Box::new(self.db.range(keys).map(|pair| {
            let (key, value) = pair.map_err(plain)?;
            Ok((key.to_vec(), value.to_vec()))
        }))
    }

    fn keys(&self, keys: RangeInclusive<Vec<u8>>, at_most: usize) -> io::Result<Vec<Vec<u8>>> {
        self.db
            .range(keys)
            .keys()
            .take(at_most)
            .map(|key| Ok(key.map_err(plain)?.to_vec()))
            .collect()
    }

    fn apply(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(plain)
    }

    fn sync(&self) -> io::Result<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.db.flush().map_err(plain)?;
        file.sync_data()
    }
}

/// The system's own errors as they are; all others say that what was read makes no sense.
fn plain(error: ::sled::Error) -> io::Error {
    match error {
        ::sled::Error::Io(error) => error,
        damaged => io::Error::new(io::ErrorKind::InvalidData, damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_can_be_opened_as_soon_as_it_was_closed() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        for round in 0..200u8 {
            let sled = Sled::open(folder.path(), 1 << 20)?;
            sled.apply((0..50).map(|key| (vec![key], Some(vec![round; 3000]))).collect())?;
        }
        Ok(())
    }

    #[test]
    fn a_snapshot_that_sled_could_not_finish_costs_nothing() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let kept = (b"key".to_vec(), Some(b"value".to_vec()));
        let sled = Sled::open(folder.path(), 1 << 20)?;
        sled.apply(vec![kept])?;
        sled.sync()?;
        drop(sled);
        std::fs::write(folder.path().join("snap.7FFFFFFFFFFFFFFF.generating"), b"half")?;
        let sled = Sled::open(folder.path(), 1 << 20)?;
        assert_eq!(sled.get(b"key")?.as_deref(), Some(b"value".as_slice()));
        Ok(())
    }
}
