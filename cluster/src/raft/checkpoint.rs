//! The worker that brings sled up to date, behind the journal's back.
//!
//! What it does takes long (milliseconds, on a slow disk seconds) and nobody on a command's way waits
//! for it: it tells sled what the journal has, a good deal at a time, makes that durable once a
//! generation of the journal is full, keeps snapshots, and removes what they cover.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jam_world::{Database, World};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot::Sender;

use super::journal::Step;
use super::layout;
use super::log::after;
use super::pending::{Pending, encode};
use super::types::{LogId, Vote};
use super::vote_file::{Promise, VoteFile};
use super::writer::{Done, Fault};

/// Keys removed in one batch, so that the log's own writes get in between.
const KEYS_PER_BATCH: usize = 512;

/// A change that the journal has, unless it says otherwise.
pub enum Change {
    /// An entry at the end, and its encoding.
    Append(LogId, Vec<u8>),
    /// A vote.
    Vote(Vote),
    /// The entries from `from` to the end are gone.
    Truncate {
        /// The first one to go.
        from: u64,
        /// The last log id afterwards.
        last: Option<LogId>,
    },
    /// The entries up to this one are gone.
    Purge(LogId),
    /// How far the log is committed. Not in the journal: it may be lost.
    Committed(LogId),
}

impl Change {
    /// As the journal has it.
    pub fn step(&self) -> Option<Step<'_>> {
        Some(match self {
            Self::Append(id, bytes) => Step::Append { id: *id, entry: bytes },
            Self::Vote(vote) => Step::Vote(*vote),
            Self::Truncate { from, last } => Step::Truncate { from: *from, last: *last },
            Self::Purge(upto) => Step::Purge(*upto),
            Self::Committed(_) => return None,
        })
    }
}

/// What is to be done. Jobs are done in order.
pub enum Job {
    /// Tells sled.
    Log(Vec<Change>),
    /// Makes all that sled was told durable, and then the promise that it is.
    Checkpoint {
        /// What sled has from here on.
        promise: Promise,
        /// Told when it is done; dropped if it failed.
        done: Sender<()>,
    },
    /// Sets and removes keys that are not the log's, durably.
    Put {
        /// Keys with their new values; `None` removes.
        pairs: Vec<(Vec<u8>, Option<Vec<u8>>)>,
        /// When it is durable.
        done: Done,
    },
    /// Nothing: all jobs before it are done.
    Barrier {
        /// Told when it is its turn.
        done: Sender<()>,
    },
    /// Lets go of the files and ends the worker.
    Close {
        /// Told when it is done.
        done: Sender<()>,
    },
}

/// The worker's own state.
pub struct Checkpointer {
    /// The machine.
    pub world: World,
    /// The database.
    pub db: Arc<dyn Database>,
    /// The small file beside it.
    pub vote_file: VoteFile,
    /// The first error, for ever.
    pub fault: Arc<Fault>,
    /// sled knows every entry of the log below this index.
    pub written: Arc<AtomicU64>,
}

impl Checkpointer {
    /// Runs until it is closed, or nobody can send jobs any more.
    pub async fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        while let Some(job) = jobs.recv().await {
            pace(&self.world).await;
            match job {
                // The latch holds the reason of a failure.
                Job::Log(changes) => drop(self.attempt(|this| this.log(changes))),
                Job::Checkpoint { promise, done } => {
                    if self.attempt(|this| this.checkpoint(promise)).is_ok() {
                        // The writer waits for it, or has ended.
                        let _ = done.send(());
                    }
                }
                Job::Put { pairs, done } => {
                    // Whoever asked may have gone; what is durable stays so.
                    let _ = done.send(self.attempt(|this| this.put(pairs)));
                }
                Job::Barrier { done } => drop(done.send(())),
                Job::Close { done } => {
                    drop(self);
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// After the first error nothing is written any more.
    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.fault.check()?;
        let result = work(self);
        self.fault.latch(&result);
        result
    }

    fn checkpoint(&mut self, promise: Promise) -> io::Result<()> {
        self.db.sync()?;
        self.vote_file.save(promise)
    }

    fn log(&mut self, changes: Vec<Change>) -> io::Result<()> {
        let mut batch = Pending::default();
        let mut written = None;
        let mut purged = None;
        for change in changes {
            match &change {
                Change::Append(id, _) => written = Some(after(Some(*id))),
                Change::Truncate { from, last } => {
                    // The promise falls first, so that sled is never behind it.
                    self.lower(*last)?;
                    self.written.fetch_min(*from, Ordering::AcqRel);
                    written = None;
                }
                Change::Purge(upto) => purged = Some(*upto),
                Change::Committed(id) => batch.set(layout::COMMITTED.to_vec(), encode(id)?),
                Change::Vote(_) => {}
            }
            if let Some(step) = change.step() {
                batch.step(&step, self.db.as_ref())?;
            }
        }
        batch.apply(self.db.as_ref())?;
        if let Some(written) = written {
            self.written.store(written, Ordering::Release);
        }
        // Only now: were the entries removed before sled knows that they are purged, a power cut in between would
        // leave a log that ends before what was promised.
        if let Some(upto) = purged {
            self.purge(upto)?;
        }
        Ok(())
    }

    fn lower(&mut self, last: Option<LogId>) -> io::Result<()> {
        let standing = self.vote_file.promise().clone();
        if standing.last <= last {
            return Ok(());
        }
        self.vote_file.save(Promise { last, ..standing })
    }

    fn put(&self, pairs: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> io::Result<()> {
        let mut batch = Pending::default();
        for (key, value) in pairs {
            match value {
                Some(value) => batch.set(key, value),
                None => batch.remove(key),
            }
        }
        batch.apply(self.db.as_ref())?;
        self.db.sync()
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        loop {
            let keys = self.db.keys(layout::entry_keys(0..=upto.index), KEYS_PER_BATCH)?;
            if keys.is_empty() {
                return Ok(());
            }
            self.db.apply(keys.into_iter().map(|key| (key, None)).collect())?;
        }
    }
}

/// A simulated disk takes its time here.
pub async fn pace(world: &World) {
    if let Some(pause) = world.disk.pace() {
        tokio::time::sleep(pause).await;
    }
}
