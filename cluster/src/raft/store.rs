//! The store of one Raft group: sled, the journal, the vote file, and the workers that write them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use jam_world::{Database, World};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use super::checkpoint::{Checkpointer, Job};
use super::log::{Log, Memory, after};
use super::recover::{Opened, walk};
use super::snapshots::Snapshots;
use super::types::Entry;
use super::writer::{Fault, Op, Untold, Writer};

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
    /// A newer build wrote it.
    #[error(
        "the Raft store in {folder} was written by a newer build ({what}). Nothing is lost: install the build that the \
         other nodes run, and start it again on this folder"
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// What this build can't read.
        what: String,
    },
    /// The term of the last vote is so high that there is hardly one behind it.
    #[error(
        "the last vote of this node is of term {term}, which no election reaches: a forged message set it, and no term can \
         follow it. Move the data folder away, run `jam --servers … cluster replace {place}` against the other nodes, and \
         start jamd again with an empty folder"
    )]
    TermTooHigh {
        /// The `--id` of this node.
        place: u64,
        /// The term.
        term: u64,
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
    /// The machine.
    pub world: World,
    /// Gone once the store is closed.
    db: ArcSwapOption<Arc<dyn Database>>,
    queue: UnboundedSender<Op>,
    jobs: UnboundedSender<Job>,
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
    /// Opens the store in `folder`, or makes one, with journal files of `journal_bytes`. Needs tokio's runtime.
    pub async fn open(
        world: &World,
        folder: &Path,
        place: u64,
        journal_bytes: usize,
    ) -> Result<Self, StoreError> {
        let (asked, path) = (world.clone(), folder.to_owned());
        let opened =
            world.blocking(move || Opened::open(&asked, &path, place, journal_bytes)).await;
        let io = |source| StoreError::Io { folder: folder.to_owned(), source };
        Self::start(world, opened.map_err(io)??).map_err(io)
    }

    fn start(world: &World, opened: Opened) -> io::Result<Self> {
        let Opened { db, vote_file, journal, memory, promise } = opened;
        let (queue, ops) = unbounded_channel();
        let (jobs, todo) = unbounded_channel();
        let fault = Arc::<Fault>::default();
        let written = Arc::new(AtomicU64::new(after(promise.last)));
        let shared = Shared {
            world: world.clone(),
            db: ArcSwapOption::from_pointee(db.clone()),
            queue,
            jobs: jobs.clone(),
            memory: Mutex::new(memory),
            written: written.clone(),
            fault: fault.clone(),
        };
        let writer = Writer {
            world: world.clone(),
            journal,
            jobs,
            fault: fault.clone(),
            promise,
            checkpoint: None,
            untold: Untold::default(),
        };
        let checkpointer = Checkpointer { world: world.clone(), db, vote_file, fault, written };
        world.worker("raft-store", Box::pin(writer.run(ops)))?;
        world.worker("raft-checkpoint", Box::pin(checkpointer.run(todo)))?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The term of the last vote that is durable; 0: none.
    pub fn term(&self) -> u64 {
        super::log::lock(&self.shared.memory).vote.map_or(0, |vote| vote.leader_id.term)
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
    pub fn with_db<T>(&self, look: impl FnOnce(&dyn Database) -> io::Result<T>) -> io::Result<T> {
        look(self.db.load_full().ok_or_else(stopped)?.as_ref().as_ref())
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
