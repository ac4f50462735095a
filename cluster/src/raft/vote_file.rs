//! The small file beside sled that says how far this node's promises went, as of the last
//! checkpoint; the journal says what came after it.
//!
//! sled silently drops the end of its log when a byte in the middle has flipped, and comes back
//! as an older, consistent database. A node that forgot a vote or an entry that it acknowledged
//! would break Raft's promise without knowing it. So vote and last log id are written here too,
//! after sled has them: a sled that is behind this file has lost something.
//!
//! Two slots are written in turn, each in a sector of its own and with a checksum, so that a torn
//! write leaves the other one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use jam_world::{Disk, File, Open};
use serde::{Deserialize, Serialize};

use super::types::{LogId, Vote};

/// A slot per 4 KiB: the largest sector that disks write as one.
const SLOT_BYTES: usize = 4096;
const MAGIC: [u8; 4] = *b"jamv";
/// Magic, checksum, length.
const HEADER_BYTES: usize = 12;

/// How far the promises of this node go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The last vote it gave, term included.
    pub vote: Option<Vote>,
    /// The last log entry it stored.
    pub last: Option<LogId>,
    /// All that the journal held up to this generation is in sled.
    pub journal: u64,
}

#[derive(Serialize, Deserialize)]
struct Slot {
    /// Counts writes; the higher one is the newer.
    sequence: u64,
    promise: Promise,
}

/// The open file.
#[derive(Debug)]
pub struct VoteFile {
    file: Arc<dyn File>,
    sequence: u64,
    promise: Promise,
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum VoteFileError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A slot is whole, and can't be read: a newer build wrote it.
    #[error("it has a format that is not known")]
    Newer,
    /// Neither slot is whole.
    #[error("both of its slots are damaged")]
    Damaged,
}

impl VoteFile {
    /// Makes a new file that promises nothing. The caller syncs the folder.
    pub fn create(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Open::Anew)?;
        let mut made = Self { file, sequence: 0, promise: Promise::default() };
        // Both slots: from here on the file never grows, so that a write needs no new metadata.
        made.write(Promise::default())?;
        made.write(Promise::default())?;
        made.file.sync_all()?;
        Ok(made)
    }

    /// Opens a file that was made before.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, VoteFileError> {
        let bytes = disk.read(path)?;
        let slots = [0, 1].map(|slot| bytes.get(slot * SLOT_BYTES..).and_then(whole_body));
        let parse = |body: &[u8]| postcard::from_bytes(body).map_err(|_| VoteFileError::Newer);
        let slots: [Option<Slot>; 2] =
            [slots[0].map(parse).transpose()?, slots[1].map(parse).transpose()?];
        if slots.iter().any(Option::is_none) {
            tracing::warn!(file = %path.display(), "one slot of the vote file is damaged; using the other");
        }
        let newest = slots
            .into_iter()
            .flatten()
            .max_by_key(|slot| slot.sequence)
            .ok_or(VoteFileError::Damaged)?;
        let file = disk.open(path, Open::Change)?;
        Ok(Self { file, sequence: newest.sequence, promise: newest.promise })
    }

    /// What the file says.
    pub fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Writes and syncs a promise. Does nothing if it is the one that stands.
    pub fn save(&mut self, promise: Promise) -> io::Result<()> {
        if promise == self.promise {
            return Ok(());
        }
        self.write(promise)?;
        self.file.sync_data()
    }

    fn write(&mut self, promise: Promise) -> io::Result<()> {
        let sequence = self.sequence.checked_add(1);
        let sequence =
            sequence.ok_or_else(|| io::Error::other("the vote file can count no more writes"))?;
        let slot = Slot { sequence, promise };
        let body = postcard::to_stdvec(&slot).map_err(io::Error::other)?;
        let mut bytes = vec![0; SLOT_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes[8..12].copy_from_slice(&(body.len() as u32).to_le_bytes());
        bytes[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(&body);
        self.file.write_at(&bytes, slot.sequence % 2 * SLOT_BYTES as u64)?;
        self.sequence = slot.sequence;
        self.promise = slot.promise;
        Ok(())
    }
}

/// The body of a slot whose checksum is right.
fn whole_body(bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let length = word(8)? as usize;
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?;
    let whole = bytes.get(..4)? == MAGIC && word(4)? == crc32fast::hash(body);
    whole.then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(term: u64, index: u64) -> Promise {
        Promise {
            vote: Some(Vote::new(term, 1)),
            last: Some(LogId::new(term.into(), index)),
            journal: term,
        }
    }

    #[test]
    fn the_newest_promise_comes_back() -> Result<(), VoteFileError> {
        let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
        let disk = world.disk.as_ref();
        let path = folder.path().join("vote");
        let mut file = VoteFile::create(disk, &path)?;
        assert_eq!(VoteFile::open(disk, &path)?.promise(), &Promise::default());
        for term in 1..10 {
            file.save(promise(term, term * 10))?;
            assert_eq!(VoteFile::open(disk, &path)?.promise(), &promise(term, term * 10));
        }
        Ok(())
    }

    #[test]
    fn any_damage_to_one_slot_leaves_a_promise_and_to_both_is_an_error() -> Result<(), VoteFileError>
    {
        let (world, folder) = (jam_world::World::real(), tempfile::tempdir()?);
        let disk = world.disk.as_ref();
        let path = folder.path().join("vote");
        let mut file = VoteFile::create(disk, &path)?;
        file.save(promise(1, 10))?;
        file.save(promise(2, 20))?;
        let whole = std::fs::read(&path)?;
        for at in [0, 5, 9, HEADER_BYTES, HEADER_BYTES + 3] {
            for slot in 0..2 {
                let mut bytes = whole.clone();
                bytes[slot * SLOT_BYTES + at] ^= 0x10;
                std::fs::write(&path, &bytes)?;
                let kept = VoteFile::open(disk, &path)?.promise().clone();
                assert!([promise(1, 10), promise(2, 20)].contains(&kept), "{kept:?}");
                bytes[(1 - slot) * SLOT_BYTES + at] ^= 0x10;
                std::fs::write(&path, &bytes)?;
                assert!(matches!(VoteFile::open(disk, &path), Err(VoteFileError::Damaged)));
            }
        }
        std::fs::write(&path, &whole[..SLOT_BYTES])?;
        assert!(VoteFile::open(disk, &path).is_ok());
        Ok(())
    }
}
