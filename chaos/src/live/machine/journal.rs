//! What a run would leave behind on the machine, written down before it is done.
//!
//! JSON lines, each synced. A journal lies in a folder that all runs of one user share, under a name that
//! says which process keeps it, so that the next run finds those whose process is gone ([`super::tidy`]).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::process::Process;
use super::undo::undo;

/// Processes that a run starts carry this, with [`Journal::mark`] as its value.
pub const MARK: &str = "JAM_CHAOS_RUN";

/// How many this process began.
static JOURNALS: AtomicU32 = AtomicU32::new(0);

/// Something that stays until it is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leftover {
    /// A file; removed.
    File(PathBuf),
    /// A folder; removed once it is empty.
    Folder(PathBuf),
    /// Loop devices of this file; detached.
    Loop(PathBuf),
    /// What is mounted here; unmounted.
    Mount(PathBuf),
    /// A limit on a device; lifted.
    Throttle {
        /// Where limits are told.
        file: PathBuf,
        /// The device, `MAJOR:MINOR`.
        device: String,
        /// The limit, as it was told.
        limit: u64,
    },
    /// A process that was stopped; continued.
    Stopped(Process),
    /// A process that this run's strace is attached to; detached.
    Traced(Process),
    /// A process that was started; killed. One that carries the run's mark need not be noted.
    Started(Process),
    /// What libfaketime leaves in `/dev/shm` of processes that were killed since then, in seconds of the
    /// wall clock; removed.
    FakedTime {
        /// When the first of them may have started.
        since_s: u64,
    },
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// Is about to be done.
    Left(u64, Leftover),
    /// Was undone.
    Undone(u64),
}

/// Something that was noted.
#[derive(Debug)]
#[must_use = "what is noted must be undone"]
pub struct Note {
    number: u64,
    left: Leftover,
}

/// A journal that is being kept. Its file goes with it if all was undone.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    mark: String,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    file: File,
    last: u64,
    open: BTreeSet<u64>,
}

/// The folder of this user's journals: `jam-chaos/active` in the state folder, which survives the end of a login
/// as mounts do.
pub fn folder() -> anyhow::Result<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")));
    let state = state.context("set HOME or XDG_STATE_HOME: active faults are noted there")?;
    Ok(state.join("jam-chaos/active"))
}

impl Journal {
    /// Begins one for this process, in a folder that is made if it is not there.
    pub fn begin(folder: &Path) -> anyhow::Result<Arc<Self>> {
        let place = || format!("can't keep a journal of faults in {}", folder.display());
        fs::create_dir_all(folder).with_context(place)?;
        let own = Process::own()?;
        // Unique in this process, whatever the folder: what carries the mark of one is killed for it.
        let (path, mark, file) = loop {
            let number = JOURNALS.fetch_add(1, Relaxed);
            let mark = format!("{}-{}-{number}", own.pid, own.started_ticks);
            let path = folder.join(format!("{mark}.jsonl"));
            match File::options().append(true).create_new(true).open(&path) {
                Ok(file) => break (path, mark, file),
                // Of an earlier start of the machine.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(place),
            }
        };
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(place)?;
        let book = Book { file, last: 0, open: BTreeSet::new() };
        Ok(Arc::new(Self { path, mark, book: Mutex::new(book) }))
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What processes of this run carry in their environment as [`MARK`]: by that [`super::tidy`] finds them,
    /// also those that were started just before the end.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Notes what is about to be done. Once this returns, the note is durable.
    pub fn note(&self, left: Leftover) -> anyhow::Result<Note> {
        let mut book = self.book();
        let number = book.last + 1;
        book.write(&Line::Left(number, left.clone()), &self.path)?;
        book.last = number;
        book.open.insert(number);
        Ok(Note { number, left })
    }

    /// Undoes what was noted, and notes that. It need not have been done at all.
    pub fn undo(&self, note: &Note) -> anyhow::Result<()> {
        undo(&note.left, &self.mark)?;
        let mut book = self.book();
        book.write(&Line::Undone(note.number), &self.path)?;
        book.open.remove(&note.number);
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn write(&mut self, line: &Line, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.with_context(|| format!("can't write to the journal of faults {}", path.display()))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.book().open.is_empty() {
            // At worst an empty journal stays, of which the next run makes nothing.
            let _ = fs::remove_file(&self.path);
        }
    }
}
