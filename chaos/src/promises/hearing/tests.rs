//! A listener who hears what is right, and what becomes of the verdict if something is not.

use jam_proto::command::Command;
use jam_proto::ids::EntryId;
use jam_proto::time::{Flicks, SharedTime};

use super::super::story::{MS, ROOM, Story, TRACK, code};
use super::*;
use crate::history::{Hex, ListenerSample, Record, Stretch, What};

const STEP_NS: i64 = 50 * MS;

impl Story {
    /// Somebody hears what the room plays, all that is due and when it is due.
    pub fn listen(&mut self, millis: i64) {
        let heard_until = self.history.records.iter().rev().find_map(|record| match &record.what {
            What::Heard(stretch) => Some(stretch.until_ns),
            _ => None,
        });
        let mut from_ns = heard_until.unwrap_or(self.now_ns);
        for _ in 0..millis * MS / STEP_NS {
            self.now_ns += STEP_NS;
            let shared = self.shared();
            while from_ns < self.now_ns {
                let until_ns = self.hear(from_ns);
                assert!(until_ns > from_ns);
                from_ns = until_ns;
            }
            let room = self.shard.room(&code()).expect("it was created");
            let sounding = room.at(SharedTime(shared));
            let state = if sounding.playing { "playing" } else { "paused" };
            let said = ListenerSample {
                listener: "l1".to_owned(),
                life: 1,
                at_ns: self.now_ns,
                room: ROOM.to_owned(),
                revision: room.revision().0,
                epoch: 1,
                term: self.term,
                shared: Some(shared),
                bound_ns: 300_000,
                unheard_ns: Some(200 * MS),
                state: state.to_owned(),
                song_here: true,
            };
            self.now(What::Listens(said));
            let leader = self.sample(self.leader);
            self.now(What::Time(leader));
        }
    }

    /// What is heard from then on, in one go; until when.
    fn hear(&mut self, from_ns: i64) -> i64 {
        let at = SharedTime((Flicks::from_secs(3600) + Flicks::from_nanos(from_ns)).0);
        let sounding = self.shard.room(&code()).expect("it was created").at(at);
        let left_ns = sounding.until.map_or(i64::MAX, |until| until.since(at).as_nanos().max(1));
        let until_ns = self.now_ns.min(from_ns.saturating_add(left_ns));
        let position_ns = sounding.position.as_nanos();
        let sound = match sounding.entry.filter(|_| sounding.playing) {
            Some(_) => Sound::Song {
                track: Hex(TRACK.to_wire()),
                from_ns: position_ns,
                until_ns: position_ns + until_ns - from_ns,
            },
            None => Sound::Silence,
        };
        let listener = "l1".to_owned();
        self.now(What::Heard(Stretch { listener, life: 1, from_ns, until_ns, sound }));
        until_ns
    }
}

/// Two songs, the first one near its end, and a leader change in the second.
fn story() -> Story {
    let mut story = Story::begin();
    story.enqueue("ann");
    story.enqueue("ann");
    story.listen(500);
    story.play("bob");
    story.listen(6_000);
    seek(&mut story, 1, 170);
    story.listen(8_000);
    story.listen(8_000);
    story.elect(2);
    story.listen(8_000);
    story
}

fn seek(story: &mut Story, entry: u64, secs: i64) {
    let (entry, position) = (EntryId(entry), Flicks::from_secs(secs));
    story.submit("bob", Command::Seek { entry, position });
}

fn verdict(story: &Story) -> Verdict {
    judge(&story.history, &Replay::of(&story.history), &Bounds::default())
}

/// Changes what was heard from a true time on.
fn spoil(story: &mut Story, from_ms: i64, spoil: impl Fn(&mut Stretch)) {
    for record in &mut story.history.records {
        if let What::Heard(stretch) = &mut record.what
            && stretch.from_ns >= from_ms * MS
        {
            spoil(stretch);
        }
    }
}

fn shift(stretch: &mut Stretch, by_ns: i64) {
    if let Sound::Song { from_ns, until_ns, .. } = &mut stretch.sound {
        *from_ns += by_ns;
        *until_ns += by_ns;
    }
}

#[test]
fn what_is_due_is_heard() {
    let story = story();
    verdict(&story).assert_held();
    assert_eq!(played_through(&story.history, &Replay::of(&story.history)), 1);
}

#[test]
fn a_seam_may_be_blurred_and_is_even() {
    let mut story = story();
    let blurred = |story: &mut Story, by_ns: i64| {
        let begins = |stretch: &Stretch| {
            let is_long = stretch.until_ns - stretch.from_ns > 3 * MS;
            let is_begin = matches!(stretch.sound, Sound::Song { from_ns: 0..MS, .. });
            is_long && is_begin && stretch.from_ns > 10_000 * MS
        };
        let at = story
            .history
            .records
            .iter()
            .position(|record| matches!(&record.what, What::Heard(stretch) if begins(stretch)));
        let at = at.expect("the second song begins");
        let What::Heard(mut begun) = story.history.records[at].what.clone() else { panic!() };
        let blur =
            Stretch { until_ns: begun.from_ns + 2 * MS, sound: Sound::Other, ..begun.clone() };
        begun.from_ns += 2 * MS;
        if let Sound::Song { from_ns, .. } = &mut begun.sound {
            *from_ns += 2 * MS + by_ns;
        }
        story.history.records[at].what = What::Heard(blur);
        let record = crate::history::Record {
            what: What::Heard(begun),
            ..story.history.records[at].clone()
        };
        story.history.records.insert(at + 1, record);
    };
    blurred(&mut story, 0);
    verdict(&story).assert_held();
    let mut story = self::story();
    blurred(&mut story, 2 * MS);
    spoil(&mut story, 17_500, |stretch| shift(stretch, 2 * MS));
    verdict(&story).assert_broken("2.000 ms later");
}

#[test]
fn a_gap() {
    let mut story = story();
    spoil(&mut story, 20_000, |stretch| {
        if stretch.from_ns < 20_050 * MS {
            stretch.sound = Sound::Silence;
        }
    });
    verdict(&story).assert_broken("listener l1 (life 1): a gap of 50.0 ms at");
}

#[test]
fn a_repeat_and_a_single_frame_that_is_missing() {
    let mut repeated = story();
    spoil(&mut repeated, 20_000, |stretch| shift(stretch, -50 * MS));
    verdict(&repeated).assert_broken("of song 05050505, 0.000 ms later");
    let mut missing = story();
    spoil(&mut missing, 20_000, |stretch| shift(stretch, 20_833));
    verdict(&missing).assert_broken("of song 05050505, 0.000 ms later");
}

#[test]
fn the_wrong_place_and_the_wrong_song() {
    let mut late = story();
    spoil(&mut late, 0, |stretch| shift(stretch, -3 * MS));
    verdict(&late).assert_broken("and heard is -3.000 ms off");
    let mut other = story();
    spoil(&mut other, 0, |stretch| {
        if let Sound::Song { track, .. } = &mut stretch.sound {
            track.0[0] = 6;
        }
    });
    verdict(&other).assert_broken("and heard is song 06050505");
}

#[test]
fn a_listener_that_is_wrong_about_the_time() {
    let mut story = story();
    for record in &mut story.history.records {
        if let What::Listens(sample) = &mut record.what {
            sample.shared = sample.shared.map(|shared| shared + Flicks::from_millis(1).0);
        }
    }
    verdict(&story).assert_broken(
        "says that it is at most 0.300 ms from the leader's time, and is 1.000 ms off",
    );
}

#[test]
fn silence_where_there_is_nothing_to_play() {
    let mut story = story();
    spoil(&mut story, 0, |stretch| stretch.sound = Sound::Silence);
    verdict(&story).assert_broken("and heard is silence");
    for record in &mut story.history.records {
        if let What::Listens(sample) = &mut record.what {
            sample.song_here = false;
        }
    }
    assert!(!matches!(verdict(&story), Verdict::Violated(_)), "it has no song");
    let second = story.history.records.iter().position(|record| record.at_ns > 1_000 * MS);
    let (at, at_ns) = second.map(|at| (at, story.history.records[at].at_ns)).expect("it is longer");
    let healed = Record { at_ns, what: What::Phase(Phase::Healed) };
    story.history.records.insert(at, healed);
    verdict(&story).assert_broken("waits for its song since 100");
}
