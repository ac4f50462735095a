//! Acknowledged means kept: what a client was told is done is in the log, has its effect once, and is what
//! the client was told. What was refused never is. Nothing is there that nobody sent.
//!
//! What had an unknown outcome is looked up in the log: it is there or it is not, and both are fine. That
//! the rooms are what the log makes of them is judged where their digests are: in [`super::agreement`] for
//! nodes, in [`super::order`] for reads, in [`super::streams`] for watchers.

use std::collections::BTreeMap;

use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::command::Kind;
use jam_proto::wire::v1::event::Kind as Happened;
use jam_proto::wire::v1::{Enqueue, SubmitReply};
use prost::Message;

use super::operations::{CommandKey, Operation, operations};
use super::replay::{Replay, Step};
use super::verdict::{Findings, Verdict};
use crate::attack::SESSION_MARK;
use crate::history::{Answer, Hex, History, Request, reply_text};

/// Judges a history; `replay` is of the same one.
pub fn judge(history: &History, replay: &Replay<'_>) -> Verdict {
    let mut found = Findings::default();
    let operations = operations(history);
    let log = Log::of(replay);
    for operation in &operations {
        kept(operation, &log, &mut found);
    }
    once(replay, &mut found);
    sent(replay, &operations, &mut found);
    if let Some(why) = replay.open() {
        found.open(why);
    }
    found.verdict("nothing was acknowledged and nothing refused")
}

/// The log's steps, by what clients know of them.
struct Log<'a> {
    replay: &'a Replay<'a>,
    commands: BTreeMap<CommandKey, Vec<&'a Step>>,
    sessions: BTreeMap<&'a [u8], &'a Step>,
    tracks: BTreeMap<&'a [u8], &'a Step>,
}

impl<'a> Log<'a> {
    fn of(replay: &'a Replay<'a>) -> Self {
        let (mut commands, mut sessions, mut tracks) =
            <(BTreeMap<_, Vec<_>>, BTreeMap<_, _>, BTreeMap<_, _>)>::default();
        for step in replay.steps() {
            match &step.op {
                Some(Op::Command(command)) => {
                    commands.entry(CommandKey::of_logged(command)).or_default().push(step);
                }
                Some(Op::OpenSession(open)) => {
                    sessions.entry(open.session.as_slice()).or_insert(step);
                }
                Some(Op::RegisterTrack(register)) => {
                    if let Some(track) = &register.track {
                        tracks.entry(track.id.as_slice()).or_insert(step);
                    }
                }
                _ => {}
            }
        }
        Self { replay, commands, sessions, tracks }
    }
}

/// What was answered stands in the log.
fn kept(operation: &Operation<'_>, log: &Log<'_>, found: &mut Findings) {
    let Some((_, answer)) = operation.answered else { return };
    let client = operation.client;
    let lost = match (operation.request, answer) {
        (Request::Command { .. }, Answer::Reply(reply)) => {
            found.judged();
            return command(operation, reply, log, found);
        }
        (Request::Open { session, .. }, Answer::Opened) => {
            !log.sessions.contains_key(session.0.as_slice())
        }
        (Request::Upload { track }, Answer::Stored) => !log.tracks.contains_key(track.0.as_slice()),
        (_, Answer::Refused { .. }) => {
            found.judged();
            return;
        }
        _ => return,
    };
    found.judged();
    // In a hole it may well be.
    if lost && log.replay.open().is_none() {
        let what = operation.request;
        found.broken(
            format!(
                "{client} asked {what}, was told that it is done, and the log does not have it"
            ),
            operation.records(),
        );
    }
}

fn command(operation: &Operation<'_>, reply: &Hex, log: &Log<'_>, found: &mut Findings) {
    let client = operation.client;
    let Some(key) = CommandKey::of_request(operation.request) else { return };
    let name = key.name();
    let Ok(reply) = SubmitReply::decode(reply.0.as_slice()) else {
        found.broken(
            format!("{client}'s {name} got a reply that can't be decoded"),
            operation.records(),
        );
        return;
    };
    let steps = log.commands.get(&key).map_or(&[][..], Vec::as_slice);
    let told = reply_text(&reply);
    let Some(first) = steps.first() else {
        if log.replay.open().is_none() {
            found.broken(
                format!(
                    "{client}'s {name} was acknowledged ({told}), and the log does not have it"
                ),
                operation.records(),
            );
        }
        return;
    };
    if steps.iter().all(|step| step.reply().as_ref() != Some(&reply)) {
        let made = first.reply().map_or("nothing".to_owned(), |reply| reply_text(&reply));
        let what = if made == told { "with other particulars".to_owned() } else { made };
        found.broken(
            format!(
                "{client}'s {name} was answered: {told}; but by the log (at {}): {what}",
                first.index
            ),
            operation.records().chain(steps.iter().map(|step| step.record)),
        );
    }
}

/// A number of a session has its effect once, and one reply.
fn once(replay: &Replay<'_>, found: &mut Findings) {
    for (session, number, places) in replay.commands() {
        let steps = || places.iter().filter_map(|&place| replay.steps().get(place));
        let name = format!("command {number} of session {}", Hex(session.to_vec()).short());
        let effects: Vec<&Step> = steps().filter(|step| !step.events.is_empty()).collect();
        if let [first, second, ..] = effects[..] {
            found.broken(
                format!(
                    "{name} was applied twice, at log index {} and at {}",
                    first.index, second.index
                ),
                [first.record, second.record],
            );
        }
        let mut replies = steps().filter(|step| step.reached_the_room());
        if let Some(first) = replies.next() {
            let other = replies
                .find(|step| step.reply() != first.reply() && step.command() == first.command());
            if let Some(other) = other {
                found.broken(
                    format!(
                        "the retry of {name} at log index {} has another reply than the first try at {}",
                        other.index, first.index
                    ),
                    [first.record, other.record],
                );
            }
            enqueued(replay, first, &name, found);
        }
    }
}

/// What was added to a queue is what was asked for, under the id that was told.
fn enqueued(replay: &Replay<'_>, step: &Step, name: &str, found: &mut Findings) {
    let command = step
        .command()
        .and_then(|command| Some((&command.room, command.command.as_ref()?.kind.as_ref()?)));
    let Some((room, Kind::Enqueue(Enqueue { track, .. }))) = command else { return };
    let Some(reply) = step.reply().filter(|reply| reply.rejection.is_none()) else { return };
    let event = replay.room(room).and_then(|room| room.events.get(&reply.revision));
    let added = event.and_then(|(event, _)| match &event.kind {
        Some(Happened::Enqueued(enqueued)) => enqueued.entry.as_ref(),
        _ => None,
    });
    if added.is_none_or(|added| (added.id, &added.track) != (reply.entry, track)) {
        found.broken(
            format!(
                "{name} was to add a song and was told entry {}, which is not what was added",
                reply.entry
            ),
            [step.record],
        );
    }
}

/// What was applied was sent before, and not refused.
fn sent(replay: &Replay<'_>, operations: &[Operation<'_>], found: &mut Findings) {
    let mut tries: BTreeMap<CommandKey, Vec<&Operation<'_>>> = BTreeMap::new();
    let mut opened: BTreeMap<&[u8], usize> = BTreeMap::new();
    for operation in operations {
        if let Some(key) = CommandKey::of_request(operation.request) {
            tries.entry(key).or_default().push(operation);
        }
        if let Request::Open { session, .. } = operation.request {
            opened.entry(session.0.as_slice()).or_insert(operation.invoked);
        }
    }
    for step in replay.steps() {
        match &step.op {
            Some(Op::Command(command)) if !command.session.starts_with(SESSION_MARK) => {
                let key = CommandKey::of_logged(command);
                let tries = tries.get(&key).map_or(&[][..], Vec::as_slice);
                let before: Vec<_> = tries.iter().filter(|one| one.invoked < step.record).collect();
                if before.is_empty() {
                    found.broken(
                        format!(
                            "{} was applied at log index {}, and nobody had sent it",
                            key.name(),
                            step.index
                        ),
                        [step.record],
                    );
                } else if step.reached_the_room()
                    && let Some((_, code)) = before[0].refused()
                    && before.iter().all(|one| one.refused().is_some())
                {
                    found.broken(
                        format!(
                            "{} was refused ({code}), and applied at log index {}",
                            key.name(),
                            step.index
                        ),
                        before.iter().flat_map(|one| one.records()).chain([step.record]),
                    );
                }
            }
            Some(Op::OpenSession(open))
                if !open.session.starts_with(SESSION_MARK)
                    && opened
                        .get(open.session.as_slice())
                        .is_none_or(|&asked| asked > step.record) =>
            {
                let session = Hex(open.session.clone()).short();
                found.broken(
                    format!(
                        "session {session} was opened at log index {}, and nobody had asked",
                        step.index
                    ),
                    [step.record],
                );
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use jam_proto::command::Command;

    use super::super::story::{Story, TRACK, request, said};
    use super::*;
    use crate::history::What;

    fn verdict(story: &Story) -> Verdict {
        judge(&story.history, &Replay::of(&story.history))
    }

    fn enqueue() -> Command {
        Command::Enqueue { track: TRACK, next: false }
    }

    #[test]
    fn a_run_with_retries_refusals_and_unknowns_holds() {
        let mut story = Story::begin();
        story.enqueue("ann");
        // Lost on the way back, and sent again: the same reply.
        let command = story.next("ann", enqueue());
        let op = story.send("ann", &command);
        story.take(&command);
        story.answer(op, Answer::Unknown);
        let again = story.send("ann", &command);
        let reply = story.take(&command);
        story.answer(again, said(&reply));
        // Refused at first.
        let command = story.next("bob", enqueue());
        let op = story.send("bob", &command);
        story.answer(op, Answer::Refused { code: "no_quorum".to_owned() });
        let again = story.send("bob", &command);
        let reply = story.take(&command);
        story.answer(again, said(&reply));
        // Never heard of again: not applied, or applied.
        let command = story.next("bob", enqueue());
        story.send("bob", &command);
        let command = story.next("bob", enqueue());
        story.send("bob", &command);
        story.take(&command);
        // Judged and rejected.
        story.submit("ann", Command::Skip { entry: jam_proto::ids::EntryId(77) });
        verdict(&story).assert_held();
    }

    #[test]
    fn a_lost_command() {
        let mut story = Story::begin();
        story.enqueue("ann");
        story.forget_last();
        for node in 1..=3 {
            story.restart(node);
        }
        story.elect(2);
        verdict(&story).assert_broken(
            "was acknowledged (done, revision 2, entry 1), and the log does not have it",
        );
    }

    #[test]
    fn a_lost_song() {
        let mut story = Story::begin();
        let op = story.ask("bob", Request::Upload { track: Hex(vec![8; 32]) });
        story.answer(op, Answer::Stored);
        verdict(&story).assert_broken("bob asked to keep song 08080808…, was told that it is done");
    }

    #[test]
    fn another_reply_than_the_logs() {
        let mut story = Story::begin();
        let command = story.next("ann", enqueue());
        let op = story.send("ann", &command);
        let mut reply = story.take(&command);
        reply.entry = Some(jam_proto::ids::EntryId(9));
        story.answer(op, said(&reply));
        verdict(&story)
            .assert_broken("was answered: done, revision 2, entry 9; but by the log (at 7): done, revision 2, entry 1");
    }

    #[test]
    fn applied_twice() {
        let mut story = Story::begin();
        let command = story.next("ann", enqueue());
        let op = story.send("ann", &command);
        let reply = story.take(&command);
        story.answer(op, said(&reply));
        // The judge's own shard has no such bug, so its steps are made to look like it.
        let again = story.send("ann", &command);
        let reply = story.take(&command);
        story.answer(again, said(&reply));
        let mut replay = Replay::of(&story.history);
        replay.repeat_effects();
        judge(&story.history, &replay).assert_broken("was applied twice, at log index 7 and at 8");
    }

    #[test]
    fn a_retry_with_another_reply() {
        let mut story = Story::begin();
        let command = story.next("ann", enqueue());
        let op = story.send("ann", &command);
        let reply = story.take(&command);
        story.answer(op, said(&reply));
        let again = story.send("ann", &command);
        let mut reply = story.take(&command);
        reply.revision.0 += 1;
        story.answer(again, said(&reply));
        verdict(&story).assert_broken("was answered: done, revision 3, entry 1; but by the log");
    }

    #[test]
    fn refused_and_applied() {
        let mut story = Story::begin();
        let command = story.next("ann", enqueue());
        let op = story.send("ann", &command);
        story.answer(op, Answer::Refused { code: "no_quorum".to_owned() });
        story.take(&command);
        verdict(&story).assert_broken("was refused (no_quorum), and applied at log index 7");
    }

    #[test]
    fn applied_and_never_sent() {
        let mut story = Story::begin();
        let command = story.next("ann", enqueue());
        story.take(&command);
        verdict(&story).assert_broken("and nobody had sent it");
        // Sent, but later.
        story.ask("ann", request(&command));
        verdict(&story).assert_broken("and nobody had sent it");
    }

    #[test]
    fn nothing_is_no_pass() {
        let mut story = Story::begin();
        story.history.records.retain(|record| !matches!(record.what, What::Answered { .. }));
        verdict(&story).assert_open("nothing was acknowledged");
    }
}
