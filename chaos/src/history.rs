//! What happened in a run, as it is written down: by the simulation and by the runner of real clusters alike.
//!
//! A history is a list of records in the order in which things happened, one JSON object a line on
//! disk. Whoever records keeps to this:
//!
//! - A client's request is recorded before it is sent, its answer after it came. Nothing that changes a
//!   room or opens a session goes unrecorded.
//! - Session ids, room codes and commands stand as the log holds them.
//! - What a node applies is recorded from its first entry (or snapshot) on. It may be added at the
//!   end, from the nodes' logs; then it is only less telling.
//! - Times are true time, which no node's own clock has a part in.

mod digest;
mod heard;
mod hex;
mod read;
mod show;
mod words;

use serde::{Deserialize, Serialize};

pub use digest::Digest;
pub use heard::{ListenerSample, Sound, Stretch};
pub use hex::Hex;
pub use read::{HistoryError, Reader};
pub(crate) use show::reply_text;
pub(crate) use words::{Voting, command_name};

/// What happened, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// `at_ns` never falls from one to the next. Judges name records by their place in here.
    pub records: Vec<Record>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// True time since the run began, ns.
    pub at_ns: i64,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A client asks the cluster for something.
    Invoked {
        /// The client's process; each has one request in flight.
        client: String,
        /// A number of this request's own. A retry is a request too, with the same command number.
        op: u64,
        /// What for.
        request: Request,
    },
    /// It was answered. A request without an answer has an unknown outcome.
    Answered {
        /// The request.
        op: u64,
        /// What came back.
        answer: Answer,
    },
    /// A node's state machine applied a log entry.
    Applied {
        /// The node's id. A replaced node is another node.
        node: u64,
        /// Which start of the process, from 1.
        life: u32,
        /// Log index.
        index: u64,
        /// The term that the entry was proposed in.
        term: u64,
        /// The entry.
        entry: Entry,
    },
    /// A node's state machine took over a snapshot, its own after a start or another node's.
    Installed {
        /// The node's id.
        node: u64,
        /// Which start of the process.
        life: u32,
        /// The last log index that is in it.
        index: u64,
        /// That entry's term.
        term: u64,
    },
    /// What a node's whole state was when `index` was the last one applied.
    Digest {
        /// The node's id.
        node: u64,
        /// Which start of the process.
        life: u32,
        /// Log index.
        index: u64,
        /// [`Digest::of_shard`].
        digest: Digest,
    },
    /// A node's process runs.
    Started {
        /// The node's id.
        node: u64,
        /// Which start of the process, from 1.
        life: u32,
    },
    /// A node's process ended.
    Stopped {
        /// The node's id.
        node: u64,
        /// Which start of the process.
        life: u32,
        /// How.
        how: Stop,
    },
    /// A node was elected.
    Leads {
        /// The node's id.
        node: u64,
        /// Which start of the process.
        life: u32,
        /// Its term.
        term: u64,
    },
    /// A watcher asks for a room's events, for the first time or again.
    Watch {
        /// The watcher: all its streams count as one.
        watcher: u64,
        /// The node that it asks.
        node: u64,
        /// The room's code.
        room: String,
        /// The revision that it has; 0: nothing.
        after: u64,
    },
    /// A message came to a watcher.
    Watched {
        /// The watcher.
        watcher: u64,
        /// What it holds.
        got: Got,
    },
    /// A watcher's stream ended.
    WatchEnded {
        /// The watcher.
        watcher: u64,
        /// Why, for people.
        why: String,
    },
    /// What a node says of shared time.
    Time(TimeSample),
    /// What left a listener's device. The record may come later than the sound.
    Heard(Stretch),
    /// What a listener says of itself.
    Listens(ListenerSample),
    /// Somebody fetched a song from a node, all of it, once nothing was broken any more.
    Fetched {
        /// The node's id.
        node: u64,
        /// BLAKE3 of the song's bytes, 32 bytes.
        track: Hex,
        /// What was wrong, for people; `None`: the bytes are those.
        wrong: Option<String>,
    },
    /// A process said that it has a bug: a panic.
    Panicked {
        /// Which one.
        process: String,
        /// What it said.
        said: String,
    },
    /// Files of a node were damaged while it was down.
    Damaged {
        /// The node's place, which is that of a node that takes over from it, too.
        place: u64,
        /// What was done.
        what: String,
    },
    /// A process that ran on a copy of a node's data folder, or on that of a node that was replaced.
    Impostor {
        /// Which one, for people.
        what: String,
        /// Its last words, if it ended by itself; `None`: it still ran when all was over.
        said: Option<String>,
    },
    /// The machine that all ran on had no time to give, so that nobody could have played.
    Stalled {
        /// True time, ns.
        from_ns: i64,
        /// True time, ns.
        until_ns: i64,
    },
    /// A fault is in effect.
    FaultBegun {
        /// A number of its own.
        fault: u64,
        /// What it is, for people.
        text: String,
        /// What it affects, for people: nodes, links, disks, clocks.
        affects: Vec<String>,
    },
    /// A fault has no effect any more.
    FaultHealed {
        /// Its number.
        fault: u64,
    },
    /// A phase of the run begins.
    Phase(Phase),
    /// Something that a batch of runs must reach now and then.
    Sometimes {
        /// Its name.
        name: String,
    },
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// To open a session.
    Open {
        /// Its id, 16 bytes.
        session: Hex,
        /// Whose.
        user: String,
    },
    /// To apply a command.
    Command {
        /// Its session, 16 bytes.
        session: Hex,
        /// Its number in the session.
        number: u64,
        /// The room's code.
        room: String,
        /// An encoded `jam.v1.Command`.
        command: Hex,
    },
    /// To keep a song.
    Upload {
        /// BLAKE3 of its bytes, 32 bytes.
        track: Hex,
    },
    /// To tell the state of a room, linearizably.
    Read {
        /// The room's code.
        room: String,
    },
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The session is open.
    Opened,
    /// An encoded `jam.v1.SubmitReply`: the command was applied, or judged and rejected.
    Reply(Hex),
    /// The song is kept.
    Stored,
    /// The room that was asked for.
    Room {
        /// Its revision.
        revision: u64,
        /// [`Digest::of_room`].
        digest: Digest,
    },
    /// There is no such room.
    NoRoom,
    /// It was not served and never will be.
    Refused {
        /// The refusal's stable code.
        code: String,
    },
    /// It may have been served, or may yet be.
    Unknown,
}

/// What a log entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Nothing: a leader's first one.
    Blank,
    /// A membership, as text. Equal memberships have equal texts.
    Membership(String),
    /// An encoded `jam.log.v1.LogBatch`.
    Batch(Hex),
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It was told to.
    Stop,
    /// It could not go on.
    Failed {
        /// What it said.
        why: String,
    },
    /// It was killed; its disk has all that was written.
    Crash,
    /// Its machine lost power; its disk has all that was synced.
    Power,
    /// Its disk is gone. This node never comes back.
    Wiped,
}

/// What a watcher gets in one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Got {
    /// An encoded `jam.v1.RoomSnapshot`.
    Snapshot(Hex),
    /// Encoded `jam.v1.Event`s, in the message's order.
    Events(Vec<Hex>),
    /// A mark that nothing was missed.
    Progress {
        /// The room's revision.
        revision: u64,
        /// The node's last log index applied.
        applied: u64,
    },
}

/// What a node said of shared time. It was true somewhen between `asked_ns` and the record's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeSample {
    /// The node's id.
    pub node: u64,
    /// Which start of the process.
    pub life: u32,
    /// The node's term.
    pub term: u64,
    /// The clock epoch; 0: none yet.
    pub epoch: u64,
    /// It leads and holds a live lease.
    pub leads: bool,
    /// Shared time, flicks.
    pub shared: i64,
    /// Its distance from the leader's time is at most this, ns; `i64::MAX`: nothing is known.
    pub bound_ns: i64,
    /// The term of the leader that `bound_ns` is about: the last one that the node heard of; 0: none.
    pub bound_term: u64,
    /// True time when it was asked, ns. The record's own time if the clock was read directly.
    pub asked_ns: i64,
}

/// The parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Faults of any kind. Nothing wrong may happen, but nothing at all is fine.
    Safety,
    /// A connected majority is healthy and stays so, the rest stays broken. Things must happen.
    Liveness,
    /// Nothing is broken any more. All must come together again.
    Healed,
}

impl History {
    /// Notes that something happened.
    pub fn push(&mut self, at_ns: i64, what: What) {
        self.records.push(Record { at_ns, what });
    }

    /// One history of several, each in order by itself. What happened in the same nanosecond is put
    /// so that it proves least: requests first, so that none comes after an answer for no reason.
    pub fn merge(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut records: Vec<Record> = parts.into_iter().flat_map(|part| part.records).collect();
        records.sort_by_key(|record| (record.at_ns, !matches!(record.what, What::Invoked { .. })));
        Self { records }
    }

    /// The time of the last record, ns.
    pub fn end_ns(&self) -> i64 {
        self.records.last().map_or(0, |record| record.at_ns)
    }

    /// When a phase began first: its record's place, and its time in ns.
    pub fn phase(&self, phase: Phase) -> Option<(usize, i64)> {
        let place = self.records.iter().position(|record| record.what == What::Phase(phase))?;
        Some((place, self.records[place].at_ns))
    }
}
