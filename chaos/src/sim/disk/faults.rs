//! How a disk fails, and what came of it.

use std::collections::BTreeMap;
use std::fmt;

/// What is wrong with a disk.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// This many operations from now the first one fails, and all that follow.
    pub(super) io_error_in: Option<u64>,
    /// This many changes from now the power goes.
    pub(super) fuse_in: Option<u64>,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) pace: Pace,
}

impl Faults {
    pub(super) fn heal(&mut self) {
        self.io_error_in = None;
        self.fuse_in = None;
    }

    /// Counts an operation; whether it fails.
    pub(super) fn is_io_error(&mut self) -> bool {
        match &mut self.io_error_in {
            Some(1) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Counts a change; whether the power goes at it.
    pub(super) fn is_blown(&mut self) -> bool {
        match &mut self.fuse_in {
            Some(1) => {
                self.fuse_in = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

/// How long an operation takes. The default: no time at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// In the mean, without stalls. What is below a millisecond adds up until it is one.
    pub mean_us: u64,
    /// One operation in so many stalls; 0: none.
    pub stall_one_in: u64,
    /// For up to so long.
    pub stall_ms_max: u64,
}

/// Something that happened to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Bytes were written into a file.
    Write,
    /// A file was synced.
    Sync,
    /// A folder was synced.
    SyncFolder,
    /// A batch was told to a database.
    Batch,
    /// A database was synced.
    BatchSync,
    /// A process ended while something was not synced.
    KilledUnsynced,
    /// The power was cut.
    PowerCut,
    /// The power went within a step, at a change.
    FuseBlew,
    /// At a power cut, a file kept what was not synced.
    FileKept,
    /// At a power cut, a file lost what was not synced.
    FileDropped,
    /// At a power cut, a file kept some of what was not synced.
    FileTorn,
    /// At a power cut, a change of a name was lost.
    NameLost,
    /// At a power cut, a database lost a batch that was not synced.
    BatchLost,
    /// An operation failed with an I/O error.
    IoError,
    /// A write found no room.
    Full,
    /// A byte was flipped.
    Flipped,
    /// A database lost a durable batch.
    BatchSetBack,
    /// All was lost.
    Wiped,
}

/// How often each thing happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<Event, u64>);

impl Tally {
    pub(super) fn count(&mut self, event: Event, times: u64) {
        if times > 0 {
            *self.0.entry(event).or_default() += times;
        }
    }

    /// How often it happened.
    pub fn of(&self, event: Event) -> u64 {
        self.0.get(&event).copied().unwrap_or(0)
    }

    /// Adds what happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (event, times) in &other.0 {
            self.count(*event, *times);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (event, times)) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { ", " };
            write!(f, "{gap}{event:?} {times}")?;
        }
        Ok(())
    }
}
