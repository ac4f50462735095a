//! What a disk holds, and the gate that every operation of a process goes through.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jam_world::Meta;

use super::content::{Content, Fate};
use super::database::Store;
use super::faults::{Event, Faults, Tally};
use super::names::{Entry, Names};
use crate::seed::Stream;

/// One run of a process on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(u64);

/// All of a disk.
#[derive(Debug)]
pub(super) struct State {
    /// The last one that began, and whether it goes on.
    life: Life,
    is_alive: bool,
    pub(super) is_dark: bool,
    /// What was not durable has been judged.
    pub(super) was_cut: bool,
    pub(super) names: Names,
    pub(super) files: BTreeMap<u64, Content>,
    pub(super) databases: BTreeMap<u64, Store>,
    /// The last number of a file or a database.
    last_number: u64,
    /// Locked files, and who did it.
    locks: BTreeMap<u64, u64>,
    last_lock: u64,
    pub(super) faults: Faults,
    /// For what is lost and damaged.
    pub(super) draws: Stream,
    /// For how long things take.
    pace_draws: Stream,
    owed_us: u64,
    pub(super) tally: Tally,
}

impl State {
    pub(super) fn new(seed: u64, machine: &str) -> Self {
        Self {
            life: Life(0),
            is_alive: false,
            is_dark: false,
            was_cut: false,
            names: Names::new(),
            files: BTreeMap::new(),
            databases: BTreeMap::new(),
            last_number: 0,
            locks: BTreeMap::new(),
            last_lock: 0,
            faults: Faults::default(),
            draws: Stream::new(seed, &format!("disk of {machine}")),
            pace_draws: Stream::new(seed, &format!("pace of the disk of {machine}")),
            owed_us: 0,
            tally: Tally::default(),
        }
    }

    pub(super) fn begin_life(&mut self) -> Life {
        self.end_life();
        self.life.0 += 1;
        self.is_alive = true;
        self.life
    }

    pub(super) fn end_life(&mut self) {
        if std::mem::take(&mut self.is_alive) && self.unsynced() > 0 {
            self.tally.count(Event::KilledUnsynced, 1);
        }
        self.locks.clear();
        // A file without a name lives as long as somebody has it open.
        let mut named: Vec<Entry> = self.names.entries().collect();
        named.sort_unstable_by_key(|entry| entry.number());
        let is_named =
            |number: u64| named.binary_search_by_key(&Some(number), |entry| entry.number()).is_ok();
        self.files.retain(|number, _| is_named(*number));
        self.databases.retain(|number, _| is_named(*number));
    }

    pub(super) fn has_process(&self) -> bool {
        self.is_alive
    }

    pub(super) fn goes_on(&self, life: Life) -> bool {
        self.is_alive && life == self.life
    }

    /// Whether a life goes on and there is power.
    pub(super) fn check(&self, life: Life) -> io::Result<()> {
        if !self.goes_on(life) {
            return Err(io::Error::other("this process has ended"));
        }
        if self.is_dark { Err(dark()) } else { Ok(()) }
    }

    /// Begins an operation of a process.
    pub(super) fn begin(&mut self, life: Life) -> io::Result<()> {
        self.check(life)?;
        if self.faults.is_io_error() {
            self.tally.count(Event::IoError, 1);
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }

    /// An operation that changes what is in the cache. If the power goes at it, it was under way: what becomes of it is
    /// drawn at the power cut.
    pub(super) fn change<T>(
        &mut self,
        life: Life,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        self.begin(life)?;
        self.is_dark = self.faults.is_blown();
        let done = act(self);
        if self.is_dark {
            self.tally.count(Event::FuseBlew, 1);
            return Err(dark());
        }
        done
    }

    /// An operation that makes things durable. If the power goes at it, they may or may not be.
    pub(super) fn sync(&mut self, life: Life, act: impl FnOnce(&mut Self)) -> io::Result<()> {
        self.begin(life)?;
        if self.faults.is_blown() {
            self.is_dark = true;
            self.tally.count(Event::FuseBlew, 1);
            return Err(dark());
        }
        act(self);
        Ok(())
    }

    pub(super) fn cut_power(&mut self) {
        self.is_dark = true;
        self.was_cut = true;
        self.faults.fuse_in = None;
        self.tally.count(Event::PowerCut, 1);
        for file in self.files.values_mut() {
            match file.cut_power(&mut self.draws) {
                Fate::Safe => {}
                Fate::Kept => self.tally.count(Event::FileKept, 1),
                Fate::Dropped => self.tally.count(Event::FileDropped, 1),
                Fate::Torn => self.tally.count(Event::FileTorn, 1),
            }
        }
        for store in self.databases.values_mut() {
            self.tally.count(Event::BatchLost, store.cut_power(&mut self.draws));
        }
        let lost = self.names.cut_power(&mut self.draws);
        self.tally.count(Event::NameLost, lost);
    }

    /// How long the next operation takes.
    pub(super) fn pace(&mut self) -> Duration {
        let pace = self.faults.pace;
        self.owed_us += self.pace_draws.below(2 * pace.mean_us + 1);
        if pace.stall_one_in > 0 && self.pace_draws.one_in(pace.stall_one_in) {
            self.owed_us += 1000 * self.pace_draws.below(pace.stall_ms_max + 1);
        }
        let whole_ms = self.owed_us / 1000;
        self.owed_us %= 1000;
        Duration::from_millis(whole_ms)
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Locks a file; by which number the lock goes. `None` if it is locked.
    pub(super) fn lock(&mut self, file: u64) -> Option<u64> {
        if self.locks.contains_key(&file) {
            return None;
        }
        self.last_lock += 1;
        self.locks.insert(file, self.last_lock);
        Some(self.last_lock)
    }

    /// Ends a lock, unless that was ended with its process.
    pub(super) fn unlock(&mut self, file: u64, lock: u64) {
        if self.locks.get(&file) == Some(&lock) {
            self.locks.remove(&file);
        }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let held = self.names.all().map(|(_, entry)| match entry {
            Entry::Folder => 0,
            Entry::File(file) => self.files.get(&file).map_or(0, |file| file.now.len() as u64),
            Entry::Database(number) => self.databases.get(&number).map_or(0, Store::bytes),
        });
        held.sum()
    }

    /// How many bytes still fit.
    pub(super) fn room_bytes(&self) -> u64 {
        let capacity = self.faults.capacity_bytes;
        capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used_bytes()))
    }

    pub(super) fn full(&mut self) -> io::Error {
        self.tally.count(Event::Full, 1);
        io::Error::from_raw_os_error(libc::ENOSPC)
    }

    pub(super) fn unsynced(&self) -> usize {
        let files = self.files.values().map(Content::unsynced);
        files.chain(self.databases.values().map(Store::untold)).sum()
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<u64> {
        match self.names.find(path) {
            Some(Entry::File(number)) => Ok(number),
            Some(_) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn folder(&self, path: &Path) -> io::Result<()> {
        match self.names.find(path) {
            Some(Entry::Folder) => Ok(()),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn content(&mut self, number: u64) -> io::Result<&mut Content> {
        self.files.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn store(&mut self, number: u64) -> io::Result<&mut Store> {
        self.databases.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn meta(&self, entry: Entry) -> Meta {
        let nothing = Meta { len: 0, modified: SystemTime::UNIX_EPOCH, is_folder: false };
        match entry {
            Entry::Folder => Meta { is_folder: true, ..nothing },
            Entry::File(number) => self.files.get(&number).map_or(nothing, |file| Meta {
                len: file.now.len() as u64,
                modified: file.modified,
                is_folder: false,
            }),
            Entry::Database(number) => {
                let bytes = self.databases.get(&number).map_or(0, Store::bytes);
                Meta { len: bytes, ..nothing }
            }
        }
    }
}

impl Entry {
    fn number(self) -> Option<u64> {
        match self {
            Self::Folder => None,
            Self::File(number) | Self::Database(number) => Some(number),
        }
    }
}

fn dark() -> io::Error {
    io::Error::other("the power is off")
}
