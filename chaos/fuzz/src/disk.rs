//! A disk in memory, that never fails and never syncs.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use jam_world::{Database, Disk, Entries, File, Meta, Open, World};

/// The real machine's world over this disk.
pub fn world(disk: &Memory) -> World {
    World { disk: Arc::new(disk.clone()), ..World::real() }
}

/// Files by path, and one database. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: Arc<Mutex<BTreeMap<PathBuf, Bytes>>>,
    /// The database, wherever it is asked for.
    pub database: Map,
}

/// A file.
#[derive(Clone, Debug, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

/// An ordered map. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Map(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Puts a file there.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        lock(&self.files).insert(path.into(), Bytes(Arc::new(Mutex::new(bytes.to_vec()))));
    }

    /// Changes the bytes of a file that is there.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = lock(&self.files).get(Path::new(path)) {
            change(&mut lock(&file.0));
        }
    }

    fn find(&self, path: &Path) -> io::Result<Bytes> {
        lock(&self.files).get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Memory {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut files = lock(&self.files);
        let file = match how {
            Open::Read | Open::Change => files.get(path).cloned().ok_or(io::ErrorKind::NotFound)?,
            Open::Make => files.entry(path.to_owned()).or_default().clone(),
            Open::Anew | Open::Secret => {
                files.insert(path.to_owned(), Bytes::default());
                files[path].clone()
            }
        };
        Ok(Arc::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(lock(&self.find(path)?.0).clone())
    }

    fn look(&self, path: &Path) -> io::Result<Meta> {
        let len = lock(&self.find(path)?.0).len() as u64;
        Ok(Meta { len, modified: SystemTime::UNIX_EPOCH, is_folder: false })
    }

    fn list(&self, _: &Path) -> io::Result<Vec<(String, Meta)>> {
        Ok(Vec::new())
    }

    fn make_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = lock(&self.files);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.files).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn touch(&self, _: &Path, _: SystemTime) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        Ok(Some(Box::new(())))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn database(&self, _: &Path, _: u64) -> io::Result<Arc<dyn Database>> {
        Ok(Arc::new(self.database.clone()))
    }
}

impl File for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = lock(&self.0);
        let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, new: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = lock(&self.0);
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let end = at + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at..end].copy_from_slice(new);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Database for Map {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(lock(&self.0).get(key).cloned())
    }

    fn range(&self, keys: RangeInclusive<Vec<u8>>) -> Entries<'_> {
        let map = lock(&self.0);
        let found: Vec<_> = if keys.start() <= keys.end() {
            map.range(keys).map(|(key, value)| Ok((key.clone(), value.clone()))).collect()
        } else {
            Vec::new()
        };
        Box::new(found.into_iter())
    }

    fn apply(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()> {
        let mut map = lock(&self.0);
        for (key, value) in changes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
