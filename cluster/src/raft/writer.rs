//! The one worker that writes the log.
//!
//! It drains what waits into one record of the journal, makes that durable with one write and one
//! `fdatasync`, and only then completes the callbacks. sled hears of it from the checkpointer, which
//! nobody waits for.
//!
//! One worker, since a group commit is what makes many writers cheap.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jam_world::World;
use openraft::entry::RaftEntry;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot::Receiver;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::checkpoint::{Change, Job, pace};
use super::journal::Journal;
use super::layout;
use super::types::{Entry, LogId, Types, Vote};
use super::vote_file::Promise;

/// Operations in one batch at most: bounds how long the first one waits for the rest.
const BATCH_OPS_MAX: usize = 4096;
/// With nothing to write for this long, the journal's last record is sealed, and sled hears of all.
const IDLE_AFTER: Duration = Duration::from_millis(20);
/// sled hears of changes once they have so many bytes, or are so old: one by one they would cost it a
/// multiple.
const UNTOLD_BYTES_MAX: usize = 256 << 10;
const UNTOLD_AGE_MAX: Duration = Duration::from_millis(250);

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
    /// Ends the worker once all before it is durable.
    Close(Done),
}

/// The first error of a store, for ever: nothing is acknowledged after it.
#[derive(Debug, Default)]
pub struct Fault(watch::Sender<Option<String>>);

impl Fault {
    /// Hears of it.
    pub fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }

    /// The error, once there was one.
    pub fn check(&self) -> io::Result<()> {
        match self.0.borrow().as_deref() {
            None => Ok(()),
            Some(fault) => Err(io::Error::other(fault.to_owned())),
        }
    }

    /// Keeps the first error.
    pub fn latch(&self, result: &io::Result<()>) {
        let Err(error) = result else { return };
        self.0.send_if_modified(|fault| {
            let first = fault.is_none();
            if first {
                tracing::error!(%error, "writing the Raft store failed; nothing is acknowledged from here on");
                *fault = Some(format!("writing the Raft store failed: {error}"));
            }
            first
        });
    }
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

/// The worker's own state.
pub struct Writer {
    /// The machine.
    pub world: World,
    /// What makes a write durable.
    pub journal: Journal,
    /// To the checkpointer.
    pub jobs: UnboundedSender<Job>,
    /// The first error, for ever.
    pub fault: Arc<Fault>,
    /// What the next checkpoint will promise.
    pub promise: Promise,
    /// Of the generation before this one.
    pub checkpoint: Option<Receiver<()>>,
    /// What sled has not heard of yet.
    pub untold: Untold,
}

/// Changes that wait for others, to be told together.
#[derive(Default)]
pub struct Untold {
    changes: Vec<Change>,
    bytes: usize,
    since: Option<Instant>,
}

impl Untold {
    fn add(&mut self, change: Change) {
        if let Change::Append(_, entry) = &change {
            self.bytes += entry.len();
        }
        self.changes.push(change);
    }

    fn is_due(&mut self) -> bool {
        if self.changes.is_empty() {
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        self.bytes >= UNTOLD_BYTES_MAX || since.elapsed() >= UNTOLD_AGE_MAX
    }
}

impl Writer {
    /// Runs until the store is closed or dropped.
    pub async fn run(mut self, mut queue: UnboundedReceiver<Op>) {
        loop {
            let busy = self.journal.is_unsealed() || !self.untold.changes.is_empty();
            let mut ops = Vec::new();
            let received = queue.recv_many(&mut ops, BATCH_OPS_MAX);
            let count = if busy { timeout(IDLE_AFTER, received).await } else { Ok(received.await) };
            match count {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) => {
                    self.attempt(Self::tidy);
                    continue;
                }
            }
            pace(&self.world).await;
            // What came meanwhile is written with it.
            while ops.len() < BATCH_OPS_MAX
                && let Ok(op) = queue.try_recv()
            {
                ops.push(op);
            }
            if let Some(done) = self.write(ops).await {
                if self.fault.check().is_ok() {
                    let settled = self.settle_all().await;
                    self.fault.latch(&settled);
                }
                let result = self.fault.check();
                // All files are let go of before saying so: the folder may be opened again at once.
                let (closing, closed) = oneshot::channel();
                if self.send(Job::Close { done: closing }).is_ok() {
                    // An error means that the checkpointer has ended already.
                    let _ = closed.await;
                }
                drop(self);
                drop(done.send(result));
                return;
            }
        }
    }

    /// After the first error nothing is written any more.
    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.fault.check().is_ok() {
            let result = work(self);
            self.fault.latch(&result);
        }
    }

    /// Brings all of the journal into sled.
    async fn settle_all(&mut self) -> io::Result<()> {
        self.next_generation().await?;
        self.await_checkpoint().await
    }

    /// Uses a pause.
    fn tidy(&mut self) -> io::Result<()> {
        if self.journal.is_unsealed() {
            self.journal.seal()?;
        }
        self.tell_sled()
    }

    fn tell_sled(&mut self) -> io::Result<()> {
        let untold = std::mem::take(&mut self.untold);
        if untold.changes.is_empty() { Ok(()) } else { self.send(Job::Log(untold.changes)) }
    }

    /// Writes a batch, and says so; returns who waits for the end.
    async fn write(&mut self, ops: Vec<Op>) -> Option<Done> {
        let mut waiting = Vec::new();
        let mut closing = None;
        let mut cut = false;
        if self.fault.check().is_ok() && self.journal.is_full() {
            let made_room = self.next_generation().await;
            self.fault.latch(&made_room);
        }
        for op in ops {
            match op {
                Op::Append { entries, done } => {
                    self.attempt(|this| this.add_entries(&entries));
                    waiting.push(Waiting::Append(done));
                }
                #[cfg(feature = "planted")]
                Op::SaveVote { done, .. }
                    if jam_proto::planted::Bug::ForgottenVote.is_planted() =>
                {
                    waiting.push(Waiting::Other(done));
                }
                Op::SaveVote { vote, done } => {
                    self.attempt(|this| this.add(Change::Vote(vote)));
                    waiting.push(Waiting::Other(done));
                }
                Op::Truncate { from, last, done } => {
                    self.attempt(|this| this.add(Change::Truncate { from, last }));
                    cut = true;
                    waiting.push(Waiting::Other(done));
                }
                Op::Purge { upto } => {
                    self.attempt(|this| this.add(Change::Purge(upto)));
                }
                Op::Committed(committed) => self.untold.add(Change::Committed(committed)),
                Op::Close(done) => closing = Some(done),
            }
        }
        self.attempt(|this| this.journal.sync());
        if cut && self.fault.check().is_ok() {
            let settled = self.settle_cut().await;
            self.fault.latch(&settled);
        }
        for waiting in waiting {
            waiting.complete(self.fault.check());
        }
        if self.untold.is_due() {
            self.attempt(Self::tell_sled);
        }
        closing
    }

    /// Once a cut is answered, new entries take the place of the old: sled may not be read for those
    /// then, so it must have heard of the cut.
    async fn settle_cut(&mut self) -> io::Result<()> {
        self.tell_sled()?;
        let (done, settled) = oneshot::channel();
        self.send(Job::Barrier { done })?;
        self.wait(settled).await
    }

    fn add_entries(&mut self, entries: &[Entry]) -> io::Result<()> {
        for entry in entries {
            self.add(Change::Append(entry.log_id(), layout::encode_entry(entry)?))?;
        }
        Ok(())
    }

    fn add(&mut self, change: Change) -> io::Result<()> {
        if let Some(step) = change.step() {
            self.journal.push(&step)?;
        }
        match &change {
            Change::Append(id, _) => self.promise.last = Some(*id),
            Change::Vote(vote) => self.promise.vote = Some(*vote),
            Change::Truncate { last, .. } => self.promise.last = *last,
            Change::Purge(upto) => self.promise.last = self.promise.last.max(Some(*upto)),
            Change::Committed(_) => {}
        }
        self.untold.add(change);
        Ok(())
    }

    /// The next generation begins, and this one is made durable in sled.
    async fn next_generation(&mut self) -> io::Result<()> {
        self.tell_sled()?;
        self.await_checkpoint().await?;
        self.promise.journal = self.journal.generation();
        self.journal.next_generation()?;
        let (done, checkpoint) = oneshot::channel();
        self.checkpoint = Some(checkpoint);
        self.send(Job::Checkpoint { promise: self.promise.clone(), done })
    }

    async fn await_checkpoint(&mut self) -> io::Result<()> {
        match self.checkpoint.take() {
            Some(checkpoint) => self.wait(checkpoint).await,
            None => Ok(()),
        }
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).map_err(|_| ended())
    }

    async fn wait(&self, done: Receiver<()>) -> io::Result<()> {
        done.await.map_err(|_| self.fault.check().err().unwrap_or_else(ended))
    }
}

fn ended() -> io::Error {
    io::Error::other("the checkpointer has ended")
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn after_the_first_error_nothing_is_acknowledged()
    -> Result<(), Box<dyn std::error::Error>> {
        let (world, folder) = (World::real(), tempfile::tempdir()?);
        let fault = Arc::<Fault>::default();
        let seen = fault.subscribe();
        let (jobs, ended) = unbounded_channel();
        drop(ended);
        let writer = Writer {
            journal: Journal::broken(world.disk.as_ref(), folder.path())?,
            world,
            jobs,
            fault,
            promise: Promise::default(),
            checkpoint: None,
            untold: Untold::default(),
        };
        let (queue, ops) = unbounded_channel();
        let running = tokio::spawn(writer.run(ops));
        let ask = async |op: Box<dyn FnOnce(Done) -> Op>| {
            let (done, answer) = oneshot::channel();
            queue.send(op(done)).map_err(|_| "the writer has ended")?;
            answer.await.map_err(|_| "the writer has ended")
        };
        assert!(seen.borrow().is_none());
        assert!(ask(Box::new(|done| Op::SaveVote { vote: Vote::new(1, 1), done })).await?.is_err());
        let fault = seen.borrow().clone().ok_or("a fault")?;
        // And for ever, whatever it is, with the first reason.
        let later = ask(Box::new(|done| Op::Truncate { from: 1, last: None, done })).await?;
        assert_eq!(later.err().map(|error| error.to_string()), Some(fault.clone()));
        assert!(ask(Box::new(Op::Close)).await?.is_err());
        assert_eq!(seen.borrow().as_ref(), Some(&fault));
        running.await?;
        Ok(())
    }
}
