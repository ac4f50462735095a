//! What a process sees of its disk.

use std::io;
use std::path::Path;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use jam_world::{Clock, Database, File, Meta, Open};

use super::Disk;
use super::content::Content;
use super::database::Store;
use super::faults::Event;
use super::names::{Entry, clean};
use super::open_file::OpenFile;
use super::state::{Life, State};
use super::table::Table;

/// What [`jam_world::Disk::free_bytes`] says of a disk without an end.
const ENDLESS_BYTES: u64 = 1 << 40;

/// The disk in one life of a process.
#[derive(Clone, Debug)]
pub struct Handle {
    disk: Arc<Disk>,
    life: Life,
}

impl Handle {
    pub(super) fn new(disk: Arc<Disk>, life: Life) -> Self {
        Self { disk, life }
    }

    pub(super) fn life(&self) -> Life {
        self.life
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.disk.state()
    }

    pub(super) fn wall(&self) -> SystemTime {
        self.disk.clocks.wall()
    }

    fn open_file(&self, number: u64, may_write: bool) -> Arc<dyn File> {
        Arc::new(OpenFile { handle: self.clone(), number, may_write })
    }

    /// The number of a file that is made if it is not there.
    fn make_file(&self, path: &Path) -> io::Result<u64> {
        let modified = self.wall();
        let mut state = self.state();
        state.check(self.life)?;
        match state.names.find(path) {
            Some(Entry::File(number)) => {
                state.begin(self.life)?;
                Ok(number)
            }
            Some(_) => Err(io::ErrorKind::IsADirectory.into()),
            None if !state.names.has_folder_for(path) => Err(io::ErrorKind::NotFound.into()),
            None => state.change(self.life, |state| {
                let number = state.next_number();
                state.files.insert(number, Content::new(modified));
                state.names.make(path, Entry::File(number));
                Ok(number)
            }),
        }
    }
}

impl jam_world::Disk for Handle {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        match how {
            Open::Read | Open::Change => {
                let mut state = self.state();
                state.begin(self.life)?;
                Ok(self.open_file(state.file(path)?, how == Open::Change))
            }
            Open::Make => Ok(self.open_file(self.make_file(path)?, true)),
            Open::Anew | Open::Secret => {
                let (number, modified) = (self.make_file(path)?, self.wall());
                let mut state = self.state();
                if !state.content(number)?.now.is_empty() {
                    state.change(self.life, |state| {
                        state.content(number)?.empty(modified);
                        Ok(())
                    })?;
                }
                Ok(self.open_file(number, true))
            }
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.begin(self.life)?;
        let number = state.file(path)?;
        Ok(state.content(number)?.now.clone())
    }

    fn look(&self, path: &Path) -> io::Result<Meta> {
        let mut state = self.state();
        state.begin(self.life)?;
        let entry = state.names.find(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.meta(entry))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, Meta)>> {
        let mut state = self.state();
        state.begin(self.life)?;
        state.folder(folder)?;
        let mut found = Vec::new();
        for (path, entry) in state.names.list(folder) {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                found.push((name.to_owned(), state.meta(entry)));
            }
        }
        Ok(found)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check(self.life)?;
        if state.names.find(folder) == Some(Entry::Folder) {
            return state.begin(self.life);
        }
        state.change(self.life, |state| {
            let is_made = state.names.make_folders(folder);
            if is_made { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check(self.life)?;
        let number = state.file(from)?;
        match state.names.find(to) {
            Some(Entry::Folder | Entry::Database(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None if !state.names.has_folder_for(to) => Err(io::ErrorKind::NotFound.into()),
            Some(Entry::File(_)) | None => state.change(self.life, |state| {
                state.names.rename(from, to, Entry::File(number));
                Ok(())
            }),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check(self.life)?;
        state.file(path)?;
        state.change(self.life, |state| {
            state.names.remove(path);
            Ok(())
        })
    }

    fn touch(&self, path: &Path, now: SystemTime) -> io::Result<()> {
        let mut state = self.state();
        state.check(self.life)?;
        let number = state.file(path)?;
        state.change(self.life, |state| {
            state.content(number)?.modified = now;
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check(self.life)?;
        state.folder(folder)?;
        state.sync(self.life, |state| {
            state.names.sync(folder);
            state.tally.count(Event::SyncFolder, 1);
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = self.make_file(path)?;
        let Some(lock) = self.state().lock(file) else { return Ok(None) };
        Ok(Some(Box::new(Held { disk: self.disk.clone(), file, lock })))
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.begin(self.life)?;
        state.folder(folder)?;
        Ok(state.room_bytes().min(ENDLESS_BYTES))
    }

    fn database(&self, folder: &Path, _cache_bytes: u64) -> io::Result<Arc<dyn Database>> {
        let mut state = self.state();
        state.check(self.life)?;
        let path = folder.join("db");
        let number = match state.names.find(&path) {
            Some(Entry::Database(number)) => {
                state.begin(self.life)?;
                number
            }
            Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            None => state.change(self.life, |state| {
                if !state.names.make_folders(folder) {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                let number = state.next_number();
                state.databases.insert(number, Store::default());
                state.names.make(&path, Entry::Database(number));
                if !state.is_dark {
                    for folder in clean(&path).ancestors().skip(1).take(2) {
                        state.names.sync(folder);
                    }
                }
                Ok(number)
            })?,
        };
        Ok(Arc::new(Table { handle: self.clone(), number }))
    }
    fn pace(&self) -> Option<Duration> {
        let wait = self.state().pace();
        (wait > Duration::ZERO).then_some(wait)
    }
}

/// A lock on a file.
struct Held {
    disk: Arc<Disk>,
    file: u64,
    lock: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.state().unlock(self.file, self.lock);
    }
}
