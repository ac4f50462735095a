//! Files that are written before they have a name of their own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jam_proto::ids::TrackId;
use jam_world::{Disk, File, Open};

/// Where drafts are written.
#[derive(Debug)]
pub(crate) struct Drafts {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    extension: &'static str,
    begun: AtomicU64,
}

impl Drafts {
    /// In `folder`, with names that end in `extension`.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf, extension: &'static str) -> Self {
        Self { disk, folder, extension, begun: AtomicU64::new(0) }
    }

    /// Begins an empty one, instead of one that an earlier process left. Blocks.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn begin(&self) -> io::Result<Draft> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number}.{}", self.extension));
        let file = self.disk.open(&path, Open::Anew)?;
        Ok(Draft { disk: self.disk.clone(), path, file, hasher: blake3::Hasher::new() })
    }
}

/// A file that is being written. If it is dropped before it was renamed, it is gone.
#[derive(Debug)]
pub(crate) struct Draft {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn File>,
    hasher: blake3::Hasher,
}

impl Draft {
    /// Adds bytes. Blocks.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.hasher.count())?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// What was written so far, as a song is named.
    pub(crate) fn id(&self) -> TrackId {
        TrackId(*self.hasher.finalize().as_bytes())
    }

    /// How much was written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.hasher.count()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is none of that name. Whoever owns the folder clears away one that can't be removed.
        let _ = self.disk.remove(&self.path);
    }
}
