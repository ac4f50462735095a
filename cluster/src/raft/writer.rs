//! The one thread that writes to the store.
//!
//! It drains what waits into one batch, makes that durable, and only then completes the callbacks:
//! sled's batch → sled's flush → `fdatasync` of sled's file through a handle of our own (sled's
//! flush ends in `sync_file_range`, which survives no power cut) → the vote file and its sync →
//! callbacks. Cutting the log lowers the vote file *first*, so that a power cut at any moment
//! leaves sled at or ahead of the vote file, never behind it.
//!
//! One thread, since sled's own asynchronous flush deadlocks under a handful of callers, and since
//! a group commit is what makes many writers cheap.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use openraft::entry::RaftEntry;
use tokio::sync::{oneshot, watch};

use super::layout;
use super::types::{Entry, LogId, Types, Vote};
use super::vote_file::{Promise, VoteFile};

/// Operations in one batch at most: bounds how long the first one waits for the rest.
const BATCH_OPS_MAX: usize = 4096;

/// Told when an operation is durable, or that it never will be known to be.
pub type Done = oneshot::Sender<io::Result<()>>;

/// Something to write. They are written in the order in which they were sent.
pub enum Op {
    /// Adds entries at the end.
    Append {
        /// The entries, in order. Never empty.
        entries: Vec<Entry>,
        /// Openraft's callback.
        done: openraft::storage::IOFlushed<Types>,
    },
    /// Keeps a vote.
    SaveVote {
        /// The vote.
        vote: Vote,
        /// When it is durable.
        done: Done,
    },
    /// Removes the entries from `from` to the end.
    Truncate {
        /// The first one to go.
        from: u64,
        /// The last log id afterwards.
        last: Option<LogId>,
        /// When it is durable.
        done: Done,
    },
    /// Removes the entries up to `upto`. Nobody waits: a snapshot holds what they did.
    Purge {
        /// The last one to go.
        upto: LogId,
    },
    /// Keeps how far the log is committed. Nobody waits: it saves work after a restart, no more.
    Committed(LogId),
    /// Sets and removes keys that are not the log's.
    Put {
        /// Keys with their new values; `None` removes.
        pairs: Vec<(Vec<u8>, Option<Vec<u8>>)>,
        /// When it is durable.
        done: Done,
    },
    /// Ends the thread once all before it is durable.
    Close(Done),
}

enum Waiting {
    Append(openraft::storage::IOFlushed<Types>),
    Other(Done),
}

impl Waiting {
    fn complete(self, result: io::Result<()>) {
        match self {
            Self::Append(callback) => callback.io_completed(result),
            // Whoever asked may have gone; what is durable stays so.
            Self::Other(done) => drop(done.send(result)),
        }
    }
}

/// The thread's own state.
pub struct Writer {
    /// The database.
    pub db: sled::Db,
    /// sled's file, opened by us.
    pub db_file: File,
    /// The small file beside it.
    pub vote_file: VoteFile,
    /// The first error, for ever.
    pub fault: watch::Sender<Option<String>>,
    /// What the vote file will say after this batch.
    pub promise: Promise,
    /// sled has every entry of the log below this index.
    pub written: Arc<AtomicU64>,
}

impl Writer {
    /// Runs until the store is closed or dropped.
    pub fn run(mut self, queue: &Receiver<Op>) {
        while let Ok(first) = queue.recv() {
            let mut ops = vec![first];
            ops.extend(queue.try_iter().take(BATCH_OPS_MAX - 1));
            let (waiting, closing) = self.write(ops);
            let result = match self.fault.borrow().as_deref() {
                None => Ok(()),
                Some(fault) => Err(fault.to_owned()),
            };
            waiting.complete_all(&result);
            if let Some(done) = closing {
                // Let go of the files before saying so: the folder may be opened again at once.
                drop(self);
                drop(done.send(result.map_err(io::Error::other)));
                return;
            }
        }
    }

    /// Writes a batch. After the first error nothing is written any more.
    fn write(&mut self, ops: Vec<Op>) -> (WaitingList, Option<Done>) {
        let mut waiting = WaitingList::default();
        let mut closing = None;
        let mut batch = Pending::default();
        for op in ops {
            let added =
                if self.fault.borrow().is_some() { Ok(()) } else { self.add(&op, &mut batch) };
            match op {
                Op::Append { done, .. } => waiting.0.push(Waiting::Append(done)),
                Op::SaveVote { done, .. } | Op::Truncate { done, .. } | Op::Put { done, .. } => {
                    waiting.0.push(Waiting::Other(done));
                }
                Op::Close(done) => closing = Some(done),
                Op::Purge { .. } | Op::Committed(_) => {}
            }
            self.latch(added);
        }
        if self.fault.borrow().is_none() {
            let settled = self.settle(batch, !waiting.0.is_empty() || closing.is_some());
            self.latch(settled);
        }
        (waiting, closing)
    }

    fn add(&mut self, op: &Op, batch: &mut Pending) -> io::Result<()> {
        match op {
            Op::Append { entries, .. } => {
                for entry in entries {
                    let index = entry.log_id.index;
                    for (part, value) in layout::encode_entry(entry)?.into_iter().enumerate() {
                        batch.set(layout::entry_key(index, part as u16), value);
                    }
                    self.promise.last = Some(entry.log_id());
                }
            }
            Op::SaveVote { vote, .. } => {
                batch.set(layout::VOTE.to_vec(), encode(vote)?);
                self.promise.vote = Some(*vote);
            }
            Op::Truncate { from, last, .. } => {
                self.apply(std::mem::take(batch))?;
                self.promise.last = *last;
                let standing = self.vote_file.promise().clone();
                if standing.last > *last {
                    self.vote_file.save(Promise { last: *last, ..standing })?;
                }
                self.remove_entries(*from, u64::MAX, batch)?;
                self.written.fetch_min(*from, Ordering::AcqRel);
            }
            Op::Purge { upto } => {
                self.apply(std::mem::take(batch))?;
                self.remove_entries(0, upto.index, batch)?;
                batch.set(layout::PURGED.to_vec(), encode(upto)?);
                self.promise.last = self.promise.last.max(Some(*upto));
            }
            Op::Committed(committed) => batch.set(layout::COMMITTED.to_vec(), encode(committed)?),
            Op::Put { pairs, .. } => {
                for (key, value) in pairs {
                    match value {
                        Some(value) => batch.set(key.clone(), value.clone()),
                        None => batch.remove(key.clone()),
                    }
                }
            }
            Op::Close(_) => {}
        }
        Ok(())
    }

    fn remove_entries(&self, from: u64, upto: u64, batch: &mut Pending) -> io::Result<()> {
        for key in self.db.range(layout::entry_keys(from..=upto)).keys() {
            batch.remove(key?.to_vec());
        }
        Ok(())
    }

    fn apply(&self, batch: Pending) -> io::Result<()> {
        if batch.changes > 0 {
            self.db.apply_batch(batch.batch)?;
        }
        Ok(())
    }

    /// Applies what is left and, if somebody waits for it, makes all of it durable.
    fn settle(&mut self, batch: Pending, awaited: bool) -> io::Result<()> {
        self.apply(batch)?;
        self.written.store(self.promise.last.map_or(0, |last| last.index + 1), Ordering::Release);
        if awaited {
            self.db.flush()?;
            self.db_file.sync_data()?;
            self.vote_file.save(self.promise.clone())?;
        }
        Ok(())
    }

    fn latch(&self, result: io::Result<()>) {
        if let Err(error) = result {
            tracing::error!(%error, "writing the Raft store failed; nothing is acknowledged from here on");
            self.fault.send_if_modified(|fault| {
                let first = fault.is_none();
                fault.get_or_insert_with(|| format!("writing the Raft store failed: {error}"));
                first
            });
        }
    }
}

#[derive(Default)]
struct WaitingList(Vec<Waiting>);

impl WaitingList {
    fn complete_all(self, result: &Result<(), String>) {
        for waiting in self.0 {
            waiting.complete(result.clone().map_err(io::Error::other));
        }
    }
}

/// A batch that knows whether it holds anything.
#[derive(Default)]
struct Pending {
    batch: sled::Batch,
    changes: usize,
}

impl Pending {
    fn set(&mut self, key: Vec<u8>, value: Vec<u8>) {
        debug_assert!(
            value.len() <= layout::VALUE_BYTES_MAX,
            "longer values are cut by those who make them"
        );
        self.batch.insert(key, value);
        self.changes += 1;
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.batch.remove(key);
        self.changes += 1;
    }
}

/// A small value for a key under `m`.
pub fn encode<T: serde::Serialize>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_first_error_nothing_is_acknowledged() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("vote");
        VoteFile::create(&path)?;
        let db = sled::open(folder.path().join("sled"))?;
        let db_file = File::open(folder.path().join("sled/db"))?;
        let fault = watch::Sender::new(None);
        let seen = fault.subscribe();
        let writer = Writer {
            db,
            db_file,
            vote_file: VoteFile::broken(&path)?,
            fault,
            promise: Promise::default(),
            written: Arc::default(),
        };
        let (queue, ops) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || writer.run(&ops));
        let answer =
            |op: &dyn Fn(Done) -> Op| -> Result<io::Result<()>, Box<dyn std::error::Error>> {
                let (done, answer) = oneshot::channel();
                queue.send(op(done))?;
                Ok(answer.blocking_recv()?)
            };
        // Nothing to promise: nothing fails.
        assert!(answer(&|done| Op::Put { pairs: vec![(vec![1], Some(vec![2]))], done })?.is_ok());
        assert!(seen.borrow().is_none());
        assert!(answer(&|done| Op::SaveVote { vote: Vote::new(1, 1), done })?.is_err());
        let fault = seen.borrow().clone().ok_or("a fault")?;
        // And for ever, whatever it is, with the first reason.
        let later = answer(&|done| Op::Put { pairs: vec![(vec![1], None)], done })?;
        assert_eq!(later.err().map(|error| error.to_string()), Some(fault.clone()));
        assert!(answer(&Op::Close)?.is_err());
        assert_eq!(seen.borrow().as_ref(), Some(&fault));
        thread.join().map_err(|_| "the writer panicked")?;
        Ok(())
    }
}
