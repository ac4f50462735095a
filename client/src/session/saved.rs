//! What a slot's file holds, and how it is read and replaced.

use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use jam_world::{Clock, Disk, Open};
use serde::{Deserialize, Serialize};

/// How long an unfinished command line can be taken up again. Afterwards the same words are a new wish: who
/// types `jam skip` an hour after one failed means the song that plays now.
const INTENT_KEPT: Duration = Duration::from_secs(15 * 60);

/// What a slot's file holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    /// Its id; of no use unless it is `opened`.
    pub session: String,
    pub user: String,
    /// The cluster has said that it is open. A command is written down after that only. (An older `jam` wrote commands
    /// down before: there, it may have been opened and the command sent nevertheless.)
    pub opened: bool,
    /// The last number that was used.
    pub number: u64,
    /// The command line that has not ended yet.
    pub unfinished: Option<Unfinished>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Unfinished {
    pub intent: String,
    pub started_unix_secs: u64,
    /// What names it in the file of its replies; empty: an older `jam` wrote it, and they are here.
    #[serde(default)]
    pub log: String,
    /// The steps of it that have their reply: a folder is added one song at a time.
    #[serde(default, skip_serializing)]
    pub done: Vec<Done>,
    /// The step that has a number and no reply.
    pub sending: Option<Sending>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Done {
    pub step: String,
    pub reply: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Sending {
    pub step: String,
    pub number: u64,
    pub room: String,
    pub command: String,
}

impl Saved {
    pub fn fresh(user: &str) -> Self {
        let session = hex(&rand::random::<[u8; 16]>());
        Self { session, user: user.to_owned(), opened: false, number: 0, unfinished: None }
    }

    /// What is there, or a new session if nothing is.
    pub fn read(disk: &dyn Disk, path: &Path, user: &str) -> io::Result<Self> {
        match disk.read(path) {
            // A slot that can't be read is as good as a new one: its session is simply not used again.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| Self::fresh(user))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::fresh(user)),
            Err(error) => Err(error),
        }
    }

    /// Replaces the slot's file in one piece. `durable`: when this returns, no power cut brings the one before back.
    pub fn write(&self, disk: &dyn Disk, path: &Path, durable: bool) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        // Whoever can read a session's id can speak in its user's name.
        let file = disk.open(&temporary, Open::Secret)?;
        file.write_at(&serde_json::to_vec(self)?, 0)?;
        // Always: a power cut must not replace what was durable by an empty file.
        file.sync_all()?;
        disk.rename(&temporary, path)?;
        if durable && let Some(folder) = path.parent() {
            disk.sync_folder(folder)?;
        }
        Ok(())
    }
}

impl Unfinished {
    /// Of a command line that begins now.
    pub fn begin(intent: &str, now: u64) -> Self {
        Self {
            intent: short(intent),
            started_unix_secs: now,
            log: hex(&rand::random::<[u8; 8]>()),
            done: Vec::new(),
            sending: None,
        }
    }

    /// Whether it stands for this command line.
    pub fn is_of(&self, intent: &str) -> bool {
        // In full, it is from an older `jam`.
        self.intent == intent || self.intent == short(intent)
    }

    pub fn is_fresh(&self, now: u64) -> bool {
        let worth_it = self.sending.is_some() || !self.done.is_empty();
        worth_it && now.saturating_sub(self.started_unix_secs) < INTENT_KEPT.as_secs()
    }
}

/// A command line with thousands of files in it is written down often, so its hash stands for it.
fn short(intent: &str) -> String {
    const LONG: usize = 256;
    if intent.len() < LONG {
        intent.to_owned()
    } else {
        blake3::hash(intent.as_bytes()).to_string()
    }
}

/// Seconds since 1970.
pub(super) fn unix_now(clock: &dyn Clock) -> u64 {
    clock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of [`hex`].
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
