//! The table of sessions against one that searches all of them, and clients that follow the rules against a network
//! that loses, repeats and delays.

use proptest::prelude::*;

use super::*;
use crate::ids::{EntryId, Revision, TrackId};

/// Small, so that opening one closes another one all the time.
const LIMIT: usize = 5;

fn secs(secs: i64) -> SharedTime {
    SharedTime(0) + Flicks::from_secs(secs)
}

fn origin(number: u8) -> Option<Origin> {
    (number > 0).then_some(Origin([number; 8]))
}

fn enqueue(session: SessionId, number: u64) -> RoomCommand {
    let command = Command::Enqueue { track: TrackId([1; 32]), next: false };
    RoomCommand { session, number, room: RoomCode::from_random(1), command }
}

fn reply(entry: u64) -> Reply {
    Reply {
        revision: Revision(entry),
        effective_at: SharedTime(0),
        entry: Some(EntryId(entry)),
        rejection: None,
    }
}

fn id(number: u64) -> SessionId {
    SessionId(u128::from(number).to_be_bytes())
}

/// Opens a session and gives it a command.
fn used(sessions: &mut Sessions, number: u64, from: u8, at: i64) {
    sessions.open(id(number), "ann", origin(from), secs(at));
    sessions.settle(enqueue(id(number), 1), reply(number), secs(at));
}

fn open(sessions: &Sessions) -> Vec<u64> {
    let numbers = sessions.iter().map(|(id, _)| u128::from_be_bytes(id.0) as u64);
    numbers.collect()
}

#[test]
fn those_never_used_go_first() {
    let mut sessions = Sessions::with_limit(3);
    used(&mut sessions, 1, 1, 0);
    sessions.open(id(2), "ann", origin(2), secs(5));
    sessions.open(id(3), "ann", origin(3), secs(4));
    let opening = sessions.open(id(4), "ann", origin(1), secs(100_000));
    assert_eq!(opening, Opening::New { evicted: Some(Evicted::NeverUsed) });
    assert_eq!(open(&sessions), [1, 2, 4], "the oldest of those without a command went");
}

#[test]
fn then_those_of_the_origin_that_holds_most() {
    let mut sessions = Sessions::with_limit(4);
    used(&mut sessions, 1, 1, 0);
    used(&mut sessions, 2, 2, 1);
    used(&mut sessions, 3, 2, 2);
    used(&mut sessions, 4, 3, 3);
    let opening = sessions.open(id(5), "ann", origin(1), secs(10_000));
    assert_eq!(opening, Opening::New { evicted: Some(Evicted::Idle) });
    assert_eq!(open(&sessions), [1, 3, 4, 5], "the least recently used one of origin 2 went");
}

#[test]
fn what_was_used_of_late_stays() {
    let mut sessions = Sessions::with_limit(3);
    let protected = limits::SESSION_PROTECTED_SECS;
    used(&mut sessions, 1, 1, 0);
    used(&mut sessions, 2, 2, 100);
    used(&mut sessions, 3, 2, 100);
    assert_eq!(
        sessions.open(id(4), "ann", origin(3), secs(protected - 1)),
        Opening::Full { limit: 3 }
    );
    // Session 1 may go now, but not for one more of those who hold most.
    assert_eq!(sessions.open(id(4), "ann", origin(2), secs(protected)), Opening::Full { limit: 3 });
    let opening = sessions.open(id(4), "ann", origin(3), secs(protected));
    assert_eq!(opening, Opening::New { evicted: Some(Evicted::Idle) });
    assert_eq!(open(&sessions), [2, 3, 4]);
}

#[test]
fn below_the_feature_level_the_least_recently_used_goes() {
    let mut sessions = Sessions::with_limit(2);
    sessions.open_first(id(1), "ann", secs(0));
    sessions.settle(enqueue(id(1), 1), reply(1), secs(1));
    sessions.open_first(id(2), "ann", secs(2));
    sessions.open_first(id(3), "ann", secs(3));
    assert_eq!(open(&sessions), [2, 3], "although session 1 was used a moment ago");
}

/// Why a client opens a session once, and why one with a command under way stays.
#[test]
fn a_session_that_is_opened_again_remembers_nothing() {
    let mut sessions = Sessions::with_limit(1);
    used(&mut sessions, 1, 1, 0);
    assert!(matches!(sessions.admit(&enqueue(id(1), 1)), Admission::Repeated(_)));
    sessions.open(id(2), "ann", origin(2), secs(limits::SESSION_PROTECTED_SECS));
    assert!(matches!(sessions.admit(&enqueue(id(1), 1)), Admission::Refused(_)));
    sessions.open(id(1), "ann", origin(1), secs(limits::SESSION_PROTECTED_SECS));
    assert!(matches!(sessions.admit(&enqueue(id(1), 1)), Admission::New(_)));
}

/// A session of the table that searches all of them.
#[derive(Clone, Debug)]
struct Row {
    id: SessionId,
    origin: Option<Origin>,
    used: SharedTime,
    number: u64,
}

#[derive(Default)]
struct Plain(Vec<Row>);

impl Plain {
    fn open(&mut self, id: SessionId, origin: Option<Origin>, stamp: SharedTime) -> Opening {
        if self.0.iter().any(|row| row.id == id) {
            return Opening::Existed;
        }
        let mut evicted = None;
        if self.0.len() == LIMIT {
            let Some((victim, kind)) = self.victim(origin, stamp) else {
                return Opening::Full { limit: LIMIT };
            };
            self.0.retain(|row| row.id != victim);
            evicted = Some(kind);
        }
        self.0.push(Row { id, origin, used: stamp, number: 0 });
        Opening::New { evicted }
    }

    fn victim(&self, origin: Option<Origin>, stamp: SharedTime) -> Option<(SessionId, Evicted)> {
        let oldest =
            |rows: Vec<&Row>| rows.into_iter().min_by_key(|row| (row.used, row.id)).cloned();
        if let Some(row) = oldest(self.0.iter().filter(|row| row.number == 0).collect()) {
            return Some((row.id, Evicted::NeverUsed));
        }
        let holds = |of| self.0.iter().filter(|row| row.origin == of).count();
        let largest = self.0.iter().map(|row| (holds(row.origin), row.origin)).max()?.1;
        let of_largest = self.0.iter().filter(|row| row.origin == largest).collect();
        let all = if origin == largest { Vec::new() } else { self.0.iter().collect() };
        let idle =
            |row: &Row| stamp.since(row.used) >= Flicks::from_secs(limits::SESSION_PROTECTED_SECS);
        let victim = oldest(of_largest).filter(idle).or_else(|| oldest(all).filter(idle))?;
        Some((victim.id, Evicted::Idle))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open { session: u64, from: u8 },
    Use { session: u64 },
    Wait { secs: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12u64, 0..4u8).prop_map(|(session, from)| Step::Open { session, from }),
        4 => (0..12u64).prop_map(|session| Step::Use { session }),
        2 => (1..400i64).prop_map(|secs| Step::Wait { secs }),
    ]
}

/// What the clients of a story do, and what the network does to them.
#[derive(Clone, Debug)]
enum Act {
    /// A client with nothing under way sends a new command; its answer may get lost.
    Send {
        client: usize,
        from: u8,
        lost: bool,
        opened_twice: bool,
    },
    /// A client sends what is under way once more: a retry, or the next process after a crash.
    Resend {
        client: usize,
        lost: bool,
    },
    /// A command whose answer was lost arrives once more.
    Repeat {
        which: prop::sample::Index,
    },
    /// Somebody opens sessions, and may use them.
    Flood {
        sessions: usize,
        from: u8,
        used: bool,
    },
    Wait {
        secs: i64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let (flag, client) = (any::<bool>, || 0..3usize);
    prop_oneof![
        6 => (client(), 0..3u8, flag(), flag())
            .prop_map(|(client, from, lost, opened_twice)| Act::Send { client, from, lost, opened_twice }),
        6 => (client(), flag()).prop_map(|(client, lost)| Act::Resend { client, lost }),
        2 => any::<prop::sample::Index>().prop_map(|which| Act::Repeat { which }),
        3 => (1..9usize, 0..3u8, flag()).prop_map(|(sessions, from, used)| Act::Flood { sessions, from, used }),
        3 => prop_oneof![1..30i64, 300..1200i64, Just(limits::SESSION_IDLE_SECS_MAX + 1)]
            .prop_map(|secs| Act::Wait { secs }),
    ]
}

/// Clients that follow the rules, and how often each of their commands was applied.
#[derive(Default)]
struct Story {
    sessions: Option<Sessions>,
    now: i64,
    drawn: u64,
    /// By client: its open session and the last number in it.
    open: [Option<(SessionId, u64)>; 3],
    under_way: [Option<(SessionId, u64)>; 3],
    applied: std::collections::BTreeMap<(SessionId, u64), u32>,
    lost: Vec<(SessionId, u64)>,
    /// Openings that arrive once more, and until when.
    opens: Vec<(SessionId, i64)>,
}

/// The answer to one attempt.
#[derive(PartialEq)]
enum Answer {
    Done,
    Refused,
}

impl Story {
    fn table(&mut self) -> &mut Sessions {
        self.sessions.get_or_insert_with(|| Sessions::with_limit(LIMIT))
    }

    fn stamp(&mut self) -> SharedTime {
        self.drawn += 1;
        secs(self.now) + Flicks(self.drawn as i64)
    }

    fn open(&mut self, from: u8) -> Option<SessionId> {
        let stamp = self.stamp();
        let fresh = id(self.drawn);
        self.table().expire(stamp, Some(fresh));
        match self.table().open(fresh, "ann", origin(from), stamp) {
            Opening::Full { .. } => None,
            _ => Some(fresh),
        }
    }

    fn command(&mut self, session: SessionId, number: u64) -> Answer {
        let stamp = self.stamp();
        let request = enqueue(session, number);
        self.table().expire(stamp, Some(session));
        match self.table().admit(&request) {
            Admission::New(_) => {
                *self.applied.entry((session, number)).or_default() += 1;
                self.table().settle(request, reply(number), stamp);
                Answer::Done
            }
            Admission::Repeated(_) => Answer::Done,
            Admission::Refused(_) => Answer::Refused,
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Send { client, from, lost, opened_twice } if self.under_way[client].is_none() => {
                let (session, last) = match self.open[client] {
                    Some(open) => open,
                    None => {
                        let Some(session) = self.open(from) else { return };
                        if opened_twice {
                            self.opens.push((session, self.now + 30));
                        }
                        (session, 0)
                    }
                };
                self.open[client] = Some((session, last + 1));
                let answer = self.command(session, last + 1);
                if lost {
                    self.under_way[client] = Some((session, last + 1));
                    self.lost.push((session, last + 1));
                } else if answer == Answer::Refused {
                    // Its first attempt was refused, so it was not applied: the next one is a new session's.
                    assert_eq!(self.applied.get(&(session, last + 1)), None);
                    self.open[client] = None;
                }
            }
            Act::Resend { client, lost } => {
                let Some((session, number)) = self.under_way[client] else { return };
                let answer = self.command(session, number);
                if lost {
                    self.lost.push((session, number));
                    return;
                }
                self.under_way[client] = None;
                match answer {
                    Answer::Done => assert_eq!(self.applied[&(session, number)], 1),
                    // Whether it was applied is not known, and it is never sent again.
                    Answer::Refused => self.open[client] = None,
                }
            }
            Act::Repeat { which } if !self.lost.is_empty() => {
                let (session, number) = *which.get(&self.lost);
                self.command(session, number);
            }
            Act::Flood { sessions, from, used } => {
                for _ in 0..sessions {
                    if let Some(session) = self.open(from)
                        && used
                    {
                        self.command(session, 1);
                    }
                }
            }
            Act::Wait { secs } => {
                self.now += secs;
                let now = self.now;
                let arriving: Vec<_> = std::mem::take(&mut self.opens);
                for (session, _) in arriving.into_iter().filter(|(_, until)| now <= *until) {
                    let stamp = self.stamp();
                    self.table().open(session, "ann", None, stamp);
                }
            }
            Act::Send { .. } | Act::Repeat { .. } => {}
        }
    }
}

proptest! {
    #[test]
    fn the_indexes_agree_with_a_search(steps in prop::collection::vec(step(), 0..120)) {
        let mut sessions = Sessions::with_limit(LIMIT);
        let mut plain = Plain::default();
        let mut now = 0;
        for (index, step) in steps.into_iter().enumerate() {
            let stamp = secs(now) + Flicks(index as i64);
            match step {
                Step::Open { session, from } => prop_assert_eq!(
                    sessions.open(id(session), "ann", origin(from), stamp),
                    plain.open(id(session), origin(from), stamp)
                ),
                Step::Use { session } => {
                    let number = index as u64 + 1;
                    if let Some(row) = plain.0.iter_mut().find(|row| row.id == id(session)) {
                        (row.used, row.number) = (stamp, number);
                    }
                    sessions.settle(enqueue(id(session), number), reply(number), stamp);
                }
                Step::Wait { secs } => now += secs,
            }
            let mut rows = plain.0.clone();
            rows.sort_by_key(|row| row.id);
            let found: Vec<_> = sessions.iter().map(|(id, session)| (*id, session.origin, session.used)).collect();
            let wanted: Vec<_> = rows.iter().map(|row| (row.id, row.origin, row.used)).collect();
            prop_assert_eq!(found, wanted);
            // From a snapshot the indexes come out the same.
            let again = sessions.iter().fold(Sessions::with_limit(LIMIT), |mut again, (id, session)| {
                again.insert(*id, session.clone());
                again
            });
            prop_assert_eq!(&again, &sessions);
        }
    }

    #[test]
    fn nothing_is_applied_twice(acts in prop::collection::vec(act(), 0..200)) {
        let mut story = Story::default();
        for act in &acts {
            story.act(act);
            prop_assert!(story.applied.values().all(|times| *times == 1), "{:?}", story.applied);
        }
    }
}
