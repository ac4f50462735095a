//! Files, folders and one ordered database.

mod real;
#[cfg(feature = "sled")]
mod sled;

use std::fmt::Debug;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use real::FileSystem;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// One that is there, to read it.
    Read,
    /// One that is there, to read and change it.
    Change,
    /// To read and change it; made, empty, if it is not there.
    Make,
    /// To write it anew: what it held is gone.
    Anew,
    /// As `Anew`, for a file that only its owner may read.
    Secret,
}

/// What is known of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes.
    pub len: u64,
    /// The last change, by the time of day.
    pub modified: SystemTime,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// A disk. What it is told may be lost in a power cut, in whole or in part, until it was synced: the bytes of a
/// file by [`File::sync_data`] or [`File::sync_all`], its name by [`Disk::sync_folder`]. All of it blocks.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// All bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A file or a folder; `NotFound` if there is neither.
    fn look(&self, path: &Path) -> io::Result<Meta>;
    /// What is in a folder, by name. Names that are not UTF-8 are none of ours and left out.
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, Meta)>>;
    /// Makes a folder and those above it. It may be there.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;
    /// Gives a file another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Says that a file was changed just now, at `now` by the time of day.
    fn touch(&self, path: &Path, now: SystemTime) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Keeps other processes from locking the file, which is made if it is not there, until what this returns is
    /// dropped. `None`: another one has it, or had it until just now. Whoever has it may rename or remove the file.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
    /// Bytes that are free where a folder is.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
    /// Opens the database in a folder, or makes it, durably. `InvalidData`: it is damaged.
    fn database(&self, folder: &Path, cache_bytes: u64) -> io::Result<Arc<dyn Database>>;
    /// What a worker waits before it writes. A real disk takes its time in the call; a simulated one can't.
    fn pace(&self) -> Option<Duration> {
        None
    }
}

/// An open file.
pub trait File: Debug + Send + Sync {
    /// Reads up to so many bytes; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Makes its bytes durable; its length only as far as they need it.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes its bytes and its length durable.
    fn sync_all(&self) -> io::Result<()>;
    /// Reads as many bytes as the buffer holds.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.read_at(buffer, offset)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = &mut buffer[count..];
            offset += count as u64;
        }
        Ok(())
    }
    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Keys and their values, in order.
pub type Entries<'a> = Box<dyn DoubleEndedIterator<Item = io::Result<(Vec<u8>, Vec<u8>)>> + 'a>;

/// An ordered map of bytes. What it is told may be lost in a power cut until it was synced: then the last changes
/// are lost, and none that came before one that is not.
pub trait Database: Debug + Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;
    /// The keys of a range.
    fn range(&self, keys: RangeInclusive<Vec<u8>>) -> Entries<'_>;
    /// The first so many keys of a range.
    fn keys(&self, keys: RangeInclusive<Vec<u8>>, at_most: usize) -> io::Result<Vec<Vec<u8>>> {
        self.range(keys).take(at_most).map(|entry| Ok(entry?.0)).collect()
    }
    /// Sets keys to values, or removes them where there is none: all at once, also after a power cut.
    fn apply(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()>;
    /// Makes durable all that it was told.
    fn sync(&self) -> io::Result<()>;
}

/// Whether there is a file or folder. A disk that can't say is an error, and no "no".
///
/// # Errors
/// Those of the disk.
pub fn exists(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.look(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a folder whose name survives a power cut, with all folders above it. Also if it is there already: whoever made it
/// may have failed to make its name durable.
///
/// # Errors
/// If it can't be made, or its name can't be kept.
pub fn make_lasting_folder(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    disk.make_folder(folder)?;
    for above in folder.ancestors().skip(1) {
        match disk.sync_folder(above) {
            // Folders that we may not open, or can't be synced as such, are none that we made.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
                ) => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Writes a file and makes its bytes durable. Its name is for [`Disk::sync_folder`].
///
/// # Errors
/// Those of the disk.
pub fn write_and_sync(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, Open::Anew)?;
    file.write_at(bytes, 0)?;
    file.sync_all()
}

/// A file as a stream of bytes that can be sought in.
#[derive(Debug)]
pub struct Cursor {
    file: Arc<dyn File>,
    at: u64,
}

impl Cursor {
    /// At the beginning.
    pub fn new(file: Arc<dyn File>) -> Self {
        Self { file, at: 0 }
    }

    /// The file's length in bytes, if the disk says.
    pub fn byte_len(&self) -> Option<u64> {
        self.file.len().ok()
    }
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.file.len()?, by),
        };
        self.at = base.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
