//! The store of one Raft group: sled, the journal, the vote file, and the threads that write them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};

use super::checkpoint::{Checkpointer, Job};
use super::journal::{self, Journal, JournalError};
use super::layout;
use super::log::{Log, Memory};
use super::pending::Pending;
use super::snapshots::Snapshots;
use super::types::{Entry, LogId};
use super::vote_file::{Promise, VoteFile, VoteFileError};
use super::writer::{Fault, Op, Untold, Writer};

/// sled's page cache. Its default is a gigabyte; what is hot is in our own tail.
const CACHE_BYTES: u64 = 2 << 20;

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What is on disk is older than what this node promised others.
    #[error(
        "the log on disk is older than what this node has acknowledged ({found}, and it promised {promised}): the disk \
         has lost data. Move the data folder away, run `jam --servers … cluster replace {place}` against the other \
         nodes, and start jamd again with an empty folder"
    )]
    Behind {
        /// The `--id` of this node.
        place: u64,
        /// What sled holds.
        found: String,
        /// What the vote file says.
        promised: String,
    },
    /// A file that says what was promised is gone or unreadable.
    #[error(
        "what this node has promised can't be read ({why}), so its log can't be trusted. Move the data folder away, run \
         `jam --servers … cluster replace {place}` against the other nodes, and start jamd again with an empty folder"
    )]
    Untrusted {
        /// The `--id` of this node.
        place: u64,
        /// What is wrong.
        why: String,
    },
    /// The operating system said no.
    #[error("can't open the Raft store in {folder}: {source}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the log, the snapshots and the state machine share.
pub struct Shared {
    /// Gone once the store is closed.
    db: ArcSwapOption<sled::Db>,
    queue: Sender<Op>,
    jobs: Sender<Job>,
    /// The log as known without the disk.
    pub memory: Mutex<Memory>,
    /// sled knows every entry of the log below this index.
    pub written: Arc<AtomicU64>,
    fault: Arc<Fault>,
}

/// An open store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Opens the store in `folder`, or makes one. Blocks.
    pub fn open(folder: &Path, place: u64) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { folder: folder.to_owned(), source };
        let untrusted = |why: String| StoreError::Untrusted { place, why };
        let sled_folder = folder.join("sled");
        std::fs::create_dir_all(&sled_folder).map_err(io)?;
        let opened = sled::Config::new().path(&sled_folder).cache_capacity(CACHE_BYTES).open();
        let db = opened.map_err(|error| match error {
            sled::Error::Io(error) => io(error),
            other => untrusted(format!("sled says: {other}")),
        })?;
        let db_file = File::open(sled_folder.join("db")).map_err(io)?;
        let unreadable = |error| match error {
            JournalError::Io(source) => io(source),
            JournalError::Damaged(why) => untrusted(why),
        };

        let path = folder.join("vote");
        if !path.exists() {
            // The vote file is made last. Without it, sled may hold nothing yet.
            if db.iter().next().is_some() {
                return Err(untrusted(format!("{} is missing", path.display())));
            }
            db.flush().map_err(|error| io(error.into()))?;
            sync_new(&sled_folder, folder).map_err(io)?;
            Journal::create(folder).map_err(io)?;
            sync_path(folder).map_err(io)?;
            VoteFile::create(&path).map_err(io)?;
            sync_path(folder).map_err(io)?;
        }
        let mut vote_file = VoteFile::open(&path).map_err(|error| match error {
            VoteFileError::Io(source) => io(source),
            damaged => untrusted(format!("{}: {damaged}", path.display())),
        })?;
        let promised = vote_file.promise().clone();
        let found = stands(&db).map_err(|error| untrusted(error.to_string()))?;
        if found.vote < promised.vote || found.last < promised.last {
            let (found, promised) = (describe(&found), describe(&promised));
            return Err(StoreError::Behind { place, found, promised });
        }

        let left = journal::read(folder, promised.journal).map_err(unreadable)?;
        replay(&left, &db).map_err(|error| untrusted(error.to_string()))?;
        db.flush().map_err(|error| io(error.into()))?;
        db_file.sync_data().map_err(io)?;
        let memory = recover(&db).map_err(|error| untrusted(error.to_string()))?;
        let promise = |journal| Promise { vote: memory.vote, last: memory.last, journal };
        // The other file's generation is done with before it is overwritten; this one's is once it has a successor.
        vote_file.save(promise(left.generation - 1)).map_err(io)?;
        let journal = Journal::go_on(folder, left.generation, left.records).map_err(io)?;
        let promise = promise(left.generation);
        vote_file.save(promise.clone()).map_err(io)?;

        let fault = Arc::<Fault>::default();
        let written = Arc::new(AtomicU64::new(promise.last.map_or(0, |last| last.index + 1)));
        let checkpointer = Checkpointer { db, db_file, vote_file, fault, written };
        Self::start(journal, checkpointer, memory, promise).map_err(io)
    }

    fn start(
        journal: Journal,
        checkpointer: Checkpointer,
        memory: Memory,
        promise: Promise,
    ) -> io::Result<Self> {
        let (queue, ops) = channel();
        let (jobs, todo) = channel();
        let fault = checkpointer.fault.clone();
        let shared = Shared {
            db: ArcSwapOption::from_pointee(checkpointer.db.clone()),
            queue,
            jobs: jobs.clone(),
            memory: Mutex::new(memory),
            written: checkpointer.written.clone(),
            fault: fault.clone(),
        };
        let writer =
            Writer { journal, jobs, fault, promise, checkpoint: None, untold: Untold::default() };
        spawn("raft-store", move || writer.run(&ops))?;
        spawn("raft-checkpoint", move || checkpointer.run(&todo))?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether it holds neither votes nor entries, and never did.
    pub fn is_pristine(&self) -> bool {
        let memory = super::log::lock(&self.shared.memory);
        memory.vote.is_none() && memory.last.is_none()
    }

    /// The log.
    pub fn log(&self) -> Log {
        Log::new(self.shared.clone())
    }

    /// The snapshots.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.shared.clone())
    }

    /// Set for ever by the first error. Nothing is acknowledged after it.
    pub fn fault(&self) -> watch::Receiver<Option<String>> {
        self.shared.fault.subscribe()
    }

    /// Writes what waits and lets go of the files.
    pub async fn close(&self) -> io::Result<()> {
        let (done, closed) = oneshot::channel();
        self.shared.send(Op::Close(done))?;
        self.shared.db.store(None);
        closed.await.map_err(|_| stopped())?
    }
}

impl Shared {
    /// Queues an operation.
    pub fn send(&self, op: Op) -> io::Result<()> {
        self.fault.check()?;
        self.queue.send(op).map_err(|_| stopped())
    }

    /// Queues an operation and waits until it is durable.
    pub async fn durable(
        &self,
        op: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Op,
    ) -> io::Result<()> {
        let (done, durable) = oneshot::channel();
        self.send(op(done))?;
        durable.await.map_err(|_| stopped())?
    }

    /// Sets and removes keys that are not the log's, and waits until that is durable.
    pub async fn put(&self, pairs: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()> {
        self.fault.check()?;
        let (done, durable) = oneshot::channel();
        self.jobs.send(Job::Put { pairs, done }).map_err(|_| stopped())?;
        durable.await.map_err(|_| stopped())?
    }

    /// Runs `look` on the database.
    pub fn with_db<T>(&self, look: impl FnOnce(&sled::Db) -> io::Result<T>) -> io::Result<T> {
        look(self.db.load_full().ok_or_else(stopped)?.as_ref())
    }

    /// Reads entries from sled until `budget` bytes are read; says whether that cut it short. Blocks.
    pub fn read_entries(
        &self,
        first: u64,
        last: u64,
        budget: usize,
    ) -> io::Result<(Vec<Entry>, bool)> {
        self.with_db(|db| {
            let mut entries = Vec::new();
            let mut bytes = 0;
            for entry in walk(db, first, last) {
                let (entry, size) = entry?;
                entries.push(entry);
                bytes += size;
                if bytes >= budget {
                    return Ok((entries, true));
                }
            }
            Ok((entries, false))
        })
    }
}

fn stopped() -> io::Error {
    io::Error::other("the Raft store is closed")
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// How far sled goes, at a glance.
fn stands(db: &sled::Db) -> io::Result<Promise> {
    let keys = layout::entry_keys(0..=u64::MAX);
    let last = db.range(keys).next_back().transpose()?;
    let index = last.map(|(key, _)| layout::parse_entry_key(&key)).transpose()?;
    let last = match index {
        Some((index, _)) => walk(db, index, index).next().transpose()?.map(|(last, _)| last.log_id),
        None => None,
    };
    let purged = meta(db, layout::PURGED)?;
    Ok(Promise { vote: meta(db, layout::VOTE)?, last: last.max(purged), journal: 0 })
}

/// Tells sled what only the journal has.
fn replay(left: &journal::Found, db: &sled::Db) -> io::Result<()> {
    let mut batch = Pending::default();
    left.replay(|step| batch.step(&step, db))?;
    batch.apply(db)
}

/// What sled holds, checked for holes.
fn recover(db: &sled::Db) -> io::Result<Memory> {
    let purged: Option<LogId> = meta(db, layout::PURGED)?;
    let mut memory = Memory::default();
    memory.vote = meta(db, layout::VOTE)?;
    memory.purged = purged;
    memory.last = purged;
    let mut expected = purged.map_or(0, |purged| purged.index + 1);
    // What was purged may still be there: it is removed later than it is forgotten.
    for entry in walk(db, expected, u64::MAX) {
        let (entry, _) = entry?;
        let index = entry.log_id.index;
        if index != expected {
            return Err(layout::damaged(&format!("log entry {expected}")));
        }
        memory.first.get_or_insert(index);
        memory.last = Some(entry.log_id);
        expected = index + 1;
    }
    // A commit is saved lazily, and may have been saved before the entry that it names was lost.
    memory.committed = meta::<LogId>(db, layout::COMMITTED)?.min(memory.last);
    Ok(memory)
}

/// The entries of `first..=last` with their sizes, put together from their parts.
fn walk(db: &sled::Db, first: u64, last: u64) -> impl Iterator<Item = io::Result<(Entry, usize)>> {
    let mut parts = db.range(layout::entry_keys(first..=last)).peekable();
    std::iter::from_fn(move || {
        let mut joined = Vec::new();
        let mut current = None;
        while let Some(Ok((key, _))) = parts.peek() {
            match (layout::parse_entry_key(key), current) {
                (Err(error), _) => return Some(Err(error)),
                (Ok((index, _)), Some(current)) if index != current => break,
                (Ok((index, _)), _) => current = Some(index),
            }
            if let Some(Ok((_, value))) = parts.next() {
                joined.extend_from_slice(&value);
            }
        }
        match (current, parts.peek()) {
            (_, Some(Err(error))) => Some(Err(error.clone().into())),
            (None, _) => None,
            (Some(_), _) => Some(layout::decode_entry(&joined).map(|entry| (entry, joined.len()))),
        }
    })
}

/// A value under `m`.
pub fn meta<T: DeserializeOwned>(db: &sled::Db, key: &[u8]) -> io::Result<Option<T>> {
    let value = db.get(key)?;
    let parsed = value.map(|bytes| postcard::from_bytes(&bytes)).transpose();
    parsed.map_err(|_| layout::damaged(&String::from_utf8_lossy(key)))
}

fn describe(promise: &Promise) -> String {
    let vote = promise.vote.map_or("no vote".to_owned(), |vote| format!("vote {vote}"));
    let last = promise.last.map_or("no log entry".to_owned(), |last| format!("last entry {last}"));
    format!("{vote}, {last}")
}

/// Makes the new files themselves, and their names, survive a power cut: sled never does.
fn sync_new(sled_folder: &Path, folder: &Path) -> io::Result<()> {
    for path in [&sled_folder.join("db"), &sled_folder.join("conf")] {
        sync_path(path)?;
    }
    sync_path(sled_folder)?;
    sync_path(folder)?;
    folder.parent().map_or(Ok(()), sync_path)
}

/// Syncs a file or a folder.
pub fn sync_path(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
