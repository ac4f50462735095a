//! The committed log of a run, and what it makes of the rooms: the model that the nodes and their
//! clients are held against.
//!
//! The log is what the nodes applied, put together from all of them. It is replayed by the same
//! [`Shard`] that the nodes run. So a rule that the shard itself could break (nothing twice, stamps that
//! rise) is judged by its own means, never by what the shard says of itself.

use std::collections::{BTreeMap, BTreeSet};

use jam_proto::event::Event;
use jam_proto::level::{self, FeatureLevel};
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::SharedTime;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{LogBatch, LogEntry, RoomCommand};
use jam_proto::wire::v1::{self, RoomSnapshot, SubmitReply};
use prost::Message;

use crate::history::{Answer, Digest, Entry, Got, History, Request, What};

/// The log as the nodes applied it, and its replay.
#[derive(Debug, Default)]
pub struct Replay<'a> {
    log: BTreeMap<u64, Committed<'a>>,
    changed: Vec<Changed>,
    steps: Vec<Step>,
    commands: BTreeMap<(Vec<u8>, u64), Vec<usize>>,
    rooms: BTreeMap<String, RoomReplay>,
    digests: BTreeMap<u64, Digest>,
    open: Option<String>,
}

/// An entry of the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Committed<'a> {
    /// The term that it was proposed in.
    pub term: u64,
    /// What it holds.
    pub entry: &'a Entry,
    /// The record that it was applied first by.
    pub record: usize,
}

/// One index that was applied as two different entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Log index.
    pub index: u64,
    /// The record of what was applied there.
    pub before: usize,
    /// And of what was applied there later.
    pub after: usize,
}

/// What one `LogEntry` of a batch did. Their order is the order of everything.
#[derive(Debug)]
pub struct Step {
    /// Log index of its batch.
    pub index: u64,
    /// The record that applied the batch first.
    pub record: usize,
    /// Its stamp, flicks.
    pub stamp: i64,
    /// What it was to do; `None`: nothing.
    pub op: Option<Op>,
    /// What came of it.
    pub outcome: Outcome,
    /// The events that it made: room and revision.
    pub events: Vec<(String, u64)>,
    /// Some room played a song right before it. Known of clock epochs only.
    pub mid_song: bool,
}

/// One room, all along the log.
#[derive(Debug, Default)]
pub struct RoomReplay {
    /// By revision: the event that led to it, and its step.
    pub events: BTreeMap<u64, (v1::Event, usize)>,
    /// By revision, where a read or a watcher told what it saw: what the room was.
    pub digests: BTreeMap<u64, Digest>,
}

impl<'a> Replay<'a> {
    /// Puts the log of a history together, and replays it up to its first hole.
    pub fn of(history: &'a History) -> Self {
        let mut replay = Self::default();
        for (record, what) in history.records.iter().map(|record| &record.what).enumerate() {
            if let What::Applied { index, term, entry, .. } = what {
                replay.commit(*index, Committed { term: *term, entry, record });
            }
        }
        let wanted = Wanted::of(history);
        let mut shard = Shard::default();
        let log: Vec<(u64, Committed<'a>)> =
            replay.log.iter().map(|(&at, &entry)| (at, entry)).collect();
        // Raft's log begins with the first membership, which no room hears of; at 0 in ours.
        let begin = log.first().map_or(0, |(first, _)| (*first).min(1));
        for (expected, (index, committed)) in (begin..).zip(log) {
            if index != expected {
                let missing = index - 1;
                replay.open = Some(format!(
                    "no node's record holds the log from {expected} to {missing}, so it is not known what follows"
                ));
                break;
            }
            if !replay.apply(&mut shard, index, committed, &wanted) {
                replay.open = Some(format!("log entry {index} can't be decoded"));
                break;
            }
        }
        replay
    }

    /// A later entry at the same index is what the log came to: it takes the place of the one before and of
    /// all behind it.
    fn commit(&mut self, index: u64, committed: Committed<'a>) {
        match self.log.get(&index) {
            Some(known) if (known.term, known.entry) == (committed.term, committed.entry) => return,
            Some(known) => {
                self.changed.push(Changed { index, before: known.record, after: committed.record });
                self.log.split_off(&index);
            }
            None => {}
        }
        self.log.insert(index, committed);
    }

    fn apply(
        &mut self,
        shard: &mut Shard,
        index: u64,
        committed: Committed<'_>,
        wanted: &Wanted,
    ) -> bool {
        if let Entry::Batch(bytes) = committed.entry {
            let Ok(batch) = LogBatch::decode(bytes.0.as_slice()) else { return false };
            for entry in batch.entries {
                if level::check_entry(&entry, FeatureLevel::CURRENT).is_err() {
                    return false;
                }
                self.step(shard, index, committed, entry, wanted);
            }
        }
        if wanted.digests.contains(&index) {
            self.digests.insert(index, Digest::of_shard(shard));
        }
        true
    }

    fn step(
        &mut self,
        shard: &mut Shard,
        index: u64,
        Committed { term, record, .. }: Committed<'_>,
        entry: LogEntry,
        wanted: &Wanted,
    ) {
        let mid_song =
            matches!(entry.op, Some(Op::ClockEpoch(_))) && plays(shard, entry.proposed_stamp);
        let applied = shard.apply(term, &entry);
        let place = self.steps.len();
        let mut events = Vec::new();
        for (code, made) in &applied.events {
            let room = self.rooms.entry(code.as_str().to_owned()).or_default();
            for event in made {
                let revision = event.revision.0;
                room.events.insert(revision, (Event::to_wire(event), place));
                events.push((code.as_str().to_owned(), revision));
            }
            let revision = shard.room(code).map_or(0, |room| room.revision().0);
            if wanted.rooms.contains(&(code.as_str().to_owned(), revision))
                && let Some(now) = shard.room(code)
            {
                room.digests.insert(revision, Digest::of_room(now));
            }
        }
        if let Some(Op::Command(command)) = &entry.op {
            let key = (command.session.clone(), command.number);
            self.commands.entry(key).or_default().push(place);
        }
        let stamp = shard.last_stamp().0;
        let outcome = applied.outcome;
        self.steps.push(Step { index, record, stamp, op: entry.op, outcome, events, mid_song });
    }

    /// The log, by index, as far as records hold it.
    pub fn log(&self) -> &BTreeMap<u64, Committed<'a>> {
        &self.log
    }

    /// Indexes that changed after they were applied.
    pub fn changed(&self) -> &[Changed] {
        &self.changed
    }

    /// What happened, in the order of the log, up to its first hole.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The places of the steps that are this command of this session, retries too.
    pub fn command(&self, session: &[u8], number: u64) -> &[usize] {
        self.commands.get(&(session.to_vec(), number)).map_or(&[], Vec::as_slice)
    }

    /// All commands, by session and number: the places of their steps.
    pub fn commands(&self) -> impl Iterator<Item = (&[u8], u64, &[usize])> {
        self.commands
            .iter()
            .map(|((session, number), steps)| (session.as_slice(), *number, steps.as_slice()))
    }

    /// A room by its code.
    pub fn room(&self, code: &str) -> Option<&RoomReplay> {
        self.rooms.get(code)
    }

    /// All rooms, by code.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, &RoomReplay)> {
        self.rooms.iter().map(|(code, room)| (code.as_str(), room))
    }

    /// What the state was at a log index that some node told of.
    pub fn digest(&self, index: u64) -> Option<Digest> {
        self.digests.get(&index).copied()
    }

    /// Why the log could not be replayed to its end, if so.
    pub fn open(&self) -> Option<&str> {
        self.open.as_deref()
    }
}

/// Bugs that the shard does not have.
#[cfg(test)]
impl Replay<'_> {
    /// Each retry has the first try's effect once more.
    pub fn repeat_effects(&mut self) {
        for places in self.commands.values() {
            for &place in &places[1..] {
                self.steps[place].events = self.steps[places[0]].events.clone();
            }
        }
    }

    /// A room's event was made by the entry that made the one before it.
    pub fn join_events(&mut self, room: &str, revision: u64) {
        if let Some(room) = self.rooms.get_mut(room) {
            let before = room.events[&(revision - 1)].1;
            room.events.entry(revision).and_modify(|(_, step)| *step = before);
        }
    }

    /// The steps, to spoil.
    pub fn steps_mut(&mut self) -> &mut Vec<Step> {
        &mut self.steps
    }
}

impl Step {
    /// The command, if it is one.
    pub fn command(&self) -> Option<&RoomCommand> {
        match &self.op {
            Some(Op::Command(command)) => Some(command),
            _ => None,
        }
    }

    /// What it answers to the one who sent the command.
    pub fn reply(&self) -> Option<SubmitReply> {
        match &self.outcome {
            Outcome::Command(reply) if self.command().is_some() => Some(reply.to_wire()),
            _ => None,
        }
    }

    /// The room judged the command. False: the session kept it from that, so nothing can have changed.
    pub fn reached_the_room(&self) -> bool {
        self.reply().is_some_and(|reply| reached_the_room(&reply))
    }
}

/// The room judged the command that got this reply, not only its session.
pub(super) fn reached_the_room(reply: &SubmitReply) -> bool {
    const KEPT_FROM_IT: [&str; 3] = ["session_expired", "stale", "number_reused"];
    let rejection = reply.rejection.as_ref();
    rejection.is_none_or(|rejection| !KEPT_FROM_IT.contains(&rejection.code.as_str()))
}

impl RoomReplay {
    /// The room's revision once `step` was applied.
    pub fn revision_after(&self, step: usize) -> u64 {
        let (mut low, mut high) = (0, self.last());
        // Revisions are counted up along the steps.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.events.get(&middle) {
                Some((_, at)) if *at <= step => low = middle,
                _ => high = middle - 1,
            }
        }
        low
    }

    /// The room's last revision; 0: it was never created.
    pub fn last(&self) -> u64 {
        self.events.last_key_value().map_or(0, |(revision, _)| *revision)
    }
}

fn plays(shard: &Shard, now: i64) -> bool {
    let now = SharedTime(now).max(shard.last_stamp());
    shard.rooms().any(|(_, room)| {
        let sounding = room.at(now);
        sounding.playing && sounding.entry.is_some()
    })
}

/// What is told of states somewhere in a history: only those need to be digested.
struct Wanted {
    rooms: BTreeSet<(String, u64)>,
    digests: BTreeSet<u64>,
}

impl Wanted {
    fn of(history: &History) -> Self {
        let mut wanted = Self { rooms: BTreeSet::new(), digests: BTreeSet::new() };
        let mut asked: BTreeMap<u64, &str> = BTreeMap::new();
        for record in &history.records {
            match &record.what {
                What::Invoked { op, request: Request::Read { room }, .. } => {
                    asked.insert(*op, room);
                }
                What::Answered { op, answer: Answer::Room { revision, .. } } => {
                    if let Some(room) = asked.get(op) {
                        wanted.rooms.insert(((*room).to_owned(), *revision));
                    }
                }
                What::Watched { got: Got::Snapshot(bytes), .. } => {
                    if let Ok(room) = RoomSnapshot::decode(bytes.0.as_slice()) {
                        wanted.rooms.insert((room.code, room.revision));
                    }
                }
                What::Digest { index, .. } => {
                    wanted.digests.insert(*index);
                }
                _ => {}
            }
        }
        wanted
    }
}
