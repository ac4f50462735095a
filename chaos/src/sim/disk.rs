//! The disk of a simulated machine: what it holds, what it loses, and how it fails.
//!
//! A process writes into a cache. A killed process loses nothing of it; a power cut loses what was not synced, each file,
//! folder and database by draws of its own. What each of them may lose is at the top of `content`, `names` and `database`.

mod content;
mod database;
mod faults;
mod handle;
mod names;
mod open_file;
mod state;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Clocks;
pub use faults::{Event, Pace, Tally};
use names::Entry;
pub(super) use state::Life;
use state::State;

/// A disk, as the director of a simulation sees it.
pub struct Disk {
    state: Mutex<State>,
    clocks: Arc<Clocks>,
}

impl Disk {
    pub(super) fn new(seed: u64, machine: &str, clocks: Arc<Clocks>) -> Self {
        Self { state: Mutex::new(State::new(seed, machine)), clocks }
    }

    /// Makes a folder that a power cut doesn't take, as an operator would before anything is started.
    pub fn install_folder(&self, path: &Path) {
        let mut state = self.state();
        state.names.make_folders(path);
        for folder in names::clean(path).ancestors() {
            state.names.sync(folder);
        }
    }

    /// The power goes at the `k`th change or sync from now, counted from 1: that one is left half done, and all that
    /// follow fail. The cut itself is [`Machine::cut_power`](super::Machine::cut_power), once the step is over.
    pub fn light_fuse(&self, k: u64) {
        self.state().faults.fuse_in = Some(k.max(1));
    }

    /// Whether there is no power.
    pub fn is_dark(&self) -> bool {
        self.state().is_dark
    }

    /// From the `k`th operation from now on, counted from 1, all fail with an I/O error.
    pub fn fail_at(&self, k: u64) {
        self.state().faults.io_error_in = Some(k.max(1));
    }

    /// How many bytes fit onto it, all files and databases together. None: any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().faults.capacity_bytes = bytes;
    }

    /// How long it takes.
    pub fn set_pace(&self, pace: Pace) {
        self.state().faults.pace = pace;
    }

    /// Ends I/O errors, and puts out a fuse that has not burnt down. Pace and capacity stay: they are properties.
    pub fn heal(&self) {
        self.state().faults.heal();
    }

    /// Flips some bits of one byte of a file, for good. Where; `None` if there is no such byte.
    pub fn flip_byte(&self, path: &Path) -> Option<usize> {
        let mut state = self.state();
        let State { names, files, draws, .. } = &mut *state;
        let Some(Entry::File(id)) = names.find(path) else { return None };
        let at = files.get_mut(&id)?.flip(draws)?;
        state.tally.count(Event::Flipped, 1);
        Some(at)
    }

    /// What a file holds, as a process would read it; `None` if there is none.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let Some(Entry::File(id)) = state.names.find(path) else { return None };
        state.files.get(&id).map(|content| content.now.clone())
    }

    /// Gives a file that is there other bytes, durably.
    pub fn replace(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let State { names, files, .. } = &mut *state;
        if let Some(Entry::File(id)) = names.find(path)
            && let Some(content) = files.get_mut(&id)
        {
            content.replace(bytes);
        }
    }

    /// All files in a folder and below, by name.
    pub fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let (state, folder) = (self.state(), names::clean(folder));
        let files = state.names.all().filter(|(_, entry)| matches!(entry, Entry::File(_)));
        files.map(|(path, _)| path.to_owned()).filter(|path| path.starts_with(&folder)).collect()
    }

    /// Takes back as many durable batches of every database, as one does that finds damage in its middle. How many it
    /// took back. No process may be running.
    pub fn set_back_databases(&self, batches: u64) -> u64 {
        let mut state = self.state();
        assert!(!state.has_process(), "a database goes back between two processes");
        let gone = state.databases.values_mut().map(|store| store.set_back(batches)).sum();
        state.tally.count(Event::BatchSetBack, gone);
        gone
    }

    /// Replaces it by an empty one. No process may be running.
    pub fn wipe(&self) {
        let mut state = self.state();
        assert!(!state.has_process(), "a disk is replaced between two processes");
        state.names = names::Names::new();
        state.files.clear();
        state.databases.clear();
        state.tally.count(Event::Wiped, 1);
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// Changes of files and databases that a power cut could take now.
    pub fn unsynced(&self) -> usize {
        self.state().unsynced()
    }

    /// What happened to it so far.
    pub fn tally(&self) -> Tally {
        self.state().tally.clone()
    }

    /// Waits for as long as the disk takes for an operation.
    pub async fn pace(&self) {
        let wait = self.state().pace();
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
    }

    pub(super) fn begin_life(&self) -> Life {
        self.state().begin_life()
    }

    pub(super) fn end_life(&self) {
        self.state().end_life();
    }

    pub(super) fn check_life(&self, life: Life) -> io::Result<()> {
        self.state().check(life)
    }

    /// Whether a life has not ended.
    pub(super) fn goes_on(&self, life: Life) -> bool {
        self.state().goes_on(life)
    }

    pub(super) fn handle(self: &Arc<Self>, life: Life) -> handle::Handle {
        handle::Handle::new(self.clone(), life)
    }

    pub(super) fn cut_power(&self) {
        self.state().cut_power();
    }

    pub(super) fn power_up(&self) {
        let mut state = self.state();
        if state.is_dark && !state.was_cut {
            // A fuse blew, and nobody has judged yet what it left.
            state.cut_power();
        }
        state.is_dark = false;
        state.was_cut = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not all the bytes that it holds.
        f.debug_struct("Disk").field("used_bytes", &self.used_bytes()).finish_non_exhaustive()
    }
}
