//! Each room is linearizable: as if every command and every read had happened at one instant between its
//! request and its answer.
//!
//! The log says in which order, so nothing has to be searched. It is an order that explains the
//! answers ([`super::acknowledged`] holds them against it one by one), so what is left to judge is
//! that it respects real time: what was answered before another request was sent comes before it. A read
//! stands behind the event of the revision that it tells, and must tell all that this revision was.

#[cfg(test)]
mod against_search;

use std::collections::BTreeMap;

use super::operations::{CommandKey, Operation, operations};
use super::replay::{Replay, RoomReplay};
use super::verdict::{Findings, Verdict};
use crate::history::{Answer, Digest, History, Request};

/// Judges a history; `replay` is of the same one.
pub fn judge(history: &History, replay: &Replay<'_>) -> Verdict {
    let mut found = Findings::default();
    let operations = operations(history);
    let mut rooms: BTreeMap<String, Room> = BTreeMap::new();
    commands(&operations, replay, &mut rooms);
    for operation in &operations {
        if let Some((room, read)) = Read::of(operation) {
            rooms.entry(room.to_owned()).or_default().reads.push(read);
        }
    }
    let unknown = RoomReplay::default();
    for (code, room) in &rooms {
        let replayed = replay.room(code).unwrap_or(&unknown);
        room.in_log_order(code, &mut found);
        room.reads_are_true(code, replayed, replay.open().is_none(), &mut found);
        room.reads_are_current(code, &mut found);
        room.reads_are_not_early(code, replayed, &mut found);
    }
    if let Some(why) = replay.open() {
        found.open(why);
    }
    found.verdict("no command and no read was answered")
}

/// What clients did in one room.
#[derive(Default)]
struct Room {
    /// In log order.
    commands: Vec<Placed>,
    /// In the order in which they were sent.
    reads: Vec<Read>,
}

/// A command that is in the log. All its tries count as one: it was sent by the first and known to be done by
/// the first answer.
struct Placed {
    name: String,
    step: usize,
    /// The room's revision after it.
    revision: u64,
    applied: usize,
    invoked: usize,
    answered: Option<usize>,
}

/// A read that was answered.
struct Read {
    client: String,
    revision: u64,
    /// Of what it saw; none: there was no such room.
    digest: Option<Digest>,
    invoked: usize,
    answered: usize,
}

impl Read {
    fn of<'a>(operation: &Operation<'a>) -> Option<(&'a str, Self)> {
        let Request::Read { room } = operation.request else { return None };
        let (answered, answer) = operation.answered?;
        let (revision, digest) = match answer {
            Answer::Room { revision, digest } => (*revision, Some(*digest)),
            Answer::NoRoom => (0, None),
            _ => return None,
        };
        let client = operation.client.to_owned();
        Some((
            room.as_str(),
            Self { client, revision, digest, invoked: operation.invoked, answered },
        ))
    }

    fn name(&self) -> String {
        format!("{}'s read at revision {}", self.client, self.revision)
    }
}

fn commands(operations: &[Operation<'_>], replay: &Replay<'_>, rooms: &mut BTreeMap<String, Room>) {
    let mut tries: BTreeMap<CommandKey, (usize, Option<usize>)> = BTreeMap::new();
    for operation in operations {
        let Some(key) = CommandKey::of_request(operation.request) else { continue };
        let (_, answered) = tries.entry(key).or_insert((operation.invoked, None));
        if let Some((record, Answer::Reply(_))) = operation.answered {
            *answered = Some(answered.map_or(record, |known| known.min(record)));
        }
    }
    for (place, step) in replay.steps().iter().enumerate() {
        let Some((command, reply)) = step.command().zip(step.reply()) else { continue };
        // Where it first reached its room is where it happened; each command happens once.
        if !step.reached_the_room() {
            continue;
        }
        let key = CommandKey::of_logged(command);
        let Some((invoked, answered)) = tries.remove(&key) else { continue };
        rooms.entry(command.room.clone()).or_default().commands.push(Placed {
            name: key.name(),
            step: place,
            revision: reply.revision,
            applied: step.record,
            invoked,
            answered,
        });
    }
}

impl Room {
    /// What was answered before another one was sent stands before it in the log.
    fn in_log_order(&self, code: &str, found: &mut Findings) {
        // The one among those passed that was sent last.
        let mut latest: Option<&Placed> = None;
        for command in &self.commands {
            if let Some(answered) = command.answered {
                found.judged();
                if let Some(later) = latest.filter(|later| later.invoked > answered) {
                    found.broken(
                        format!(
                            "in {code}, {} was answered before {} was sent, but stands behind it in the log",
                            command.name, later.name
                        ),
                        [command.invoked, answered, later.invoked, later.applied, command.applied],
                    );
                }
            }
            if latest.is_none_or(|latest| latest.invoked < command.invoked) {
                latest = Some(command);
            }
        }
    }

    /// A read tells what the room was at its revision.
    fn reads_are_true(&self, code: &str, replayed: &RoomReplay, whole: bool, found: &mut Findings) {
        for read in &self.reads {
            found.judged();
            let Some(digest) = read.digest else { continue };
            if read.revision > replayed.last() {
                if whole {
                    found.broken(
                        format!(
                            "{} of {code} tells more than the log holds, {}",
                            read.name(),
                            replayed.last()
                        ),
                        [read.invoked, read.answered],
                    );
                }
            } else if replayed.digests.get(&read.revision) != Some(&digest) {
                found.broken(
                    format!("{} of {code} is not what the room was at that revision", read.name()),
                    [read.invoked, read.answered],
                );
            }
        }
    }

    /// A read tells all that was known when it was sent; and a command that was sent after a read was
    /// answered stands behind what the read told.
    fn reads_are_current(&self, code: &str, found: &mut Findings) {
        // Who knew of which revision when: (record, revision, who). Then the most that was known so far.
        let mut known: Vec<(usize, u64, String)> = Vec::new();
        known.extend(
            self.commands
                .iter()
                .filter_map(|one| Some((one.answered?, one.revision, one.name.clone()))),
        );
        known.extend(self.reads.iter().map(|read| (read.answered, read.revision, read.name())));
        known.sort();
        for at in 1..known.len() {
            if known[at].1 < known[at - 1].1 {
                let (_, revision, who) = known[at - 1].clone();
                (known[at].1, known[at].2) = (revision, who);
            }
        }
        let before = |invoked: usize| known[..known.partition_point(|one| one.0 < invoked)].last();
        for read in &self.reads {
            if let Some((at, revision, who)) =
                before(read.invoked).filter(|known| known.1 > read.revision)
            {
                found.broken(
                    format!(
                        "{} of {code} is stale: {who} had told of revision {revision} before it was sent",
                        read.name()
                    ),
                    [*at, read.invoked, read.answered],
                );
            }
        }
        for command in &self.commands {
            let known = before(command.invoked).filter(|known| known.1 > command.revision);
            if let Some((at, revision, who)) = known {
                found.broken(
                    format!(
                        "{} was sent after {who} had told of revision {revision} of {code}, but led to revision {}",
                        command.name, command.revision
                    ),
                    [*at, command.invoked, command.applied],
                );
            }
        }
    }

    /// A read tells nothing that was not sent yet when it was answered.
    fn reads_are_not_early(&self, code: &str, replayed: &RoomReplay, found: &mut Findings) {
        let sent: BTreeMap<usize, &Placed> =
            self.commands.iter().map(|one| (one.step, one)).collect();
        // Up to each revision: the command among its events that was sent last.
        let mut latest: Vec<(u64, &Placed)> = Vec::new();
        for (revision, (_, step)) in &replayed.events {
            let Some(command) = sent.get(step) else { continue };
            if latest.last().is_none_or(|(_, latest)| latest.invoked < command.invoked) {
                latest.push((*revision, command));
            }
        }
        for read in &self.reads {
            let until = latest.partition_point(|(revision, _)| *revision <= read.revision);
            let early =
                latest[..until].last().filter(|(_, command)| command.invoked > read.answered);
            if let Some((_, command)) = early {
                found.broken(
                    format!(
                        "{} of {code} was answered before {} was sent, and tells of it",
                        read.name(),
                        command.name
                    ),
                    [read.invoked, read.answered, command.invoked],
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jam_proto::command::Command;

    use super::super::story::{ROOM, Story, TRACK, said};
    use super::*;

    fn verdict(story: &Story) -> Verdict {
        judge(&story.history, &Replay::of(&story.history))
    }

    fn enqueue() -> Command {
        Command::Enqueue { track: TRACK, next: false }
    }

    #[test]
    fn overlapping_commands_and_reads_hold() {
        let mut story = Story::begin();
        story.read("cat");
        let (a, b) = (story.next("ann", enqueue()), story.next("bob", enqueue()));
        let asked = [story.send("ann", &a), story.send("bob", &b)];
        let read = story.ask("cat", Request::Read { room: ROOM.to_owned() });
        let second = story.take(&b);
        let seen = story.room();
        let first = story.take(&a);
        story.answer(asked[0], said(&first));
        story.answer(read, seen);
        story.answer(asked[1], said(&second));
        story.read("cat");
        // A client that gave up, and a retry that was answered.
        let c = story.next("ann", enqueue());
        story.send("ann", &c);
        let reply = story.take(&c);
        story.read("cat");
        let again = story.send("ann", &c);
        story.take(&c);
        story.answer(again, said(&reply));
        verdict(&story).assert_held();
    }

    #[test]
    fn the_log_against_real_time() {
        let mut story = Story::begin();
        let (a, b) = (story.next("ann", enqueue()), story.next("bob", enqueue()));
        // Ann is told at once, although her command is committed later.
        let op = story.send("ann", &a);
        let mut early = story.clone();
        let reply = {
            early.take(&b);
            early.take(&a)
        };
        story.answer(op, said(&reply));
        let op = story.send("bob", &b);
        let reply = story.take(&b);
        story.take(&a);
        story.answer(op, said(&reply));
        let verdict = verdict(&story);
        verdict.assert_broken(
            "was answered before command 1 of session 62626262… in ABCD-EFGH-JKMN was sent",
        );
        verdict.assert_broken("stands behind it in the log");
    }

    #[test]
    fn a_stale_read() {
        let mut story = Story::begin();
        let old = story.room();
        story.enqueue("ann");
        let op = story.ask("cat", Request::Read { room: ROOM.to_owned() });
        story.answer(op, old);
        verdict(&story).assert_broken("cat's read at revision 1 of ABCD-EFGH-JKMN is stale");
    }

    #[test]
    fn reads_that_go_back() {
        let mut story = Story::begin();
        let old = story.room();
        let command = story.next("ann", enqueue());
        story.send("ann", &command);
        story.take(&command);
        story.read("cat");
        let op = story.ask("dan", Request::Read { room: ROOM.to_owned() });
        story.answer(op, old);
        verdict(&story)
            .assert_broken("cat's read at revision 2 had told of revision 2 before it was sent");
    }

    #[test]
    fn a_room_that_is_not_there_yet() {
        let mut story = Story::begin();
        let op = story.ask("cat", Request::Read { room: ROOM.to_owned() });
        story.answer(op, Answer::NoRoom);
        verdict(&story).assert_broken("cat's read at revision 0 of ABCD-EFGH-JKMN is stale");
    }

    #[test]
    fn a_read_of_the_future() {
        let mut story = Story::begin();
        let mut later = story.clone();
        later.enqueue("ann");
        let op = story.ask("cat", Request::Read { room: ROOM.to_owned() });
        story.answer(op, later.room());
        story.enqueue("ann");
        verdict(&story).assert_broken("and tells of it");
    }

    #[test]
    fn a_read_of_what_never_was() {
        let mut story = Story::begin();
        let mut other = story.clone();
        other.submit("ann", Command::Rename { name: "Saturday".to_owned() });
        story.enqueue("ann");
        let op = story.ask("cat", Request::Read { room: ROOM.to_owned() });
        story.answer(op, other.room());
        verdict(&story).assert_broken("is not what the room was at that revision");
        other.enqueue("ann");
        let op = story.ask("cat", Request::Read { room: ROOM.to_owned() });
        story.answer(op, other.room());
        verdict(&story).assert_broken("tells more than the log holds, 2");
    }
}
