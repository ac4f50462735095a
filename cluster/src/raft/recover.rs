//! Opens what a process left on disk: checks that nothing of what was acknowledged is missing, and brings what only
//! the journal has into sled.

use std::io;
use std::path::Path;
use std::sync::Arc;

use jam_world::{Database, Disk, World, exists};
use serde::de::DeserializeOwned;

use super::bounds::{TERM_MAX, term_of};
use super::journal::{self, Journal, JournalError};
use super::layout;
use super::log::{Memory, after};
use super::pending::Pending;
use super::snapshots::load_from;
use super::store::StoreError;
use super::types::{Entry, LogId};
use super::vote_file::{Promise, VoteFile, VoteFileError};

/// sled's page cache. Its default is a gigabyte; what is hot is in our own tail.
const CACHE_BYTES: u64 = 2 << 20;

/// A store that was found in order.
pub struct Opened {
    /// All that the log holds.
    pub db: Arc<dyn Database>,
    /// What was promised.
    pub vote_file: VoteFile,
    /// In a generation of its own.
    pub journal: Journal,
    /// The log as known without the disk.
    pub memory: Memory,
    /// As the vote file has it.
    pub promise: Promise,
}

impl Opened {
    /// Opens the store in `folder`, or makes one. Blocks.
    pub fn open(
        world: &World,
        folder: &Path,
        place: u64,
        journal_bytes: usize,
    ) -> Result<Self, StoreError> {
        let disk = world.disk.as_ref();
        let io = |source| StoreError::Io { folder: folder.to_owned(), source };
        let untrusted = |why: String| StoreError::Untrusted { place, why };
        let newer = |what: String| StoreError::Newer { folder: folder.to_owned(), what };
        disk.make_folder(folder).map_err(io)?;
        let opened = disk.database(&folder.join("sled"), CACHE_BYTES);
        // A disk that fails may work again; only what was read and makes no sense costs the node its folder.
        let unusable = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData => untrusted(error.to_string()),
            io::ErrorKind::Unsupported => newer(error.to_string()),
            _ => io(error),
        };
        let db = opened.map_err(unusable)?;
        let unreadable = |error| match error {
            JournalError::Io(source) => io(source),
            JournalError::Damaged(why) => untrusted(why),
        };

        let path = folder.join("vote");
        if !exists(disk, &path).map_err(io)? {
            // The vote file is made last. Without it, sled may hold nothing yet.
            if let Some(entry) = db.range(layout::all_keys()).next() {
                entry.map_err(unusable)?;
                return Err(untrusted(format!("{} is missing", path.display())));
            }
            create(disk, folder, &path, journal_bytes).map_err(io)?;
        }
        // An earlier start may have made the files and failed to sync their names.
        disk.sync_folder(folder).map_err(io)?;
        let mut vote_file = VoteFile::open(disk, &path).map_err(|error| match error {
            VoteFileError::Io(source) => io(source),
            VoteFileError::Newer => newer("the vote file".to_owned()),
            damaged => untrusted(format!("{}: {damaged}", path.display())),
        })?;
        let promised = vote_file.promise().clone();
        let found = stands(db.as_ref()).map_err(unusable)?;
        if found.vote < promised.vote || found.last < promised.last {
            let (found, promised) = (describe(&found), describe(&promised));
            return Err(StoreError::Behind { place, found, promised });
        }

        let left = journal::read(disk, folder, promised.journal).map_err(unreadable)?;
        replay(&left, db.as_ref()).map_err(unusable)?;
        db.sync().map_err(io)?;
        let memory = recover(db.as_ref()).map_err(unusable)?;
        covers(db.as_ref(), memory.purged).map_err(unusable)?;
        let terms = [memory.vote.map(|vote| vote.leader_id.term), memory.last.map(term_of)];
        if let Some(term) = terms.into_iter().flatten().find(|&term| term > TERM_MAX) {
            return Err(StoreError::TermTooHigh { place, term });
        }
        let promise = |journal| Promise { vote: memory.vote, last: memory.last, journal };
        // The other file's generation is done with before it is overwritten; this one's is once it has a successor.
        vote_file.save(promise(left.generation.saturating_sub(1))).map_err(io)?;
        let journal = Journal::go_on(disk, folder, left.generation, left.records, journal_bytes)
            .map_err(io)?;
        let promise = promise(left.generation);
        vote_file.save(promise.clone()).map_err(io)?;
        Ok(Self { db, vote_file, journal, memory, promise })
    }
}

/// Makes the journal and the vote file, and makes them survive a power cut.
fn create(disk: &dyn Disk, folder: &Path, vote: &Path, journal_bytes: usize) -> io::Result<()> {
    disk.sync_folder(folder)?;
    folder.parent().map_or(Ok(()), |above| disk.sync_folder(above))?;
    Journal::create(disk, folder, journal_bytes)?;
    disk.sync_folder(folder)?;
    // It has its name once it is whole: an earlier start may have got no further than half of it.
    let unfinished = vote.with_extension("new");
    VoteFile::create(disk, &unfinished)?;
    disk.rename(&unfinished, vote)?;
    disk.sync_folder(folder)
}

/// How far sled goes, at a glance.
fn stands(db: &dyn Database) -> io::Result<Promise> {
    let last = db.range(layout::entry_keys(0..=u64::MAX)).next_back().transpose()?;
    let index = last.map(|(key, _)| layout::parse_entry_key(&key)).transpose()?;
    let last = match index {
        Some((index, _)) => walk(db, index, index).next().transpose()?.map(|(last, _)| last.log_id),
        None => None,
    };
    let purged = meta(db, layout::PURGED)?;
    Ok(Promise { vote: meta(db, layout::VOTE)?, last: last.max(purged), journal: 0 })
}

/// Tells sled what only the journal has.
fn replay(left: &journal::Found, db: &dyn Database) -> io::Result<()> {
    let mut batch = Pending::default();
    left.replay(|step| batch.step(&step, db))?;
    batch.apply(db)
}

/// What sled holds, checked for holes.
fn recover(db: &dyn Database) -> io::Result<Memory> {
    let purged: Option<LogId> = meta(db, layout::PURGED)?;
    let mut memory = Memory::default();
    memory.vote = meta(db, layout::VOTE)?;
    memory.purged = purged;
    memory.last = purged;
    let mut expected = after(purged);
    // What was purged may still be there: it is removed later than it is forgotten.
    for entry in walk(db, expected, u64::MAX) {
        let (entry, _) = entry?;
        let index = entry.log_id.index;
        if index != expected {
            return Err(layout::damaged(&format!("log entry {expected}")));
        }
        memory.first.get_or_insert(index);
        memory.last = Some(entry.log_id);
        expected = after(memory.last);
    }
    // A commit is saved lazily, and may have been saved before the entry that it names was lost.
    memory.committed = meta::<LogId>(db, layout::COMMITTED)?.min(memory.last);
    Ok(memory)
}

/// Checks that a whole snapshot has what was purged: it was durable first.
fn covers(db: &dyn Database, purged: Option<LogId>) -> io::Result<()> {
    let snapshot = load_from(db)?.and_then(|(meta, _)| meta.last_log_id);
    if snapshot < purged {
        let purged = purged.map_or(0, |purged| purged.index);
        return Err(layout::damaged(&format!("a snapshot of log entries up to {purged}")));
    }
    Ok(())
}

/// The entries of `first..=last` with their sizes, put together from their parts.
pub fn walk(
    db: &dyn Database,
    first: u64,
    last: u64,
) -> impl Iterator<Item = io::Result<(Entry, usize)>> {
    let mut parts = db.range(layout::entry_keys(first..=last)).peekable();
    std::iter::from_fn(move || {
        let mut joined = Vec::new();
        let mut current = None;
        while let Some(Ok((key, _))) = parts.peek() {
            match (layout::parse_entry_key(key), current) {
                (Err(error), _) => {
                    parts.next();
                    return Some(Err(error));
                }
                (Ok((index, _)), Some(current)) if index != current => break,
                (Ok((index, _)), _) => current = Some(index),
            }
            if let Some(Ok((_, value))) = parts.next() {
                joined.extend_from_slice(&value);
            }
        }
        if matches!(parts.peek(), Some(Err(_))) {
            return parts.next().and_then(Result::err).map(Err);
        }
        current.map(|_| layout::decode_entry(&joined).map(|entry| (entry, joined.len())))
    })
}

/// A value under `m`.
pub fn meta<T: DeserializeOwned>(db: &dyn Database, key: &[u8]) -> io::Result<Option<T>> {
    let value = db.get(key)?;
    let parsed = value.map(|bytes| postcard::from_bytes(&bytes)).transpose();
    parsed.map_err(|_| layout::damaged(&String::from_utf8_lossy(key)))
}

fn describe(promise: &Promise) -> String {
    let vote = promise.vote.map_or("no vote".to_owned(), |vote| format!("vote {vote}"));
    let last = promise.last.map_or("no log entry".to_owned(), |last| format!("last entry {last}"));
    format!("{vote}, {last}")
}
