//! The Raft log as openraft sees it: recent entries in memory, all of them in sled.
//!
//! An entry can be read as soon as it was handed to the writer. The tail in memory is what
//! replication and the state machine nearly always read; only a node far behind, and a restart,
//! read from sled.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::layout;
use super::store::Shared;
use super::types::{Entry, LogId, Types, Vote};
use super::writer::Op;

/// Entries kept in memory once they are on disk.
const TAIL_ENTRIES_MAX: usize = 4096;
/// Their encoded size, roughly.
const TAIL_BYTES_MAX: usize = 2 << 20;
/// Size of one message of log entries, roughly. One entry may exceed it alone.
const READ_BYTES_MAX: usize = 1 << 20;

/// What is known of the log without asking the disk.
#[derive(Debug, Default)]
pub struct Memory {
    /// The last vote.
    pub vote: Option<Vote>,
    /// How far the log was known to be committed.
    pub committed: Option<LogId>,
    /// The last log id that was purged.
    pub purged: Option<LogId>,
    /// The last log id; the purged one if the log is empty.
    pub last: Option<LogId>,
    /// Index of the first entry; `None` if there is no entry.
    pub first: Option<u64>,
    /// The newest entries, without a hole, up to `last`.
    tail: VecDeque<Entry>,
    tail_bytes: usize,
}

impl Memory {
    /// The first and the last index in the log; nothing if it is empty.
    fn bounds(&self) -> Option<(u64, u64)> {
        Some((self.first?, self.last?.index))
    }

    fn push(&mut self, entry: Entry) {
        self.first.get_or_insert(entry.log_id.index);
        self.last = Some(entry.log_id());
        self.tail_bytes += size(&entry);
        self.tail.push_back(entry);
    }

    /// Forgets the oldest entries above the limits, if sled has them: it has all below `written`.
    fn trim(&mut self, written: u64) {
        while self.tail.len() > TAIL_ENTRIES_MAX || self.tail_bytes > TAIL_BYTES_MAX {
            if self.tail.front().is_none_or(|oldest| oldest.log_id.index >= written) {
                return;
            }
            let oldest = self.tail.pop_front();
            self.tail_bytes -= oldest.as_ref().map_or(0, size);
        }
    }

    fn truncate(&mut self, from: u64, last: Option<LogId>) {
        while self.tail.back().is_some_and(|newest| newest.log_id.index >= from) {
            let newest = self.tail.pop_back();
            self.tail_bytes -= newest.as_ref().map_or(0, size);
        }
        self.first = self.first.filter(|first| *first < from);
        self.last = last;
    }

    fn purge(&mut self, upto: LogId) {
        while self.tail.front().is_some_and(|oldest| oldest.log_id.index <= upto.index) {
            let oldest = self.tail.pop_front();
            self.tail_bytes -= oldest.as_ref().map_or(0, size);
        }
        let end = self.last.map_or(0, |last| last.index);
        self.first =
            self.first.map(|first| first.max(after(Some(upto)))).filter(|first| *first <= end);
        self.purged = self.purged.max(Some(upto));
        self.last = self.last.max(Some(upto));
    }

    /// The entries of `first..=last`, if all are in the tail.
    fn read(&self, first: u64, last: u64) -> Option<Vec<Entry>> {
        let start = self.tail.front()?.log_id.index;
        let skip = first.checked_sub(start)? as usize;
        let end = usize::try_from(last.checked_sub(start)?).ok()?.checked_add(1)?;
        (skip < end && end <= self.tail.len())
            .then(|| self.tail.range(skip..end).cloned().collect())
    }
}

/// The index behind a log id; the first one behind none.
pub fn after(last: Option<LogId>) -> u64 {
    last.map_or(0, |last| last.index.saturating_add(1))
}

fn size(entry: &Entry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => 64 + proposal.encoded_len(),
        _ => 256,
    }
}

/// Openraft's way to the log. Clones share it.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

impl Log {
    /// The log of an open store.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.shared.memory)
    }

    async fn durable(
        &self,
        op: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Op,
    ) -> io::Result<()> {
        self.shared.durable(op).await
    }
}

/// Locks the memory. Nothing in here panics half-way through a change.
pub fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let memory = self.memory();
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        self.durable(|done| Op::SaveVote { vote, done }).await?;
        self.memory().vote = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        self.memory().committed = Some(committed);
        self.shared.send(Op::Committed(committed))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.memory().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        if entries.is_empty() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        {
            let mut memory = self.memory();
            for entry in &entries {
                memory.push(entry.clone());
            }
            memory.trim(self.shared.written.load(Ordering::Acquire));
        }
        self.shared.send(Op::Append { entries, done: callback })
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = after(last);
        let last = {
            let mut memory = self.memory();
            if last >= memory.last {
                return Ok(());
            }
            let last = last.max(memory.purged);
            memory.truncate(from, last);
            last
        };
        self.durable(|done| Op::Truncate { from, last, done }).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.memory().purge(upto);
        self.shared.send(Op::Purge { upto })
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => *end,
            Bound::Excluded(0) => return Ok(Vec::new()),
            Bound::Excluded(end) => end - 1,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.memory().vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let mut entries = self.read(start, end.saturating_sub(1), READ_BYTES_MAX).await?;
        let mut bytes = 0;
        let fitting = entries.iter().take_while(|entry| {
            bytes += size(entry);
            bytes <= READ_BYTES_MAX
        });
        let count = fitting.count().max(1);
        entries.truncate(count);
        Ok(entries)
    }
}

impl Log {
    /// What the log holds of `first..=last`, without a hole; from the disk, it stops once `budget`
    /// bytes are read.
    ///
    /// The newest entries may be in memory only: they are on their way to the disk. So what the
    /// tail has is taken from there, and only what lies before it from the disk.
    async fn read(&self, first: u64, last: u64, budget: usize) -> io::Result<Vec<Entry>> {
        let (first, disk_last, tail) = {
            let memory = self.memory();
            let Some((start, end)) = memory.bounds() else { return Ok(Vec::new()) };
            let (first, last) = (first.max(start), last.min(end));
            if first > last {
                return Ok(Vec::new());
            }
            if let Some(entries) = memory.read(first, last) {
                return Ok(entries);
            }
            match memory.tail.front().map(|oldest| oldest.log_id.index) {
                Some(tail) if tail <= last => {
                    let tail_entries = memory.read(tail, last).unwrap_or_default();
                    (first, tail - 1, tail_entries)
                }
                _ => (first, last, Vec::new()),
            }
        };
        let shared = self.shared.clone();
        let read = move || shared.read_entries(first, disk_last, budget);
        let (mut entries, cut) = self.shared.world.try_blocking(read).await?;
        // What was purged or truncated while it was read may be missing at the ends; nothing else
        // may: a hole here would be a committed entry that is never applied.
        let Some((start, end)) = self.memory().bounds() else { return Ok(Vec::new()) };
        let index = |entry: &Entry| entry.log_id.index;
        let expected = first.max(start);
        let upto = disk_last.min(end);
        let begins = entries.first().map_or(expected > upto, |entry| index(entry) <= expected);
        if !begins {
            return Err(layout::damaged(&format!("log entry {expected}")));
        }
        if cut {
            return Ok(entries);
        }
        if let Some(newest) = entries.last().map(index)
            && newest < upto
        {
            return Err(layout::damaged(&format!("the log entry after {newest}")));
        }
        entries.extend(tail);
        Ok(entries)
    }
}
