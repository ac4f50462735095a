//! The world of a story: a node's shard, and a client for each room that knows its events only.

mod show;

use std::collections::BTreeMap;

use jam_proto::command::{Command, RoomCommand};
use jam_proto::event::Event;
use jam_proto::ids::{EntryId, RoomCode, SessionId, TrackId};
use jam_proto::level;
use jam_proto::room::Room;
use jam_proto::shard::{Applied, Outcome, Shard};
use jam_proto::time::{FLICKS_PER_SECOND, Flicks, SharedTime};
use jam_proto::wire::log::v1 as log;
use jam_proto::wire::v1 as wire;
use log::log_entry::Op;

pub struct World {
    shard: Shard,
    clients: BTreeMap<RoomCode, Room>,
    room: String,
    lead: Flicks,
    now: SharedTime,
    sent: BTreeMap<String, RoomCommand>,
    /// Of the leader.
    term: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            shard: Shard::default(),
            clients: BTreeMap::new(),
            room: "kitchen".into(),
            lead: Flicks::from_millis(400),
            now: SharedTime(0),
            sent: BTreeMap::new(),
            term: 0,
        }
    }
}

impl World {
    /// Does one step and returns what it prints.
    pub fn step(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["track", title, length, rate, ref more @ ..] => {
                let rate = rate.parse().unwrap();
                let frames = match length.strip_suffix('f') {
                    Some(frames) => frames.parse().unwrap(),
                    None => u64::try_from(position(length).as_frames(rate)).unwrap(),
                };
                let track = wire::Track {
                    id: track(title).to_wire(),
                    title: title.into(),
                    frames,
                    sample_rate: rate,
                    album: more.first().copied().unwrap_or_default().into(),
                    loudness: more.get(1).zip(more.get(2)).map(|(integrated, true_peak)| {
                        wire::Loudness {
                            integrated: hundredths(integrated),
                            true_peak: hundredths(true_peak),
                        }
                    }),
                    ..Default::default()
                };
                self.propose(Op::RegisterTrack(log::RegisterTrack {
                    track: Some(track),
                    ..Default::default()
                }))
            }
            ["forget", title, ref before @ ..] => {
                let unused_before = before.first().map_or(i64::MAX, |time| instant(time).0);
                let track = track(title).to_wire();
                self.propose(Op::ForgetTrack(log::ForgetTrack { track, unused_before }))
            }
            ["lead", seconds] => {
                self.lead = instant(seconds).since(SharedTime(0));
                Vec::new()
            }
            ["term", term] => {
                self.term = term.parse().unwrap();
                Vec::new()
            }
            ["in", room] => {
                self.room = room.into();
                Vec::new()
            }
            ["sounds", time] => {
                let time = instant(time);
                vec![show::sounding(&self.here().at(time))]
            }
            ["queue", time] => {
                self.here().queue_at(instant(time)).iter().map(show::entry).collect()
            }
            ["gains", time] => self.here().queue_at(instant(time)).iter().map(show::gain).collect(),
            ["next", time] => {
                let next = self.here().next_after(instant(time), 3);
                next.iter().map(|(start, entry)| show::start(*start, entry)).collect()
            }
            ["history"] => self.here().history().map(show::entry).collect(),
            ["who"] => show::who(self.here()),
            ["name"] => vec![self.here().name().to_owned()],
            [time, ref what @ ..] => {
                self.now = instant(time);
                self.timed(what)
            }
            [] => unreachable!("blank lines are no steps"),
        }
    }

    /// A client that folded the events, and a node from a snapshot, equal the node.
    pub fn check(&self, line: &str) {
        for (code, room) in self.shard.rooms() {
            assert_eq!(self.clients.get(code), Some(room), "the client after: {line}");
        }
        assert_eq!(
            Shard::from_wire(&self.shard.to_wire()).as_ref(),
            Ok(&self.shard),
            "the snapshot after: {line}"
        );
    }

    fn timed(&mut self, what: &[&str]) -> Vec<String> {
        match *what {
            ["epoch", epoch, "floor", floor] => self.epoch(epoch, floor, self.term),
            ["epoch", epoch, "floor", floor, "term", term] => {
                self.epoch(epoch, floor, term.parse().unwrap())
            }
            ["lost", title] => {
                self.propose(Op::MarkLost(log::MarkLost { track: track(title).to_wire() }))
            }
            ["unheard", revision] => {
                let room = code(&self.room).as_str().to_owned();
                self.propose(Op::PauseUnheard(log::PauseUnheard {
                    room,
                    revision: revision.parse().unwrap(),
                }))
            }
            ["raise", level] => {
                self.propose(Op::RaiseLevel(log::RaiseLevel { level: level.parse().unwrap() }))
            }
            ["replace", place] => self.replace(place, "0"),
            ["replace", place, holder] => self.replace(place, holder),
            [user, "open"] => self.open(user, Vec::new()),
            [user, "open", "from", place] => self.open(user, bits(place).to_be_bytes().to_vec()),
            [user, "again"] => {
                let sent = self.sent[user].clone();
                self.propose(Op::Command(sent.to_wire()))
            }
            [user, "numbered", number, ref command @ ..] => {
                self.send(user, number.parse().unwrap(), command)
            }
            [user, ref command @ ..] => {
                let number = self.sent.get(user).map_or(1, |sent| sent.number + 1);
                self.send(user, number, command)
            }
            [] => panic!("a time, and nothing to do"),
        }
    }

    fn open(&mut self, user: &str, origin: Vec<u8>) -> Vec<String> {
        let session = session(user).to_wire();
        self.propose(Op::OpenSession(log::OpenSession { session, user: user.into(), origin }))
    }

    fn epoch(&mut self, epoch: &str, floor: &str, term: u64) -> Vec<String> {
        let (epoch, floor) = (epoch.parse().unwrap(), instant(floor).0);
        self.propose(Op::ClockEpoch(log::ClockEpoch { epoch, floor, term, ..Default::default() }))
    }

    fn replace(&mut self, place: &str, holder: &str) -> Vec<String> {
        let (node, holder) = (place.parse().unwrap(), holder.parse().unwrap());
        self.propose(Op::ReplaceNode(log::ReplaceNode { node, holder }))
    }

    fn send(&mut self, user: &str, number: u64, words: &[&str]) -> Vec<String> {
        let sent = RoomCommand {
            session: session(user),
            number,
            room: code(&self.room),
            command: command(words),
        };
        self.sent.insert(user.into(), sent.clone());
        self.propose(Op::Command(sent.to_wire()))
    }

    fn propose(&mut self, op: Op) -> Vec<String> {
        let entry = log::LogEntry {
            proposed_stamp: self.now.0,
            proposed_effective: (self.now + self.lead).0,
            level: self.shard.level().max(level::needed(&op)).0,
            op: Some(op),
        };
        let Applied { outcome, events, .. } = self.shard.apply(self.term, &entry);
        let mut printed = match &outcome {
            Outcome::SessionOpened { existed: None | Some(false) }
            | Outcome::Forgotten
            | Outcome::Lost => Vec::new(),
            outcome => vec![show::outcome(outcome)],
        };
        let rooms_told = events.len();
        for (code, events) in events {
            for event in events {
                // As it comes over the network.
                let event = Event::from_wire(&event.to_wire()).unwrap();
                let before = if rooms_told > 1 {
                    format!("{}: ", self.clients[&code].name())
                } else {
                    String::new()
                };
                printed.push(before + &show::event(&event));
                match self.clients.get_mut(&code) {
                    Some(client) => client.fold(&event).unwrap(),
                    None => drop(self.clients.insert(code.clone(), Room::begin(&event).unwrap())),
                }
            }
        }
        printed
    }

    fn here(&self) -> &Room {
        &self.clients[&code(&self.room)]
    }
}

fn command(words: &[&str]) -> Command {
    let optional = |text: &str| (text != "-").then(|| entry(text));
    match *words {
        ["create", name] => Command::Create { name: name.into() },
        ["enqueue", title] => Command::Enqueue { track: track(title), next: false },
        ["enqueue", title, "next"] => Command::Enqueue { track: track(title), next: true },
        ["remove", id] => Command::Remove { entry: entry(id) },
        ["move", id, "before", before] => {
            Command::Move { entry: entry(id), before: Some(entry(before)) }
        }
        ["move", id, "last"] => Command::Move { entry: entry(id), before: None },
        ["clear"] => Command::Clear,
        ["play", id] => Command::Play { entry: optional(id) },
        ["pause", id] => Command::Pause { entry: optional(id) },
        ["seek", id, to] => Command::Seek { entry: entry(id), position: position(to) },
        ["skip", id] => Command::Skip { entry: entry(id) },
        ["back", id] => Command::Back { entry: optional(id) },
        ["rename", name] => Command::Rename { name: name.into() },
        _ => panic!("no such command: {words:?}"),
    }
}

fn entry(text: &str) -> EntryId {
    EntryId(text.parse().unwrap())
}

/// A room's code, a session's or a track's id: made from its name, since nothing is drawn in a story.
fn bits(name: &str) -> u64 {
    name.bytes().fold(7, |bits, byte| bits.wrapping_mul(1_000_003).wrapping_add(byte.into()))
}

fn code(room: &str) -> RoomCode {
    RoomCode::from_random(bits(room))
}

fn session(user: &str) -> SessionId {
    SessionId((u128::from(bits(user)) << 7).to_be_bytes())
}

/// LUFS or dBTP.
fn hundredths(decibels: &str) -> i32 {
    (decibels.parse::<f64>().unwrap() * 100.0).round() as i32
}

fn track(title: &str) -> TrackId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&bits(title).to_be_bytes());
    TrackId(id)
}

/// `12.5`, in seconds; a part of a second to the millisecond; `+N`: flicks more.
fn instant(text: &str) -> SharedTime {
    let (text, flicks) = text.split_once('+').unwrap_or((text, "0"));
    let (secs, millis) = text.split_once('.').unwrap_or((text, "0"));
    let millis: i64 = format!("{millis:0<3}").parse().unwrap();
    let secs: i64 = secs.parse().unwrap_or_else(|_| panic!("not a time: {text}"));
    SharedTime(secs * FLICKS_PER_SECOND)
        + Flicks::from_millis(millis)
        + Flicks(flicks.parse().unwrap())
}

/// `1:30` or `1:30.250`.
fn position(text: &str) -> Flicks {
    let (minutes, secs) = text.split_once(':').expect("M:SS");
    Flicks::from_secs(minutes.parse::<i64>().unwrap() * 60) + instant(secs).since(SharedTime(0))
}
