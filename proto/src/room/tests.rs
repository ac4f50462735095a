//! Properties of one room: its arithmetic against a model that counts flick by flick, and that it
//! does not matter in how many steps a room plays on.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::command::Command;
use crate::event::Song;
use crate::ids::TrackId;
use crate::level::FeatureLevel;
use crate::time::FLICKS_PER_SECOND;
use crate::wire::v1::{Loudness, Track};

/// How a test's time runs: `flicks` in a tick, songs being whole ticks long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    flicks: i64,
}

/// So short that a model can count the flicks, and nothing is ever pruned.
pub(super) const FLICK: Tick = Tick { flicks: 1 };
/// Thirty of them make the ten seconds after which pieces are pruned.
const THIRD: Tick = Tick { flicks: FLICKS_PER_SECOND / 3 };

/// One attempt at an edit: `wait` ticks after the last, announced `lead` ticks ahead.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) wait: i64,
    pub(super) lead: i64,
    pub(super) edit: Edit,
    /// How far on the way to its effect a room plays on by itself before, in 1/8.
    pub(super) pauses: Vec<i64>,
}

#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// An entry of so many ticks.
    Enqueue(u64, bool),
    /// Which of the queue's entries, and where to.
    Remove(usize),
    Move(usize, Option<usize>),
    Clear,
    Play,
    Pause,
    Seek(i64),
    Skip,
    Back,
    /// To the name of this number.
    Rename(u8),
    /// The epoch's floor: so many ticks before the stamp.
    Epoch(i64),
}

pub(super) fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let edit = prop_oneof![
        6 => (1..12u64, any::<bool>()).prop_map(|(length, next)| Edit::Enqueue(length, next)),
        1 => (0..9usize).prop_map(Edit::Remove),
        2 => (0..9usize, prop::option::of(0..9usize)).prop_map(|(entry, before)| Edit::Move(entry, before)),
        1 => Just(Edit::Clear),
        3 => Just(Edit::Play),
        1 => Just(Edit::Pause),
        2 => (0..12i64).prop_map(Edit::Seek),
        2 => Just(Edit::Skip),
        2 => Just(Edit::Back),
        1 => (0..3u8).prop_map(Edit::Rename),
        1 => (0..10i64).prop_map(Edit::Epoch),
    ];
    let attempt = (0..15i64, 0..8i64, edit, prop::collection::vec(0..=8i64, 0..3));
    let attempt =
        attempt.prop_map(|(wait, lead, edit, pauses)| Attempt { wait, lead, edit, pauses });
    prop::collection::vec(attempt, 0..40)
}

impl Tick {
    pub(super) fn instant(self, tick: i64) -> SharedTime {
        SharedTime(tick * self.flicks)
    }

    /// The rate at which a frame lasts a tick.
    fn sample_rate(self) -> u32 {
        u32::try_from(FLICKS_PER_SECOND / self.flicks).expect("a tick is a flick or more")
    }

    pub(super) fn begin(self) -> Event {
        let code = RoomCode::from_random(1);
        Event {
            revision: Revision(1),
            stamp: self.instant(0),
            effective_at: self.instant(2),
            by: "ann".into(),
            kind: EventKind::Created { code, name: "Kitchen".into() },
        }
    }

    /// What `edit` comes to in `room`, if anything.
    pub(super) fn judge(
        self,
        room: &Room,
        edit: &Edit,
        stamp: i64,
        at: SharedTime,
    ) -> Option<EventKind> {
        let queue = room.queue_at(at);
        let current = room.at(at).entry.map(|entry| entry.id);
        // Past the queue: one that may have been there before.
        let id =
            |index: usize| queue.get(index).map_or(EntryId(1 + index as u64), |entry| entry.id);
        let mut song = None;
        let command = match *edit {
            Edit::Enqueue(length, next) => {
                let album = ["", "one", "two"][length as usize % 3].to_owned();
                let integrated = -(length as i32 % 31) * 100;
                let track = Track {
                    frames: length,
                    sample_rate: self.sample_rate(),
                    album,
                    loudness: (length % 5 > 0).then_some(Loudness { integrated, true_peak: -100 }),
                    ..Track::default()
                };
                let id = TrackId([1; 32]);
                song = Some(Arc::new(Song::of(id, &track)));
                Command::Enqueue { track: id, next }
            }
            Edit::Remove(index) => Command::Remove { entry: id(index) },
            Edit::Move(index, before) => Command::Move { entry: id(index), before: before.map(id) },
            Edit::Clear => Command::Clear,
            Edit::Play => Command::Play { entry: current },
            Edit::Pause => Command::Pause { entry: current },
            Edit::Seek(ticks) => {
                Command::Seek { entry: current?, position: Flicks(ticks * self.flicks) }
            }
            Edit::Skip => Command::Skip { entry: current? },
            Edit::Back => Command::Back { entry: current },
            Edit::Rename(number) => Command::Rename { name: number.to_string() },
            Edit::Epoch(before) => {
                let floor = self.instant(stamp - before);
                return Some(EventKind::EpochBumped { epoch: 2, floor });
            }
        };
        room.judge(FeatureLevel::CURRENT, &command, &"ann".into(), song, at).ok().flatten()
    }

    /// The room that the attempts make, and its events.
    fn live(self, attempts: &[Attempt]) -> (Room, Vec<Event>) {
        let begin = self.begin();
        let mut room = Room::begin(&begin).expect("a Created event");
        let mut events = vec![begin];
        let mut stamp = 0;
        for attempt in attempts {
            stamp += attempt.wait;
            let at = self.instant(stamp + attempt.lead).max(room.last_effective());
            if let Some(kind) = self.judge(&room, &attempt.edit, stamp, at) {
                events.push(room.append(kind, "ann", self.instant(stamp), at, &mut Vec::new()));
            }
        }
        (room, events)
    }
}

/// A room that counts: flick by flick, with no more arithmetic than adding one.
#[derive(Default)]
struct Counting {
    current: Option<(EntryId, i64)>,
    position: i64,
    playing: bool,
    upcoming: Vec<(EntryId, i64)>,
    history: Vec<(EntryId, i64)>,
}

impl Counting {
    /// One flick passes.
    fn pass(&mut self, stands: bool) {
        let Some((_, length)) = self.current.filter(|_| self.playing && !stands) else { return };
        self.position += 1;
        if self.position == length {
            self.next(true);
        }
    }

    fn next(&mut self, played: bool) {
        self.history.extend(self.current.filter(|_| played));
        self.current = if self.upcoming.is_empty() { None } else { Some(self.upcoming.remove(0)) };
        self.position = 0;
    }

    fn take(&mut self, id: EntryId) -> (EntryId, i64) {
        let index =
            self.upcoming.iter().position(|(upcoming, _)| *upcoming == id).expect("it waits");
        self.upcoming.remove(index)
    }

    fn put(&mut self, entry: (EntryId, i64), before: Option<EntryId>) {
        let index =
            before.and_then(|before| self.upcoming.iter().position(|(id, _)| *id == before));
        self.upcoming.insert(index.unwrap_or(self.upcoming.len()), entry);
    }

    fn happen(&mut self, kind: &EventKind) {
        let current = self.current.map(|(id, _)| id);
        match *kind {
            EventKind::Created { .. }
            | EventKind::EpochBumped { .. }
            | EventKind::Renamed { .. } => {}
            EventKind::Enqueued { ref entry, before } => {
                self.put((entry.id, entry.length().0), before);
                if self.current.is_none() {
                    self.next(false);
                }
            }
            EventKind::Removed { entry } if Some(entry) == current => self.next(false),
            EventKind::Removed { entry } => drop(self.take(entry)),
            EventKind::Moved { entry, before } => {
                let moved = self.take(entry);
                self.put(moved, before);
            }
            EventKind::Cleared => self.upcoming.clear(),
            EventKind::Played => self.playing = true,
            EventKind::Paused { .. } => self.playing = false,
            EventKind::Sought { entry, position } => {
                assert_eq!(current, Some(entry));
                self.position = position.0;
            }
            EventKind::Skipped { entry } => {
                assert_eq!(current, Some(entry));
                self.next(true);
            }
            EventKind::WentBack { entry } => {
                let played = self.history.pop().expect("something was played");
                assert_eq!(played.0, entry);
                if let Some(current) = self.current {
                    self.upcoming.insert(0, current);
                }
                (self.current, self.position) = (Some(played), 0);
            }
        }
    }
}

proptest! {
    #[test]
    fn arithmetic_equals_counting(attempts in attempts()) {
        let (room, events) = FLICK.live(&attempts);
        // An epoch stops the clock from its floor on, or from the last change that was announced.
        let stops: Vec<_> = events.windows(2).filter_map(|pair| match pair[1].kind {
            EventKind::EpochBumped { floor, .. } => Some(floor.max(pair[0].effective_at)..pair[1].effective_at),
            _ => None,
        }).collect();
        let mut counting = Counting::default();
        let mut to_come = events.iter().peekable();
        for tick in 0..room.last_effective().0 + 150 {
            let time = SharedTime(tick);
            while let Some(event) = to_come.next_if(|event| event.effective_at == time) {
                counting.happen(&event.kind);
            }
            let stands = stops.iter().any(|stop| stop.contains(&time)) && counting.current.is_some();
            let sounding = room.at(time);
            let current = counting.current.map(|(id, _)| id);
            prop_assert_eq!(sounding.entry.map(|entry| entry.id), current, "at {}", tick);
            prop_assert_eq!(sounding.position.0, counting.position, "at {}", tick);
            prop_assert_eq!(sounding.playing, counting.playing && !stands, "at {}", tick);
            prop_assert!(sounding.until.is_none_or(|until| until > time));
            if time >= room.last_effective() {
                let upcoming = counting.upcoming.iter().map(|(id, _)| *id);
                let queue: Vec<_> = current.into_iter().chain(upcoming).collect();
                let told: Vec<_> = room.queue_at(time).iter().map(|entry| entry.id).collect();
                prop_assert_eq!(told, queue, "at {}", tick);
            }
            counting.pass(stands);
        }
    }

    #[test]
    fn spans_join_and_say_what_sounds(attempts in attempts(), from in 0..200i64) {
        let (room, _) = FLICK.live(&attempts);
        let mut joint = None;
        for span in room.spans(SharedTime(from)) {
            let begin = span.from.max(SharedTime(from));
            prop_assert!(joint.is_none_or(|joint| joint == span.from));
            prop_assert!(span.until.is_none_or(|until| until > begin));
            // Just as long as it says, the same thing sounds.
            for time in [Some(begin), span.until.map(|until| until - Flicks(1))].into_iter().flatten() {
                let sounding = room.at(time);
                prop_assert_eq!(sounding.entry, span.entry.clone());
                prop_assert_eq!(sounding.position, span.position_at(time));
                prop_assert_eq!((sounding.playing, sounding.until), (span.playing, span.until));
            }
            joint = span.until;
        }
        prop_assert_eq!(joint, None);
    }

    #[test]
    fn steps_of_playing_on_make_no_difference(attempts in attempts(), by_thirds in any::<bool>()) {
        let scale = if by_thirds { THIRD } else { FLICK };
        let (_, events) = scale.live(&attempts);
        let mut at_once = Room::begin(&events[0]).expect("a Created event");
        let mut in_steps = at_once.clone();
        let pauses: Vec<_> = attempts.iter().map(|attempt| attempt.pauses.clone()).collect();
        for (event, mut pauses) in events[1..].iter().zip(pauses) {
            // Up to where the event begins to change things: an epoch's floor, or its effect.
            let end = match event.kind {
                EventKind::EpochBumped { floor, .. } => floor.max(in_steps.last_effective()),
                _ => event.effective_at,
            };
            let begin = in_steps.last_effective();
            pauses.sort_unstable();
            for eighths in pauses {
                in_steps.play_on(begin + Flicks(end.since(begin).0 * eighths / 8), &mut Vec::new());
            }
            at_once.fold(event).expect("in order");
            in_steps.fold(event).expect("in order");
            prop_assert_eq!(&at_once, &in_steps);
        }
    }

    #[test]
    fn next_after_is_what_sounds_then(attempts in attempts(), from in 0..200i64) {
        let (room, _) = FLICK.live(&attempts);
        for (start, entry) in room.next_after(SharedTime(from), 5) {
            if let Some(start) = start {
                prop_assert!(start >= SharedTime(from));
                prop_assert_eq!(room.at(start).entry, Some(entry));
                prop_assert!(room.at(start).playing);
            }
        }
    }
}

#[test]
fn the_history_keeps_the_last_hundred() {
    let (mut room, _) = FLICK.live(&[]);
    for _ in 0..150 {
        let kind =
            FLICK.judge(&room, &Edit::Enqueue(1, false), 0, SharedTime(2)).expect("there is room");
        room.append(kind, "ann", SharedTime(0), SharedTime(2), &mut Vec::new());
    }
    room.append(EventKind::Played, "ann", SharedTime(0), SharedTime(2), &mut Vec::new());
    room.append(EventKind::Cleared, "ann", SharedTime(0), SharedTime(1000), &mut Vec::new());
    let history: Vec<_> = room.history().map(|entry| entry.id.0).collect();
    assert_eq!(history, Vec::from_iter(51..=150));
    assert_eq!(room.at(SharedTime(1000)).entry, None);
}

#[test]
fn an_event_that_was_missed_or_came_twice_is_refused() {
    let (mut room, events) = FLICK.live(&[]);
    let have = room.revision();
    assert_eq!(room.fold(&events[0]), Err(OutOfOrder { have, got: Revision(1) }));
    let ahead = Event { revision: Revision(3), kind: EventKind::Played, ..events[0].clone() };
    assert_eq!(room.fold(&ahead), Err(OutOfOrder { have, got: Revision(3) }));
}
