//! The journal: where a write becomes durable.
//!
//! Two files, preallocated, used in turn. A *generation* fills one of them with records; each
//! record is one write and one `fdatasync`, so it is on the disk whole before the next one begins.
//! While a generation fills its file, the one before is brought into sled at leisure; only then is
//! its file used again. What a crash leaves is read back in order and brought into sled.
//!
//! A torn write can only be the last thing in a generation: it is dropped, nobody was told of it. A
//! record that can't be read but has a readable one behind it was whole once: the disk has lost
//! what this node acknowledged, and the node must not start. So that this is true of the last
//! record too, the writer puts an empty one behind it as soon as it has time.
//!
//! A generation that has a successor ends with a *closing* record: it is written once the record that opens the successor
//! is durable, and before the successor holds anything that was acknowledged. So a successor whose opening record can't
//! be read is told from one that never began. Older folders have no closing records, and older builds pass over them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jam_world::{Disk, File, Open};
use serde::{Deserialize, Serialize};

use super::layout;
use super::types::{LogId, Vote};

/// A generation ends with the first record beyond it. Both files are this long from the start, so
/// that a sync writes data only, and no metadata of the file system.
pub const FILE_BYTES: usize = 4 << 20;
/// Where records begin. A search behind damage looks at these places only.
const ALIGN: usize = 64;
const MAGIC: [u8; 4] = *b"jamj";
/// Magic, checksum of all that follows, length of the body, number in the generation, generation.
const HEAD_BYTES: usize = 28;
const BUFFER_BYTES_KEPT: usize = 256 << 10;

/// One change to the store. They are done in order.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Step<'a> {
    /// Adds an entry at the end.
    Append {
        /// Its id.
        id: LogId,
        /// Its encoding.
        #[serde(borrow)]
        entry: &'a [u8],
    },
    /// Keeps a vote.
    Vote(Vote),
    /// Removes the entries from `from` to the end.
    Truncate {
        /// The first one to go.
        from: u64,
        /// The last log id afterwards.
        last: Option<LogId>,
    },
    /// Removes the entries up to this one.
    Purge(LogId),
}

/// Why what a journal holds can't be relied on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something is gone that was durable.
    #[error("{0}")]
    Damaged(String),
}

/// What the generations that sled may lack hold.
#[derive(Debug)]
pub struct Found {
    /// The newest generation.
    pub generation: u64,
    /// Its records.
    pub records: u64,
    bodies: Vec<Vec<u8>>,
}

impl Found {
    /// Does every step, in order.
    pub fn replay(&self, mut each: impl FnMut(Step<'_>) -> io::Result<()>) -> io::Result<()> {
        for body in &self.bodies {
            let mut rest = body.as_slice();
            while !rest.is_empty() {
                // The checksum was right, so another version wrote it.
                let (step, behind) = postcard::take_from_bytes(rest)
                    .map_err(|_| layout::newer("a record of the journal"))?;
                each(step)?;
                rest = behind;
            }
        }
        Ok(())
    }
}

/// Reads what the generations after `done` hold: sled has those up to `done`.
pub fn read(disk: &dyn Disk, folder: &Path, done: u64) -> Result<Found, JournalError> {
    let (generation, successor) = (done.checked_add(1), done.checked_add(2));
    let (Some(generation), Some(successor)) = (generation, successor) else {
        let why = format!("the journal can't be at generation {done}");
        return Err(JournalError::Damaged(why));
    };
    let damaged = |generation: u64, why: &str| {
        JournalError::Damaged(format!("generation {generation} of the journal {why}"))
    };
    let first = Generation::read(disk, folder, generation)?;
    let first = first.ok_or_else(|| damaged(generation, "is missing"))?;
    let records = first.bodies.len() as u64;
    let mut found = Found { generation, records, bodies: first.bodies };
    match Generation::read(disk, folder, successor)? {
        Some(second) if second.records_before != records => {
            return Err(damaged(generation, "has lost its end"));
        }
        Some(second) => {
            found.generation = successor;
            found.records = second.bodies.len() as u64;
            found.bodies.extend(second.bodies);
        }
        None if first.closed => return Err(damaged(successor, "has lost its beginning")),
        None => {}
    }
    Ok(found)
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    files: [Arc<dyn File>; 2],
    /// How long they are made. A last record may have made one longer since.
    file_bytes: usize,
    generation: u64,
    /// Records in this generation, but for the one that opens it.
    records: u64,
    at: usize,
    /// The next record: room for its head, and the steps so far.
    record: Vec<u8>,
    /// Nothing stands behind the last record yet.
    unsealed: bool,
}

impl Journal {
    /// Makes the files of a new store, in their first generation. The caller syncs the folder.
    pub fn create(disk: &dyn Disk, folder: &Path, file_bytes: usize) -> io::Result<Self> {
        for slot in 0..2 {
            jam_world::write_and_sync(disk, &path(folder, slot), &vec![0; file_bytes])?;
        }
        Self::go_on(disk, folder, 0, 0, file_bytes)
    }

    /// Opens the files behind a generation of so many records, and begins the next one. What the
    /// other file held must be in sled.
    pub fn go_on(
        disk: &dyn Disk,
        folder: &Path,
        generation: u64,
        records: u64,
        file_bytes: usize,
    ) -> io::Result<Self> {
        let open = |slot| disk.open(&path(folder, slot), Open::Change);
        let files = [open(0)?, open(1)?];
        let record = vec![0; HEAD_BYTES];
        let mut journal =
            Self { files, file_bytes, generation, records, at: 0, record, unsealed: false };
        journal.next_generation()?;
        Ok(journal)
    }

    /// One that can't be written, as on a disk that failed.
    #[cfg(test)]
    pub fn broken(disk: &dyn Disk, folder: &Path) -> io::Result<Self> {
        let mut journal = Self::create(disk, folder, FILE_BYTES)?;
        let open = |slot| disk.open(&path(folder, slot), Open::Read);
        journal.files = [open(0)?, open(1)?];
        Ok(journal)
    }

    /// The one that is being written.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it is time for the next generation.
    pub fn is_full(&self) -> bool {
        self.at >= self.file_bytes
    }

    /// Goes on in the other file. What that one held must be in sled.
    pub fn next_generation(&mut self) -> io::Result<()> {
        debug_assert_eq!(self.record.len(), HEAD_BYTES, "no step is lost");
        let (finished, end) = (self.generation, self.at);
        self.record.extend(self.records.to_le_bytes());
        let next = finished.checked_add(1);
        self.generation = next.ok_or_else(|| io::Error::other("the journal can't go on"))?;
        self.at = 0;
        self.write(0)?;
        self.records = 0;
        self.unsealed = false;
        // One that another process wrote needs none: the vote file says that it is done before this one holds anything.
        if end > 0 { self.close(finished, end) } else { Ok(()) }
    }

    /// Says behind the end of the `finished` generation that its successor has begun.
    fn close(&mut self, finished: u64, end: usize) -> io::Result<()> {
        let (generation, at) = (self.generation, self.at);
        (self.generation, self.at) = (finished, end);
        self.record.extend(generation.to_le_bytes());
        let closed = self.write(0);
        (self.generation, self.at) = (generation, at);
        closed
    }

    /// Adds a step to the next record.
    pub fn push(&mut self, step: &Step<'_>) -> io::Result<()> {
        let record = std::mem::take(&mut self.record);
        self.record = postcard::to_extend(step, record).map_err(io::Error::other)?;
        Ok(())
    }

    /// Makes the steps so far durable. Does nothing if there are none.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.record.len() > HEAD_BYTES {
            self.records += 1;
            self.write(self.records)?;
            self.unsealed = true;
        }
        Ok(())
    }

    /// Whether the last record could be lost unnoticed.
    pub fn is_unsealed(&self) -> bool {
        self.unsealed
    }

    /// Puts an empty record behind the last one.
    pub fn seal(&mut self) -> io::Result<()> {
        self.records += 1;
        self.write(self.records)?;
        self.unsealed = false;
        Ok(())
    }

    fn write(&mut self, number: u64) -> io::Result<()> {
        let length = (self.record.len() - HEAD_BYTES) as u32;
        let head = &mut self.record[..HEAD_BYTES];
        head[..4].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&length.to_le_bytes());
        head[12..20].copy_from_slice(&number.to_le_bytes());
        head[20..28].copy_from_slice(&self.generation.to_le_bytes());
        let checksum = crc32fast::hash(&self.record[8..]);
        self.record[4..8].copy_from_slice(&checksum.to_le_bytes());
        let file = &self.files[slot(self.generation)];
        file.write_at(&self.record, self.at as u64)?;
        #[cfg(feature = "planted")]
        if jam_proto::planted::Bug::SkippedSync.is_planted() {
            return self.written();
        }
        file.sync_data()?;
        self.written()
    }

    fn written(&mut self) -> io::Result<()> {
        self.at += self.record.len().next_multiple_of(ALIGN);
        self.record.truncate(HEAD_BYTES);
        // One very large record must not cost its memory for ever.
        self.record.shrink_to(BUFFER_BYTES_KEPT);
        Ok(())
    }
}

fn slot(generation: u64) -> usize {
    (generation % 2) as usize
}

fn path(folder: &Path, slot: usize) -> PathBuf {
    folder.join(format!("journal.{slot}"))
}

/// A generation as it was read.
struct Generation {
    records_before: u64,
    bodies: Vec<Vec<u8>>,
    /// Its successor has begun.
    closed: bool,
}

impl Generation {
    /// `None` if its file holds another one.
    fn read(disk: &dyn Disk, folder: &Path, generation: u64) -> Result<Option<Self>, JournalError> {
        let bytes = match disk.read(&path(folder, slot(generation))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let opening = record(&bytes, 0, generation).filter(|record| record.number == 0);
        let Some(records_before) = opening.and_then(|opening| opening.body.first_chunk::<8>())
        else {
            // The opening record is durable before any other is written.
            return match next_record(&bytes, ALIGN, generation) {
                Some(_) => Err(JournalError::Damaged(format!(
                    "the record that opens the journal's generation {generation} is damaged"
                ))),
                None => Ok(None),
            };
        };
        let records_before = u64::from_le_bytes(*records_before);
        let mut found = Self { records_before, bodies: Vec::new(), closed: false };
        let mut at = ALIGN;
        loop {
            let expected = found.bodies.len() as u64 + 1;
            match record(&bytes, at, generation).filter(|record| record.number == expected) {
                Some(record) => {
                    at += (HEAD_BYTES + record.body.len()).next_multiple_of(ALIGN);
                    found.bodies.push(record.body.to_vec());
                }
                None => break,
            }
        }
        // The closing record is the only one that may stand there, and nothing may be missing in front of it.
        found.closed = record(&bytes, at, generation).is_some_and(|record| record.number == 0);
        let counted = found.bodies.len() as u64;
        let missing = |record: Record<'_>| record.number == 0 || record.number > counted;
        if !found.closed && next_record(&bytes, at, generation).is_some_and(missing) {
            return Err(JournalError::Damaged(format!(
                "record {} of the journal's generation {generation} is damaged",
                found.bodies.len() + 1
            )));
        }
        Ok(Some(found))
    }
}

/// The first whole record of this generation at `from` or behind.
fn next_record(bytes: &[u8], from: usize, generation: u64) -> Option<Record<'_>> {
    (from..bytes.len()).step_by(ALIGN).find_map(|at| record(bytes, at, generation))
}

struct Record<'a> {
    number: u64,
    body: &'a [u8],
}

/// The record at `at`, if there is a whole one of this generation.
fn record(bytes: &[u8], at: usize, generation: u64) -> Option<Record<'_>> {
    let bytes = bytes.get(at..)?;
    let head = bytes.first_chunk::<HEAD_BYTES>()?;
    if head[..4] != MAGIC || head[20..28] != generation.to_le_bytes() {
        return None;
    }
    let length = u32::from_le_bytes(*head[8..].first_chunk()?) as usize;
    let whole = bytes.get(..HEAD_BYTES.checked_add(length)?)?;
    if crc32fast::hash(&whole[8..]).to_le_bytes() != head[4..8] {
        return None;
    }
    let number = u64::from_le_bytes(*head[12..].first_chunk()?);
    Some(Record { number, body: &whole[HEAD_BYTES..] })
}

#[cfg(test)]
mod tests;
