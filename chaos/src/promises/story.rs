//! Small histories for the judges' tests: a cluster of three that does everything right, by really running
//! the shard. A test spoils what it made.

use std::collections::{BTreeMap, BTreeSet};

use jam_proto::command::{Command, Reply, RoomCommand};
use jam_proto::event::Event;
use jam_proto::ids::{EntryId, RoomCode, SessionId, TrackId};
use jam_proto::level;
use jam_proto::shard::{Applied, Outcome, Shard};
use jam_proto::time::Flicks;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{ClockEpoch, LogBatch, LogEntry, OpenSession, RegisterTrack};
use jam_proto::wire::v1::Track;
use prost::Message;

use crate::history::{Answer, Digest, Entry, Got, Hex, History, Request, Stop, TimeSample, What};

pub const ROOM: &str = "ABCD-EFGH-JKMN";
pub const TRACK: TrackId = TrackId([5; 32]);
pub const MS: i64 = 1_000_000;

#[derive(Clone, Default)]
pub struct Story {
    pub history: History,
    pub shard: Shard,
    /// The last log index.
    pub index: u64,
    pub term: u64,
    pub leader: u64,
    pub now_ns: i64,
    log: Vec<(u64, u64, Entry)>,
    before: Option<(Shard, u64)>,
    lives: BTreeMap<u64, u32>,
    isolated: BTreeSet<u64>,
    ops: u64,
    numbers: BTreeMap<String, u64>,
    events: BTreeMap<u64, Event>,
    watching: BTreeSet<u64>,
}

impl Story {
    /// Three nodes, the first one leads; ann and bob have sessions, and there is a room.
    pub fn begin() -> Self {
        let mut story = Self::default();
        for node in 1..=3 {
            story.lives.insert(node, 1);
            story.note(What::Started { node, life: 1 });
        }
        story.put(0, Entry::Membership(members(&[&[(1, 1), (2, 2), (3, 3)]], &[])));
        story.elect(1);
        for user in ["ann", "bob"] {
            let session = session(user).to_wire();
            let request = Request::Open { session: Hex(session.clone()), user: user.to_owned() };
            let op = story.ask(user, request);
            story.commit(vec![Op::OpenSession(OpenSession {
                session,
                user: user.to_owned(),
                ..Default::default()
            })]);
            story.answer(op, Answer::Opened);
        }
        let op = story.ask("ann", Request::Upload { track: Hex(TRACK.to_wire()) });
        let track = Track {
            id: TRACK.to_wire(),
            title: "tune".to_owned(),
            frames: 48_000 * 180,
            sample_rate: 48_000,
            ..Track::default()
        };
        story.commit(vec![Op::RegisterTrack(RegisterTrack {
            track: Some(track),
            ..Default::default()
        })]);
        story.answer(op, Answer::Stored);
        story.submit("ann", Command::Create { name: "Friday".to_owned() });
        story
    }

    /// Notes what happens a millisecond later.
    pub fn note(&mut self, what: What) -> usize {
        self.now_ns += MS;
        self.now(what)
    }

    /// Notes what happens in this same instant.
    pub fn now(&mut self, what: What) -> usize {
        self.history.push(self.now_ns, what);
        self.history.records.len() - 1
    }

    /// Time passes.
    pub fn wait_ms(&mut self, millis: i64) {
        self.now_ns += millis * MS;
    }

    pub fn life(&self, node: u64) -> u32 {
        self.lives.get(&node).copied().unwrap_or(1)
    }

    /// A node leads in a new term, in the same epoch.
    pub fn elect(&mut self, node: u64) {
        (self.term, self.leader) = (self.term + 1, node);
        self.note(What::Leads { node, life: self.life(node), term: self.term });
        self.append(Entry::Blank);
        let floor = self.shard.last_stamp().0;
        let (term, error_bound_ns) = (self.term, 300_000);
        self.commit(vec![Op::ClockEpoch(ClockEpoch {
            epoch: 1,
            term,
            node,
            floor,
            error_bound_ns,
            drift_bound_ppb: 1000,
            since: self.shared(),
        })]);
    }

    /// A node leads in a new term and a new epoch, which begins so long after now by shared time.
    pub fn begin_epoch(&mut self, node: u64, after_ms: i64) {
        (self.term, self.leader) = (self.term + 1, node);
        self.note(What::Leads { node, life: self.life(node), term: self.term });
        self.append(Entry::Blank);
        let (term, epoch) = (self.term, self.shard.epoch().epoch + 1);
        let floor = self.shared() + Flicks::from_millis(after_ms).0;
        let floor = floor.max(self.shard.last_stamp().0);
        let opened = ClockEpoch { epoch, term, node, floor, since: floor, ..ClockEpoch::default() };
        self.commit_at(floor, vec![Op::ClockEpoch(opened)]);
    }

    /// Commits operations as one log entry, which all nodes apply that are not isolated.
    pub fn commit(&mut self, ops: Vec<Op>) -> Vec<Applied> {
        self.commit_at(self.shared(), ops)
    }

    fn commit_at(&mut self, stamp: i64, ops: Vec<Op>) -> Vec<Applied> {
        self.before = Some((self.shard.clone(), self.index));
        let entries: Vec<LogEntry> = ops
            .into_iter()
            .map(|op| LogEntry {
                proposed_stamp: stamp,
                proposed_effective: stamp + Flicks::from_millis(400).0,
                level: level::needed(&op).0,
                op: Some(op),
            })
            .collect();
        let term = self.term;
        let applied: Vec<Applied> =
            entries.iter().map(|entry| self.shard.apply(term, entry)).collect();
        self.append(Entry::Batch(Hex(LogBatch { entries }.encode_to_vec())));
        for (_, events) in applied.iter().flat_map(|applied| &applied.events) {
            self.events.extend(events.iter().map(|event| (event.revision.0, event.clone())));
            for watcher in self.watching.clone() {
                self.note(What::Watched { watcher, got: got(events) });
            }
        }
        applied
    }

    /// The log's next entry.
    pub fn append(&mut self, entry: Entry) {
        self.index += 1;
        self.put(self.index, entry);
    }

    fn put(&mut self, index: u64, entry: Entry) {
        let term = self.term;
        self.log.push((index, term, entry.clone()));
        let digest = Digest::of_shard(&self.shard);
        for node in (1..=3).filter(|node| !self.isolated.contains(node)).collect::<Vec<_>>() {
            let life = self.life(node);
            self.note(What::Applied { node, life, index, term, entry: entry.clone() });
            self.now(What::Digest { node, life, index, digest });
        }
    }

    /// The last batch is undone, as if nobody had synced it. What was recorded stays recorded.
    pub fn forget_last(&mut self) {
        if let Some((shard, index)) = self.before.take() {
            (self.shard, self.index) = (shard, index);
            self.log.retain(|(at, ..)| *at <= index);
        }
    }

    /// A node applies nothing until it installs a snapshot.
    pub fn isolate(&mut self, node: u64) {
        self.isolated.insert(node);
    }

    pub fn install(&mut self, node: u64) {
        self.isolated.remove(&node);
        let (life, index) = (self.life(node), self.index);
        let term = self.log.last().map_or(0, |(_, term, _)| *term);
        self.note(What::Installed { node, life, index, term });
        self.now(What::Digest { node, life, index, digest: Digest::of_shard(&self.shard) });
    }

    /// A node crashes, comes back and applies its log again.
    pub fn restart(&mut self, node: u64) {
        let life = self.life(node);
        self.note(What::Stopped { node, life, how: Stop::Crash });
        self.lives.insert(node, life + 1);
        self.note(What::Started { node, life: life + 1 });
        for (index, term, entry) in self.log.clone() {
            self.note(What::Applied { node, life: life + 1, index, term, entry });
        }
    }

    pub fn ask(&mut self, client: &str, request: Request) -> u64 {
        self.ops += 1;
        self.note(What::Invoked { client: client.to_owned(), op: self.ops, request });
        self.ops
    }

    pub fn answer(&mut self, op: u64, answer: Answer) -> usize {
        self.note(What::Answered { op, answer })
    }

    /// The next command of a user.
    pub fn next(&mut self, user: &str, command: Command) -> RoomCommand {
        let number = self.numbers.entry(user.to_owned()).or_default();
        *number += 1;
        RoomCommand { session: session(user), number: *number, room: code(), command }
    }

    /// Asks for a command.
    pub fn send(&mut self, user: &str, command: &RoomCommand) -> u64 {
        self.ask(user, request(command))
    }

    /// A command is committed: its reply.
    pub fn take(&mut self, command: &RoomCommand) -> Reply {
        let mut applied = self.commit(vec![Op::Command(command.to_wire())]);
        match applied.pop().map(|applied| applied.outcome) {
            Some(Outcome::Command(reply)) => reply,
            other => panic!("no reply to a command but {other:?}"),
        }
    }

    /// Asks, commits, answers.
    pub fn submit(&mut self, user: &str, command: Command) -> Reply {
        let command = self.next(user, command);
        let op = self.send(user, &command);
        let reply = self.take(&command);
        self.answer(op, said(&reply));
        reply
    }

    pub fn enqueue(&mut self, user: &str) -> Reply {
        self.submit(user, Command::Enqueue { track: TRACK, next: false })
    }

    pub fn play(&mut self, user: &str) -> Reply {
        self.submit(user, Command::Play { entry: Some(EntryId(1)) })
    }

    /// What a linearizable read answers now.
    pub fn room(&self) -> Answer {
        let room = self.shard.room(&code()).expect("it was created");
        Answer::Room { revision: room.revision().0, digest: Digest::of_room(room) }
    }

    pub fn read(&mut self, client: &str) {
        let op = self.ask(client, Request::Read { room: ROOM.to_owned() });
        self.answer(op, self.room());
    }

    /// A watcher asks, gets what it missed, and goes on getting what happens.
    pub fn watch(&mut self, watcher: u64, node: u64, after: u64) {
        self.note(What::Watch { watcher, node, room: ROOM.to_owned(), after });
        if after == 0 {
            let room = self.shard.room(&code()).expect("it was created").to_wire();
            self.note(What::Watched { watcher, got: Got::Snapshot(Hex(room.encode_to_vec())) });
        } else {
            let missed: Vec<Event> =
                self.events.range(after + 1..).map(|(_, event)| event.clone()).collect();
            for event in missed {
                self.note(What::Watched { watcher, got: got(&[event]) });
            }
        }
        self.watching.insert(watcher);
    }

    pub fn unwatch(&mut self, watcher: u64) {
        self.watching.remove(&watcher);
        self.note(What::WatchEnded { watcher, why: "its node stopped".to_owned() });
    }

    /// Shared time now, flicks: an hour at the begin, and right by true time.
    pub fn shared(&self) -> i64 {
        (Flicks::from_secs(3600) + Flicks::from_nanos(self.now_ns)).0
    }

    /// What a node says of shared time, if all is right.
    pub fn sample(&self, node: u64) -> TimeSample {
        let leads = node == self.leader;
        TimeSample {
            node,
            life: self.life(node),
            term: self.term,
            epoch: 1,
            leads,
            shared: self.shared(),
            bound_ns: if leads { 0 } else { 100_000 },
            bound_term: self.term,
            asked_ns: self.now_ns,
        }
    }

    /// All nodes tell shared time, each 100 ms.
    pub fn tell_time(&mut self, times: usize) {
        for _ in 0..times {
            self.wait_ms(100);
            for node in 1..=3 {
                let sample = self.sample(node);
                self.now(What::Time(sample));
            }
        }
    }
}

/// A membership in openraft's words: sets of voters, each a node and its place, and learners.
pub fn members(voters: &[&[(u64, u64)]], learners: &[(u64, u64)]) -> String {
    let node = |(id, place): &(u64, u64)| {
        format!(
            "{id}:PeerNode {{ address: \"n{place}:7400\", place: {place}, incarnation: [7, 7] }}"
        )
    };
    let nodes = |set: &[(u64, u64)]| set.iter().map(node).collect::<Vec<_>>().join(",");
    let sets: Vec<String> = voters.iter().map(|set| format!("{{{}}}", nodes(set))).collect();
    format!("{{voters:[{}], learners:[{}]}}", sets.join(","), nodes(learners))
}

pub fn session(user: &str) -> SessionId {
    SessionId([user.as_bytes()[0]; 16])
}

pub fn code() -> RoomCode {
    RoomCode::parse(ROOM).expect("it looks like one")
}

pub fn request(command: &RoomCommand) -> Request {
    Request::Command {
        session: Hex(command.session.to_wire()),
        number: command.number,
        room: command.room.as_str().to_owned(),
        command: Hex(command.command.to_wire().encode_to_vec()),
    }
}

pub fn said(reply: &Reply) -> Answer {
    Answer::Reply(Hex(reply.to_wire().encode_to_vec()))
}

fn got(events: &[Event]) -> Got {
    Got::Events(events.iter().map(|event| Hex(event.to_wire().encode_to_vec())).collect())
}
