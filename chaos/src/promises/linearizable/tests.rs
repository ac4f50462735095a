//! Good stories, spoiled.

use jam_proto::command::Command;
use jam_proto::ids::EntryId;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{ClockEpoch, PauseUnheard};

use super::super::story::{ROOM, Story, TRACK, said};
use super::*;
use crate::history::{Answer, Request, What};

fn verdict(story: &Story) -> Verdict {
    judge(&story.history, &Replay::of(&story.history))
}

fn enqueue() -> Command {
    Command::Enqueue { track: TRACK, next: false }
}

fn ask_to_read(story: &mut Story, client: &str) -> u64 {
    story.ask(client, Request::Read { room: ROOM.to_owned() })
}

#[test]
fn overlapping_commands_and_reads_hold() {
    let mut story = Story::begin();
    story.read("cat");
    let (a, b) = (story.next("ann", enqueue()), story.next("bob", enqueue()));
    let asked = [story.send("ann", &a), story.send("bob", &b)];
    let read = ask_to_read(&mut story, "cat");
    let second = story.take(&b);
    let seen = story.room();
    let first = story.take(&a);
    story.answer(asked[0], said(&first));
    story.answer(read, seen);
    story.answer(asked[1], said(&second));
    story.read("cat");
    verdict(&story).assert_held();
}

#[test]
fn songs_that_end_and_the_clusters_own_doing_hold() {
    let mut story = Story::begin();
    story.enqueue("ann");
    story.enqueue("ann");
    story.play("bob");
    story.read("cat");
    // The first song ends by itself, so there is something to go back to.
    story.wait_ms(200_000);
    story.submit("ann", Command::Back { entry: Some(EntryId(2)) });
    let floor = story.shared();
    let bump = ClockEpoch { epoch: 2, term: 1, node: 1, floor, since: floor, ..Default::default() };
    story.commit(vec![Op::ClockEpoch(bump)]);
    story.read("cat");
    story.commit(vec![Op::PauseUnheard(PauseUnheard { room: ROOM.to_owned(), revision: 6 })]);
    story.read("cat");
    story.submit("ann", Command::Pause { entry: Some(EntryId(1)) });
    story.submit("ann", Command::Skip { entry: EntryId(77) });
    story.submit("bob", Command::Rename { name: "Saturday".to_owned() });
    story.read("dan");
    verdict(&story).assert_held();
}

#[test]
fn what_the_cluster_did_by_itself_is_seen() {
    let mut story = Story::begin();
    story.enqueue("ann");
    story.play("bob");
    let old = story.room();
    story.commit(vec![Op::PauseUnheard(PauseUnheard { room: ROOM.to_owned(), revision: 3 })]);
    story.read("cat");
    let op = ask_to_read(&mut story, "dan");
    story.answer(op, old);
    verdict(&story).assert_broken("no order explains dan's read at revision 3");
}

#[test]
fn a_stale_read() {
    let mut story = Story::begin();
    let old = story.room();
    story.enqueue("ann");
    let op = ask_to_read(&mut story, "cat");
    story.answer(op, old);
    verdict(&story).assert_broken("no order explains cat's read at revision 1");
}

#[test]
fn a_room_that_is_not_there_any_more() {
    let mut story = Story::begin();
    let op = ask_to_read(&mut story, "cat");
    story.answer(op, Answer::NoRoom);
    verdict(&story).assert_broken("no order explains cat's read at revision 0");
}

#[test]
fn a_read_of_what_never_was() {
    let mut story = Story::begin();
    let mut other = story.clone();
    other.submit("ann", Command::Rename { name: "Saturday".to_owned() });
    story.enqueue("ann");
    let op = ask_to_read(&mut story, "cat");
    story.answer(op, other.room());
    verdict(&story).assert_broken("no order explains cat's read at revision 2");
}

#[test]
fn a_lost_update() {
    let mut story = Story::begin();
    // Two nodes that both lead: each takes a command upon the same room.
    let (a, b) = (story.next("ann", enqueue()), story.next("bob", enqueue()));
    let first = story.send("ann", &a);
    let second = story.send("bob", &b);
    let mut other = story.clone();
    let reply = story.take(&a);
    story.answer(first, said(&reply));
    story.answer(second, said(&other.take(&b)));
    verdict(&story).assert_broken("in ABCD-EFGH-JKMN, no order explains command");
}

#[test]
fn an_acknowledged_command_that_is_lost() {
    let mut story = Story::begin();
    story.enqueue("ann");
    story.forget_last();
    for node in 1..=3 {
        story.restart(node);
    }
    story.read("cat");
    verdict(&story).assert_broken("no order explains cat's read at revision 1");
}

#[test]
fn another_order_than_real_time() {
    let mut story = Story::begin();
    let (a, b) = (story.next("ann", enqueue()), story.next("bob", enqueue()));
    // Ann is told at once, although her command is committed behind Bob's, who has not asked yet.
    let op = story.send("ann", &a);
    let mut early = story.clone();
    early.take(&b);
    let reply = early.take(&a);
    story.answer(op, said(&reply));
    let op = story.send("bob", &b);
    let reply = story.take(&b);
    story.take(&a);
    story.answer(op, said(&reply));
    verdict(&story).assert_broken("done, revision 3, entry 2): 1 of 3 operations fit");
}

#[test]
fn a_reply_that_the_room_would_not_give() {
    let mut story = Story::begin();
    let command = story.next("ann", enqueue());
    let op = story.send("ann", &command);
    let mut reply = story.take(&command);
    reply.entry = Some(EntryId(9));
    story.answer(op, said(&reply));
    verdict(&story).assert_broken("(done, revision 2, entry 9)");
    // Nor may it be heard before what was heard already.
    let mut story = Story::begin();
    let command = story.next("ann", enqueue());
    let op = story.send("ann", &command);
    let mut reply = story.take(&command);
    reply.effective_at.0 = 0;
    story.answer(op, said(&reply));
    verdict(&story).assert_broken("(done, revision 2, entry 1)");
}

#[test]
fn tries_of_one_command_are_one_operation() {
    let mut story = Story::begin();
    // Lost on the way back; others see it; then the retry is answered.
    let command = story.next("ann", enqueue());
    let op = story.send("ann", &command);
    let reply = story.take(&command);
    story.answer(op, Answer::Unknown);
    story.read("cat");
    story.enqueue("bob");
    let again = story.send("ann", &command);
    story.take(&command);
    story.answer(again, said(&reply));
    verdict(&story).assert_held();
    // And once more, with another reply.
    let again = story.send("ann", &command);
    let mut other = reply.clone();
    other.revision.0 += 1;
    story.answer(again, said(&other));
    verdict(&story)
        .assert_broken("got two replies: done, revision 2, entry 1; and: done, revision 3");
}

#[test]
fn a_refused_command_may_come_again() {
    let mut story = Story::begin();
    let command = story.next("ann", enqueue());
    let op = story.send("ann", &command);
    story.answer(op, Answer::Refused { code: "no_quorum".to_owned() });
    story.read("cat");
    let op = story.send("ann", &command);
    let reply = story.take(&command);
    story.answer(op, said(&reply));
    verdict(&story).assert_held();
}

#[test]
fn an_unknown_outcome_that_the_log_has_not() {
    let mut story = Story::begin();
    let command = story.next("ann", enqueue());
    story.send("ann", &command);
    story.read("cat");
    story.enqueue("bob");
    story.read("cat");
    verdict(&story).assert_held();
    // So nobody can have seen it.
    let mut other = story.clone();
    other.take(&command);
    let op = ask_to_read(&mut story, "dan");
    story.answer(op, other.room());
    verdict(&story).assert_broken("no order explains dan's read at revision 3");
}

#[test]
fn an_unknown_outcome_that_the_log_has() {
    let mut story = Story::begin();
    let before = story.room();
    let command = story.next("ann", enqueue());
    let op = story.send("ann", &command);
    story.take(&command);
    // Nobody has seen it yet, so it may not have happened.
    let read = ask_to_read(&mut story, "cat");
    story.answer(read, before.clone());
    story.answer(op, Answer::Unknown);
    story.read("cat");
    story.enqueue("ann");
    verdict(&story).assert_held();
    // Now somebody has.
    let read = ask_to_read(&mut story, "dan");
    story.answer(read, before);
    verdict(&story).assert_broken("no order explains dan's read at revision 1");
}

#[test]
fn too_many_steps_are_no_pass() {
    let mut story = Story::begin();
    for _ in 0..8 {
        story.enqueue("ann");
        story.read("cat");
    }
    let replay = Replay::of(&story.history);
    judge_within(10, &story.history, &replay)
        .assert_open("no order of the 17 operations in ABCD-EFGH-JKMN was found within 10 steps");
    judge_within(18, &story.history, &replay).assert_held();
}

#[test]
fn a_hole_in_the_log_is_no_pass() {
    let mut story = Story::begin();
    story.enqueue("ann");
    story.enqueue("ann");
    let hole = story.index - 1;
    story
        .history
        .records
        .retain(|record| !matches!(record.what, What::Applied { index, .. } if index == hole));
    verdict(&story).assert_open("no node's record holds the log from");
}

#[test]
fn nothing_is_no_pass() {
    let mut story = Story::begin();
    story.history.records.retain(|record| !matches!(record.what, What::Answered { .. }));
    verdict(&story).assert_open("no command and no read was answered");
}
