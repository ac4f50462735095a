//! The operating system's files, and sled.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock, statvfs};

use super::{Database, Disk, File, Meta, Open};

/// This machine's file systems.
#[derive(Debug)]
pub(crate) struct FileSystem;

impl Disk for FileSystem {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(how != Open::Read);
        match how {
            Open::Read | Open::Change => {}
            Open::Make => drop(options.create(true)),
            Open::Anew => drop(options.create(true).truncate(true)),
            Open::Secret => drop(options.create(true).truncate(true).mode(0o600)),
        }
        Ok(Arc::new(options.open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn look(&self, path: &Path) -> io::Result<Meta> {
        meta(&fs::metadata(path)?)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, Meta)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                match entry.metadata() {
                    Ok(known) => found.push((name, meta(&known)?)),
                    // Removed since.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn touch(&self, path: &Path, now: SystemTime) -> io::Result<()> {
        OpenOptions::new().append(true).open(path)?.set_modified(now)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // A relative path of one name is in the working folder.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::File::open(folder)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        // Between our opening and our locking it, whoever had it may have given it another name: then the
        // name is not locked.
        let locked = file.metadata()?;
        let is_it =
            |named: &fs::Metadata| (named.dev(), named.ino()) == (locked.dev(), locked.ino());
        match fs::metadata(path) {
            Ok(named) if is_it(&named) => Ok(Some(Box::new(file))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let disk = statvfs(folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    #[cfg(feature = "sled")]
    fn database(&self, folder: &Path, cache_bytes: u64) -> io::Result<Arc<dyn Database>> {
        Ok(Arc::new(super::sled::Sled::open(folder, cache_bytes)?))
    }

    #[cfg(not(feature = "sled"))]
    fn database(&self, _: &Path, _: u64) -> io::Result<Arc<dyn Database>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        fs::File::sync_all(self)
    }
}

fn meta(known: &fs::Metadata) -> io::Result<Meta> {
    Ok(Meta { len: known.len(), modified: known.modified()?, is_folder: known.is_dir() })
}
