//! `--record FILE`: all that a node applies and what it says of the time, a JSON object a line, for judges.
//!
//! Each line is written at once, so a killed node leaves all that it applied. The file is not synced: it is about this
//! process, and belongs on another disk than the node's own. Times are CLOCK_MONOTONIC, ns.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jam_proto::shard::Shard;
use jam_world::{Clock, World};
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::shard::{Group, Payload};
use crate::time::clock::NodeClock;
use crate::witness::Witness;

/// Between two looks at the node's clock.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Every so many entries, at each snapshot, and where a node stands still, the whole state is summed up.
const DIGEST_EVERY: u64 = 64;
/// Looks after which a node that applied nothing stands still.
const STILL_LOOKS: u32 = 10;

/// A line of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it was written, CLOCK_MONOTONIC, ns.
    pub mono_ns: i64,
    /// What happened.
    pub what: What,
}

/// What can happen to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A process begins, as the node of this id.
    Begins {
        /// The node's id.
        node: u64,
    },
    /// An entry of the log was applied.
    Applied {
        /// The term that it was proposed in.
        term: u64,
        /// Its place.
        index: u64,
        /// What it holds.
        entry: Entry,
    },
    /// A snapshot was taken over, up to this entry.
    Installed {
        /// That entry's term.
        term: u64,
        /// Its place.
        index: u64,
    },
    /// The sum of the whole state after an entry.
    State {
        /// The entry's place.
        index: u64,
        /// BLAKE3 of the encoded state, 64 hex digits.
        digest: String,
    },
    /// What the node says of the time.
    Time {
        /// Its term.
        term: u64,
        /// The clock epoch; 0: none yet.
        epoch: u64,
        /// It leads and holds a live lease.
        leads: bool,
        /// Shared time, flicks.
        shared: i64,
        /// Its distance from the leader's time is at most this, ns.
        bound_ns: i64,
        /// The term of the leader that the bound is about; 0: none.
        bound_term: u64,
        /// CLOCK_MONOTONIC before it was asked, ns.
        asked_ns: i64,
    },
}

/// What an entry of the log holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Nothing: a leader's first one.
    Blank,
    /// The members from here on, as text.
    Members(String),
    /// An encoded `jam.log.v1.LogBatch`, in hex digits.
    Batch(String),
}

/// Writes a record. Clones write the same one.
#[derive(Clone)]
pub struct Recorder {
    clock: Arc<dyn Clock>,
    file: Arc<Mutex<File>>,
    /// What was applied last, what came of it, and how many looks saw it.
    last: Arc<Mutex<Option<(u64, Shard, u32)>>>,
}

impl Recorder {
    /// Goes on at the end of a file, which is made if it is not there.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn open(world: &World, path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            clock: world.clock.clone(),
            file: Arc::new(Mutex::new(file)),
            last: Arc::default(),
        })
    }

    fn write(&self, what: What) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Stamped under the lock: the lines of a file are in order.
        let line = Line { mono_ns: self.clock.mono_ns(), what };
        let mut text = serde_json::to_vec(&line).expect("a line is plain data");
        text.push(b'\n');
        if let Err(error) = file.write_all(&text) {
            // A record with a hole proves nothing: whoever reads it must not take it for whole.
            // Not by way of the log, which writes a little later.
            let _ = writeln!(
                std::io::stderr(),
                "jamd: the record can't be written: {error}; this process ends"
            );
            std::process::abort();
        }
    }

    fn state(&self, index: u64, state: &Shard) {
        let digest = blake3::hash(&state.to_wire().encode_to_vec()).to_hex().to_string();
        self.write(What::State { index, digest });
    }

    /// Sums the state up where nothing was applied for a while: all nodes do, at the end of a run.
    fn look_at_state(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((index, state, looks)) = last.as_mut() else { return };
        *looks = looks.saturating_add(1);
        if *looks == STILL_LOOKS {
            let (index, state) = (*index, state.clone());
            drop(last);
            self.state(index, &state);
        }
    }

    async fn look(self, group: Group, clock: Arc<NodeClock>) {
        while !group.is_stopped() {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look_at_state();
            let standing = group.standing();
            let asked_ns = self.clock.mono_ns();
            let leads = standing.leads_with_lease && clock.leads_in() == Some(standing.term);
            let (epoch, bound_term) = (clock.epoch(), clock.bound_term());
            let (shared, bound_ns) = (clock.now().0, clock.error_bound_ns());
            let term = standing.term;
            self.write(What::Time { term, epoch, leads, shared, bound_ns, bound_term, asked_ns });
        }
    }
}

impl Witness for Recorder {
    fn belongs(&self, node: u64) {
        self.write(What::Begins { node });
    }

    fn started(&self, group: &Group, clock: &Arc<NodeClock>) {
        tokio::spawn(self.clone().look(group.clone(), clock.clone()));
    }

    fn applied(&self, term: u64, index: u64, entry: Payload<'_>, state: &Shard) {
        let last = (index, state.clone(), 0);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        let entry = match entry {
            Payload::Blank => Entry::Blank,
            Payload::Members(text) => Entry::Members(text),
            Payload::Batch(bytes) => Entry::Batch(hex(bytes)),
            Payload::Snapshot => {
                self.write(What::Installed { term, index });
                return self.state(index, state);
            }
        };
        self.write(What::Applied { term, index, entry });
        if index.is_multiple_of(DIGEST_EVERY) {
            self.state(index, state);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("record");
        let world = World::real();
        for node in 1..=2 {
            let recorder = Recorder::open(&world, &path).expect("opens");
            recorder.belongs(node);
            recorder.applied(3, 64 * node, Payload::Batch(&[0, 0xab]), &Shard::default());
        }
        let text = std::fs::read_to_string(&path).expect("it is there");
        let lines: Vec<Line> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
        assert_eq!(lines[0].what, What::Begins { node: 1 });
        let entry = Entry::Batch("00ab".to_owned());
        assert_eq!(lines[1].what, What::Applied { term: 3, index: 64, entry });
        assert!(matches!(&lines[2].what, What::State { index: 64, digest } if digest.len() == 64));
        assert_eq!(lines[3].what, What::Begins { node: 2 });
        assert!(lines.is_sorted_by_key(|line| line.mono_ns));
    }
}
