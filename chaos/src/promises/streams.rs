//! A watcher gets each event of its room once and in order, all of an entry in one message, and nothing
//! else, over all its streams. A snapshot is the room as it was at its revision, and the next event is the
//! one after it. Nobody is taken back to what they had left behind.

use std::collections::BTreeMap;

use jam_proto::wire::v1::{Event, RoomSnapshot};
use prost::Message;

use super::replay::{Replay, RoomReplay};
use super::verdict::{Findings, Verdict};
use crate::history::{Digest, Got, Hex, History, What};

/// Judges a history; `replay` is of the same one.
pub fn judge(history: &History, replay: &Replay<'_>) -> Verdict {
    let mut found = Findings::default();
    let unknown = RoomReplay::default();
    let mut watchers: BTreeMap<u64, Stream<'_>> = BTreeMap::new();
    // What each watcher has, and since which record, once its stream has ended.
    let mut left: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
    for (record, what) in history.records.iter().map(|record| &record.what).enumerate() {
        match what {
            What::Watch { watcher, node, room, after } => {
                let stream = Stream {
                    name: format!("watcher {watcher} at node {node}"),
                    code: room,
                    replay,
                    room: replay.room(room).unwrap_or(&unknown),
                    have: *after,
                    last: record,
                };
                let before = watchers.remove(watcher).map(|before| (before.have, before.last));
                let (have, since) = before.or(left.remove(watcher)).unwrap_or((0, record));
                if *after > have {
                    let what = format!("it asks for what comes after {after}, and has {have}");
                    found.broken(format!("{} of {room}: {what}", stream.name), [since, record]);
                }
                watchers.insert(*watcher, stream);
            }
            What::Watched { watcher, got } => match watchers.get_mut(watcher) {
                Some(stream) => stream.take(got, record, &mut found),
                None => found.broken(
                    format!("watcher {watcher} gets a message, and had not asked for any"),
                    [record],
                ),
            },
            // A stream that has ended says nothing more.
            What::WatchEnded { watcher, .. } => {
                if let Some(stream) = watchers.remove(watcher) {
                    left.insert(*watcher, (stream.have, stream.last));
                }
            }
            _ => {}
        }
    }
    if let Some(why) = replay.open() {
        found.open(why);
    }
    found.verdict("nobody watched")
}

struct Stream<'a> {
    name: String,
    code: &'a str,
    replay: &'a Replay<'a>,
    room: &'a RoomReplay,
    /// The revision that the watcher has; 0: nothing.
    have: u64,
    /// The record that led to it.
    last: usize,
}

impl Stream<'_> {
    fn take(&mut self, got: &Got, record: usize, found: &mut Findings) {
        found.judged();
        match got {
            Got::Snapshot(bytes) => self.snapshot(bytes, record, found),
            Got::Events(events) => self.events(events, record, found),
            Got::Progress { revision, applied } => self.mark(*revision, *applied, record, found),
        }
    }

    fn broken(&self, what: &str, record: usize, found: &mut Findings) {
        let Self { name, code, .. } = self;
        found.broken(format!("{name} of {code}: {what}"), [self.last, record]);
    }

    /// Nothing can be said of what lies behind a hole of the log.
    fn known(&self, revision: u64) -> bool {
        self.replay.open().is_none() || revision <= self.room.last()
    }

    fn snapshot(&mut self, bytes: &Hex, record: usize, found: &mut Findings) {
        let Ok(snapshot) = RoomSnapshot::decode(bytes.0.as_slice()) else {
            return self.broken("its snapshot can't be decoded", record, found);
        };
        let revision = snapshot.revision;
        if snapshot.code != self.code {
            self.broken(&format!("its snapshot is of {}", snapshot.code), record, found);
        } else if revision < self.have {
            let what = format!("its snapshot goes back to revision {revision} from {}", self.have);
            self.broken(&what, record, found);
        } else if self.known(revision)
            && self.room.digests.get(&revision) != Some(&Digest::of_snapshot(&snapshot))
        {
            let what = format!("its snapshot is not what the room was at revision {revision}");
            self.broken(&what, record, found);
        }
        (self.have, self.last) = (revision, record);
    }

    fn events(&mut self, events: &[Hex], record: usize, found: &mut Findings) {
        if self.have == 0 {
            self.broken(
                "it has nothing of the room, and gets events before a snapshot",
                record,
                found,
            );
        }
        if events.is_empty() {
            self.broken("it gets a message without events", record, found);
        }
        for bytes in events {
            let Ok(event) = Event::decode(bytes.0.as_slice()) else {
                self.broken("its event can't be decoded", record, found);
                continue;
            };
            self.event(&event, record, found);
        }
        // Where one message ends, an entry's events end.
        let step = |revision: u64| self.room.events.get(&revision).map(|(_, step)| *step);
        if let (Some(step), Some(next)) = (step(self.have), step(self.have + 1))
            && step == next
        {
            let what =
                format!("a message ends at revision {}, within the events of one entry", self.have);
            self.broken(&what, record, found);
        }
    }

    fn event(&mut self, event: &Event, record: usize, found: &mut Findings) {
        let (have, revision) = (self.have, event.revision);
        if revision <= have {
            let what = format!("event {revision} comes, and it has all up to {have}");
            return self.broken(&what, record, found);
        }
        if have > 0 && revision > have + 1 {
            let missed = match revision - have {
                2 => format!("event {} is missing", have + 1),
                _ => format!("events {} to {} are missing", have + 1, revision - 1),
            };
            self.broken(&format!("{missed}: it has {have} and gets {revision}"), record, found);
        } else if self.known(revision) {
            match self.room.events.get(&revision) {
                None => {
                    let what = format!("event {revision} comes, and the log has no such event");
                    self.broken(&what, record, found);
                }
                Some((made, _)) if made != event => {
                    let what = format!("event {revision} is not the one that the log made");
                    self.broken(&what, record, found);
                }
                Some(_) => {}
            }
        }
        (self.have, self.last) = (revision, record);
    }

    /// A mark says that the watcher has all that its node has.
    fn mark(&mut self, revision: u64, applied: u64, record: usize, found: &mut Findings) {
        if revision != self.have {
            let what =
                format!("a mark says that it has revision {revision}, and it has {}", self.have);
            return self.broken(&what, record, found);
        }
        let steps = self.replay.steps();
        let behind = steps.partition_point(|step| step.index <= applied);
        let made = behind.checked_sub(1).map_or(0, |last| self.room.revision_after(last));
        if made > self.have {
            let what = format!(
                "a mark says that nothing is missing up to log index {applied}, but event {} is",
                self.have + 1
            );
            self.broken(&what, record, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;

    fn verdict(story: &Story) -> Verdict {
        judge(&story.history, &Replay::of(&story.history))
    }

    /// A watcher that sees the room played, leaves, and comes back.
    fn watched() -> Story {
        let mut story = Story::begin();
        story.watch(1, 2, 0);
        story.enqueue("ann");
        story.play("bob");
        let (revision, applied) = (3, story.index);
        story.note(What::Watched { watcher: 1, got: Got::Progress { revision, applied } });
        story.unwatch(1);
        story.enqueue("bob");
        story.watch(1, 3, 3);
        story.enqueue("ann");
        story.watch(2, 3, 0);
        story.enqueue("ann");
        story
    }

    /// The places of messages with events that `watcher` got.
    fn messages(story: &Story, watcher: u64) -> Vec<usize> {
        let records = story.history.records.iter().enumerate();
        let theirs = records.filter(|(_, record)| {
            matches!(&record.what, What::Watched { watcher: of, got: Got::Events(_) } if *of == watcher)
        });
        theirs.map(|(place, _)| place).collect()
    }

    #[test]
    fn a_resumed_watcher_holds() {
        let story = watched();
        assert_eq!(messages(&story, 1).len(), 5);
        verdict(&story).assert_held();
    }

    #[test]
    fn a_dropped_event() {
        let mut story = watched();
        let place = messages(&story, 1)[0];
        story.history.records.remove(place);
        verdict(&story).assert_broken(
            "watcher 1 at node 2 of ABCD-EFGH-JKMN: event 2 is missing: it has 1 and gets 3",
        );
    }

    #[test]
    fn an_event_dropped_before_a_mark() {
        let mut story = watched();
        let place = messages(&story, 1)[1];
        story.history.records.remove(place);
        for record in &mut story.history.records {
            if let What::Watched { got: Got::Progress { revision, .. }, .. } = &mut record.what {
                *revision = 2;
            }
        }
        verdict(&story).assert_broken("nothing is missing up to log index 8, but event 3 is");
    }

    #[test]
    fn an_event_dropped_at_the_snapshots_seam() {
        let mut story = watched();
        let place = messages(&story, 2)[0];
        story.history.records.remove(place);
        story.enqueue("bob");
        verdict(&story).assert_broken("watcher 2 at node 3 of ABCD-EFGH-JKMN: event 6 is missing");
    }

    #[test]
    fn an_event_dropped_on_resumption() {
        let mut story = watched();
        let place = messages(&story, 1)[2];
        story.history.records.remove(place);
        verdict(&story).assert_broken("watcher 1 at node 3 of ABCD-EFGH-JKMN: event 4 is missing");
    }

    #[test]
    fn a_watcher_that_skips_what_it_never_had() {
        let mut story = watched();
        story.unwatch(2);
        story.enqueue("bob");
        story.watch(2, 1, 7);
        verdict(&story).assert_broken("it asks for what comes after 7, and has 6");
    }

    #[test]
    fn an_event_twice_and_out_of_order() {
        let mut story = watched();
        let places = messages(&story, 1);
        let again = story.history.records[places[0]].clone();
        story.history.records.insert(places[0] + 1, again);
        verdict(&story).assert_broken("event 2 comes, and it has all up to 2");
        let mut story = watched();
        let (one, two) = (places[0], places[1]);
        let what = story.history.records[one].what.clone();
        story.history.records[one].what =
            std::mem::replace(&mut story.history.records[two].what, what);
        verdict(&story).assert_broken("it has 1 and gets 3");
    }

    #[test]
    fn another_event_than_the_logs() {
        let mut story = watched();
        let place = messages(&story, 1)[1];
        if let What::Watched { got: Got::Events(events), .. } =
            &mut story.history.records[place].what
        {
            let mut event = Event::decode(events[0].0.as_slice()).expect("an event");
            event.stamp -= 1;
            events[0] = Hex(event.encode_to_vec());
        }
        verdict(&story).assert_broken("event 3 is not the one that the log made");
    }

    #[test]
    fn a_snapshot_of_another_time() {
        let mut story = watched();
        let mut old = Story::begin();
        old.watch(9, 1, 0);
        let snapshot = old.history.records.last().expect("the snapshot").what.clone();
        let What::Watched { got, .. } = snapshot else { panic!("a snapshot is what it gets") };
        story.note(What::Watched { watcher: 2, got: got.clone() });
        verdict(&story).assert_broken("its snapshot goes back to revision 1 from 6");
        // The right revision, with another room's state.
        let Got::Snapshot(bytes) = got else { panic!("a snapshot is what it gets") };
        let mut room = RoomSnapshot::decode(bytes.0.as_slice()).expect("a room");
        room.revision = 6;
        let mut story = watched();
        let got = Got::Snapshot(Hex(room.encode_to_vec()));
        story.note(What::Watched { watcher: 2, got });
        verdict(&story).assert_broken("its snapshot is not what the room was at revision 6");
    }

    #[test]
    fn a_message_that_cuts_an_entry_in_two() {
        let story = watched();
        let mut replay = Replay::of(&story.history);
        replay.join_events("ABCD-EFGH-JKMN", 3);
        judge(&story.history, &replay)
            .assert_broken("a message ends at revision 2, within the events of one entry");
    }

    #[test]
    fn nobody_watched() {
        verdict(&Story::begin()).assert_open("nobody watched");
    }
}
