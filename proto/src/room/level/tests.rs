//! Levelling against the rule as it can be read, which walks whole runs; and how much work each edit of a long queue is.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::Room;
use super::super::queue::steps_of;
use super::super::tests::{Attempt, Edit, FLICK, attempts};
use crate::event::{Entry, Event, EventKind, Song};
use crate::ids::{EntryId, Revision, RoomCode, TrackId};
use crate::loudness::Gain;
use crate::time::{Flicks, SharedTime};
use crate::wire::v1::Track;

/// The upcoming entries, and what levelling asks of the rest of a room.
struct Plain {
    upcoming: Vec<Entry>,
    current: Option<Entry>,
    begun: BTreeSet<EntryId>,
}

impl Plain {
    fn of(room: &Room) -> Self {
        let (upcoming, current) = (room.upcoming.iter().collect(), room.current().cloned());
        Self { upcoming, current, begun: room.begun().collect() }
    }

    fn level(&mut self, at: usize) {
        let Some(entry) = self.upcoming.get(at) else { return };
        let album = entry.album.clone();
        let same = |other: &usize| {
            *other == at || (!album.is_empty() && self.upcoming[*other].album == album)
        };
        let first = (0..at).rev().take_while(same).last().unwrap_or(at);
        let end = (at..self.upcoming.len()).take_while(same).last().unwrap_or(at) + 1;
        let current = self.current.as_ref();
        let current =
            current.filter(|current| first == 0 && !album.is_empty() && current.album == album);
        let own = self.upcoming[first..end].iter().filter_map(|entry| entry.own_gain);
        let known = current.map(|current| current.gain).into_iter().chain(own);
        let gain = known.min().unwrap_or_default();
        for entry in &mut self.upcoming[first..end] {
            if !self.begun.contains(&entry.id) {
                entry.gain = gain;
            }
        }
    }

    fn level_around(&mut self, at: usize) {
        for at in at.saturating_sub(1)..=at + 1 {
            self.level(at);
        }
    }

    fn remove(&mut self, id: EntryId) -> Option<(usize, Entry)> {
        let at = self.upcoming.iter().position(|entry| entry.id == id)?;
        Some((at, self.upcoming.remove(at)))
    }

    fn insert(&mut self, entry: Entry, before: Option<EntryId>) {
        let at = before.and_then(|id| self.upcoming.iter().position(|entry| entry.id == id));
        let at = at.unwrap_or(self.upcoming.len());
        self.upcoming.insert(at, entry);
        self.level_around(at);
    }

    /// What an event does to the upcoming entries.
    fn change(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Enqueued { entry, before } if self.current.is_some() => {
                self.insert(entry.clone(), *before)
            }
            EventKind::Removed { entry } | EventKind::Skipped { entry }
                if self.current.as_ref().is_some_and(|current| current.id == *entry) =>
            {
                self.upcoming.drain(..self.upcoming.len().min(1));
            }
            EventKind::Removed { entry } => {
                if let Some((at, _)) = self.remove(*entry) {
                    self.level_around(at);
                }
            }
            EventKind::Moved { entry, before } => {
                if let Some((at, moved)) = self.remove(*entry) {
                    self.level_around(at);
                    self.insert(moved, *before);
                }
            }
            EventKind::Cleared => self.upcoming.clear(),
            EventKind::WentBack { .. } => {
                if let Some(current) = self.current.take() {
                    self.upcoming.insert(0, current);
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_gains_are_those_of_the_plain_rule(attempts in attempts()) {
        gains_are_plain(attempts)?;
    }
}

fn gains_are_plain(attempts: Vec<Attempt>) -> Result<(), TestCaseError> {
    let mut room = Room::begin(&FLICK.begin()).expect("a Created event");
    let mut stamp = 0;
    for attempt in attempts {
        stamp += attempt.wait;
        let at = FLICK.instant(stamp + attempt.lead).max(room.last_effective());
        let Some(kind) = FLICK.judge(&room, &attempt.edit, stamp, at) else { continue };
        if matches!(kind, EventKind::EpochBumped { .. }) {
            continue;
        }
        room.play_on(at, &mut Vec::new());
        let mut plain = Plain::of(&room);
        plain.change(&kind);
        room.append(kind, "ann", FLICK.instant(stamp), at, &mut Vec::new());
        prop_assert_eq!(room.upcoming.iter().collect::<Vec<_>>(), plain.upcoming);
        let again = Room::from_wire(&room.to_wire()).expect("its own snapshot");
        prop_assert_eq!(&again, &room);
        // It goes on as the room of a node that read a snapshot would.
        room = again;
    }
    Ok(())
}

#[test]
fn what_has_begun_keeps_its_gain_when_it_is_moved() {
    let edits = [
        (0, Edit::Enqueue(4, false)),
        (0, Edit::Enqueue(2, false)),
        (0, Edit::Enqueue(10, true)),
        (0, Edit::Skip),
        (3, Edit::Back),
        (0, Edit::Move(1, None)),
    ];
    let attempts = edits.map(|(lead, edit)| Attempt { wait: 0, lead, edit, pauses: Vec::new() });
    gains_are_plain(attempts.into()).expect("as by the plain rule");
}

/// A room with a queue of one album, of songs that each take a second, each louder than the one before.
struct Long {
    room: Room,
    queued: u64,
}

impl Long {
    fn new(entries: u64) -> Self {
        let created = Event {
            revision: Revision(1),
            stamp: SharedTime(0),
            effective_at: SharedTime(0),
            by: "ann".to_owned(),
            kind: EventKind::Created { code: RoomCode::from_random(1), name: "Long".to_owned() },
        };
        let mut long = Self { room: Room::begin(&created).expect("it begins a room"), queued: 0 };
        for _ in 0..entries {
            long.enqueue("album", None);
        }
        long
    }

    /// Does it, and says how many nodes of the queue were looked at.
    fn steps(&mut self, kind: EventKind, secs: i64) -> usize {
        let at = SharedTime(Flicks::from_secs(secs).0);
        let at = at.max(self.room.last_effective());
        steps_of(|| self.room.append(kind, "ann", at, at, &mut Vec::new())).0
    }

    fn enqueue(&mut self, album: &str, before: Option<u64>) -> usize {
        self.queued += 1;
        let track = Track { frames: 48_000, sample_rate: 48_000, ..Default::default() };
        let mut song = Song::of(TrackId([1; 32]), &track);
        song.album = album.to_owned();
        song.own_gain = Some(Gain(-(self.queued as i32)));
        let entry = Entry {
            id: EntryId(self.queued),
            song: Arc::new(song),
            added_by: "ann".into(),
            gain: Gain(-(self.queued as i32)),
        };
        self.steps(EventKind::Enqueued { entry, before: before.map(EntryId) }, 0)
    }

    /// What each kind of edit costs, by name.
    fn costs(&mut self) -> Vec<(&'static str, usize)> {
        let id = EntryId;
        let (middle, late) = (self.queued / 2, self.queued * 9 / 10);
        let mut costs = vec![
            ("enqueue a louder song", self.enqueue("album", None)),
            ("enqueue it next", self.enqueue("album", Some(2))),
            ("enqueue another album", self.enqueue("other", None)),
        ];
        let other = id(self.queued);
        // Into the middle of the album, and away again: one run becomes two, and one again.
        let mut edit = |name, kind, secs| costs.push((name, self.steps(kind, secs)));
        edit("part the album", EventKind::Moved { entry: other, before: Some(id(middle)) }, 0);
        edit("join it", EventKind::Moved { entry: other, before: None }, 0);
        edit("move", EventKind::Moved { entry: id(late), before: Some(id(middle)) }, 0);
        edit("remove", EventKind::Removed { entry: id(middle) }, 0);
        edit("play", EventKind::Played, 0);
        edit("skip", EventKind::Skipped { entry: id(1) }, 0);
        edit("back", EventKind::WentBack { entry: id(1) }, 0);
        edit("remove while one came back", EventKind::Removed { entry: id(late + 1) }, 0);
        edit("song end", EventKind::Renamed { name: "two".to_owned() }, 1);
        let room = &self.room;
        let time = |secs: u64| SharedTime(Flicks::from_secs(secs as i64).0);
        costs.push(("look far ahead", steps_of(|| room.at(time(middle))).0));
        costs.push(("what is next", steps_of(|| room.next_after(time(late), 3)).0));
        costs.push(("its length then", steps_of(|| room.queue_len_at(time(late))).0));
        costs.push(("find an entry", steps_of(|| room.entry(id(late + 2))).0));
        costs.push(("copy", steps_of(|| room.clone()).0));
        costs
    }
}

#[test]
fn an_edit_of_ten_thousand_entries_of_one_album_is_little_work() {
    let few = Long::new(100).costs();
    let many = Long::new(10_000).costs();
    for ((name, few), (_, many)) in few.into_iter().zip(many) {
        println!("{name}: {few} nodes of 100, {many} of 10,000");
        // The logarithm of 10,000 is twice that of 100. An edit splits and joins the tree some dozen times.
        assert!(many <= 3 * few + 20, "{name}: {few} of 100, {many} of 10,000");
        assert!(many <= 8000, "{name}: {many}");
    }
}
