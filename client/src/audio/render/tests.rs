//! The renderer against a simulated device and clock: every frame that comes out is compared with
//! what the room says is due when that frame sounds.

mod devices;
mod seams;

use std::path::Path;
use std::sync::Arc;

use jam_proto::event::{Entry, Event, EventKind, Song};
use jam_proto::ids::{EntryId, Revision, RoomCode, TrackId};
use jam_proto::loudness::Gain;
use jam_proto::sync::SharedMap;
use jam_proto::time::Flicks;

use super::*;
use crate::audio::clocks::ClockPair;
use crate::audio::link::{Feed, link};
use crate::audio::{ClockStanding, SongFiles};

const DEVICE_RATE: u32 = 48_000;
const PERIOD: usize = 512;

/// A song that is known at every moment: two sines, softly begun and ended.
fn song_at(entry: &Entry, seconds: f64) -> f64 {
    let length = entry.length().as_secs_f64();
    if !(0.0..length).contains(&seconds) {
        return 0.0;
    }
    let edge = (seconds.min(length - seconds) / 0.002).min(1.0);
    let turn = std::f64::consts::TAU * seconds;
    let low = 180.0 + 37.0 * entry.id.0 as f64;
    edge * (0.5 * (turn * low).sin() + 0.3 * (turn * low * 1.618).cos())
}

/// Writes a song in mono, told by its seconds.
fn write_wav(path: &Path, sample_rate: u32, frames: u64, sound: impl Fn(f64) -> f64) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("a new file");
    for frame in 0..frames {
        let value = sound(frame as f64 / f64::from(sample_rate));
        writer.write_sample((value * 32_767.0).round() as i16).expect("a sample");
    }
    writer.finalize().expect("a whole file");
}

/// A listener: device, clock and room, in simulated time.
struct Sim {
    folder: tempfile::TempDir,
    songs: Arc<SongFiles>,
    room: Room,
    published: Option<Arc<Room>>,
    view: ClockView,
    /// Whether shared time is known.
    knows_time: bool,
    device_rate: u32,
    device_ppm: f64,
    /// True shared second of the device's frame 0.
    began: f64,
    renderer: Renderer,
    feed: Feed,
    /// What sounded, left channel, with its true shared time in seconds.
    heard: Vec<(f64, f32)>,
}

impl Sim {
    /// A room with songs of these rates and lengths, that plays from shared second 1 on.
    fn new(device_ppm: f64, songs: &[(u32, f64)]) -> Self {
        let mut sim = Self::empty(device_ppm);
        for (rate, seconds) in songs {
            let entry = sim.add((f64::from(*rate) * seconds) as u64, *rate);
            sim.bring(&entry);
        }
        sim.event(1.0, EventKind::Played);
        sim.publish();
        sim
    }

    /// A room without songs.
    fn empty(device_ppm: f64) -> Self {
        let source = Arc::new(SongFiles::default());
        let (line, feed) = link(DEVICE_RATE, 1.0);
        let library = Library::new(source.clone(), true, true);
        let map = SharedMap { raw_ns: 0, shared: SharedTime(0), drift: 0.0 };
        let created = EventKind::Created { code: RoomCode::from_random(7), name: "test".into() };
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            songs: source,
            room: Room::begin(&event(1, 0.0, created)).expect("a room begins"),
            published: None,
            view: ClockView {
                map,
                bound_ns: 0,
                leader: 1,
                term: 1,
                epoch: 1,
                slept_ns: 0,
                standing: ClockStanding::default(),
            },
            knows_time: true,
            device_rate: DEVICE_RATE,
            device_ppm,
            began: 0.0,
            renderer: Renderer::new(line, DEVICE_RATE, 0, library, 0),
            feed,
            heard: Vec::new(),
        }
    }

    /// Puts a song in the queue, whose file is still to be brought.
    fn add(&mut self, frames: u64, sample_rate: u32) -> Entry {
        let number = self.room.entries() as u64 + 1;
        let entry = Entry {
            id: EntryId(number),
            song: Arc::new(Song {
                track: TrackId([number as u8; 32]),
                title: format!("song {number}"),
                artist: String::new(),
                album: String::new(),
                frames,
                sample_rate,
                own_gain: None,
            }),
            added_by: "ann".into(),
            gain: Gain(0),
        };
        self.event(0.5, EventKind::Enqueued { entry: entry.clone(), before: None });
        entry
    }

    fn bring(&self, entry: &Entry) {
        let path = self.folder.path().join(format!("{}.wav", entry.id));
        write_wav(&path, entry.sample_rate, entry.frames, |seconds| song_at(entry, seconds));
        self.songs.add(entry.track, path);
    }

    fn event(&mut self, seconds: f64, kind: EventKind) {
        let revision = self.room.revision().0 + 1;
        self.room.fold(&event(revision, seconds, kind)).expect("events follow each other");
    }

    fn publish(&mut self) {
        self.published = Some(Arc::new(self.room.clone()));
    }

    /// True shared seconds at which a device frame sounds.
    fn sounds(&self, frame: u64) -> f64 {
        self.began + frame as f64 / (f64::from(self.device_rate) * (1.0 + self.device_ppm * 1e-6))
    }

    fn run_until(&mut self, seconds: f64) {
        while self.sounds(self.feed.next_frame()) < seconds {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let first = self.feed.next_frame();
        let at_ns = (self.sounds(first) * 1e9).round() as i64;
        self.feed.stamp(PERIOD, at_ns);
        let mut out = [0.0; PERIOD * CHANNELS];
        self.feed.fill(&mut out);
        for (n, frame) in out.chunks_exact(CHANNELS).enumerate() {
            self.heard.push((self.sounds(first + n as u64), frame[0]));
        }
        while let Some(stamp) = self.renderer.next_stamp() {
            self.renderer.observe(stamp, stamp.at_ns);
        }
        let view = self.knows_time.then(|| Arc::new(self.view));
        self.renderer.advance(self.published.clone(), view, at_ns, at_ns);
    }

    /// What the room says is due at a shared second.
    fn due(&self, seconds: f64) -> f64 {
        let time = SharedTime((seconds * FLICKS_PER_SECOND as f64) as i64);
        let sounding = self.room.at(time);
        match sounding.entry {
            Some(entry) if sounding.playing => song_at(&entry, sounding.position.as_secs_f64()),
            _ => 0.0,
        }
    }

    /// The worst difference between what sounded and what was due in `from..to`, leaving out 6 ms
    /// from each of `breaks` on, where fades are.
    fn worst(&self, from: f64, to: f64, breaks: &[f64]) -> f64 {
        let fading =
            |seconds: f64| breaks.iter().any(|at| (at - 0.0005..at + 0.006).contains(&seconds));
        let judged = self.heard.iter().filter(|(at, _)| (from..to).contains(at) && !fading(*at));
        judged.map(|(at, heard)| (f64::from(*heard) - self.due(*at)).abs()).fold(0.0, f64::max)
    }

    /// The largest step from one frame to the next in `from..to`. Music has steps below 0.05 here.
    fn steepest(&self, from: f64, to: f64) -> f32 {
        let part: Vec<f32> = self
            .heard
            .iter()
            .filter(|(at, _)| (from..to).contains(at))
            .map(|(_, heard)| *heard)
            .collect();
        part.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }
}

fn event(revision: u64, seconds: f64, kind: EventKind) -> Event {
    let at = SharedTime(Flicks::from_nanos((seconds * 1e9) as i64).0);
    Event { revision: Revision(revision), stamp: at, effective_at: at, by: "ann".into(), kind }
}

/// 10 µs at 500 Hz and full level.
const CLOSE: f64 = 0.03;

#[test]
fn a_song_sounds_when_it_is_due_on_any_card() {
    for (ppm, rate) in [(0.0, 48_000), (80.0, 44_100), (-60.0, 44_100), (80.0, 96_000)] {
        let mut sim = Sim::new(ppm, &[(rate, 8.0)]);
        sim.run_until(8.0);
        // It starts where it is due; what the first stamp can't tell of the card's drift is
        // steered out.
        assert!(
            sim.worst(1.0, 3.0, &[]) < 4.0 * CLOSE,
            "{ppm} {rate}: {}",
            sim.worst(1.0, 3.0, &[])
        );
        assert!(sim.worst(3.0, 8.0, &[]) < CLOSE, "{ppm} {rate}: {}", sim.worst(3.0, 8.0, &[]));
        assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 0));
    }
}

#[test]
fn songs_follow_each_other_without_a_seam() {
    let mut sim = Sim::new(
        30.0,
        &[(44_100, 1.5), (44_100, 1.0), (48_000, 1.0), (32_000, 1.0), (32_000, 1.2)],
    );
    sim.run_until(7.5);
    assert!(sim.worst(1.0, 7.5, &[]) < 2.0 * CLOSE, "{}", sim.worst(1.0, 7.5, &[]));
    assert!(sim.worst(3.0, 7.5, &[]) < CLOSE, "{}", sim.worst(3.0, 7.5, &[]));
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 0));
}

#[test]
fn commands_take_effect_at_their_frame() {
    let mut sim = Sim::new(0.0, &[(44_100, 9.0), (48_000, 9.0)]);
    sim.run_until(2.0);
    sim.event(2.5, EventKind::Sought { entry: EntryId(1), position: Flicks::from_millis(4_321) });
    sim.event(3.0, EventKind::Paused { nobody_listening: false });
    sim.event(3.4, EventKind::Played);
    sim.event(4.0, EventKind::Skipped { entry: EntryId(1) });
    sim.publish();
    sim.run_until(5.0);
    sim.event(5.45, EventKind::WentBack { entry: EntryId(1) });
    sim.publish();
    sim.run_until(6.0);
    let worst = sim.worst(1.0, 6.0, &[2.5, 3.0, 3.4, 4.0, 5.45]);
    assert!(worst < CLOSE, "{worst}");
    assert!(sim.steepest(1.0, 6.0) < 0.1, "{}", sim.steepest(1.0, 6.0));
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 0));
}

#[test]
fn a_late_command_replaces_what_was_rendered() {
    let mut sim = Sim::new(0.0, &[(44_100, 9.0), (48_000, 9.0)]);
    sim.run_until(2.0);
    // It took effect before it was heard of.
    sim.event(1.9, EventKind::Skipped { entry: EntryId(1) });
    sim.publish();
    sim.run_until(2.05);
    sim.event(2.04, EventKind::Sought { entry: EntryId(2), position: Flicks::from_secs(5) });
    sim.publish();
    sim.run_until(3.0);
    assert!(sim.worst(2.12, 3.0, &[]) < CLOSE, "{}", sim.worst(2.12, 3.0, &[]));
    assert!(sim.steepest(1.5, 3.0) < 0.1, "{}", sim.steepest(1.5, 3.0));
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 0));
}

#[test]
fn what_the_next_song_is_may_change_until_the_end() {
    let mut sim = Sim::new(0.0, &[(44_100, 1.0), (44_100, 1.0), (44_100, 1.0)]);
    // The second song is spliced in and rendered already.
    sim.run_until(1.93);
    sim.event(1.94, EventKind::Removed { entry: EntryId(2) });
    sim.publish();
    sim.run_until(3.2);
    assert!(sim.worst(1.0, 2.99, &[2.0]) < CLOSE, "{}", sim.worst(1.0, 2.99, &[2.0]));
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 0));
}

#[test]
fn a_song_that_comes_late_is_joined_at_the_right_sample() {
    let mut sim = Sim::new(0.0, &[(44_100, 2.0), (48_000, 4.0)]);
    let missing = sim.songs.remove(&TrackId([2; 32])).expect("it was there");
    sim.run_until(4.0);
    assert!(sim.heard.iter().filter(|(at, _)| *at > 3.01).all(|(_, heard)| *heard == 0.0));
    assert_eq!(sim.renderer.history.last().map(|piece| piece.state), Some(PlayerState::Starved));
    sim.songs.add(TrackId([2; 32]), missing);
    sim.run_until(5.0);
    assert!(sim.worst(4.1, 5.0, &[]) < CLOSE, "{}", sim.worst(4.1, 5.0, &[]));
    assert_eq!(sim.renderer.underruns, 0);
}

#[test]
fn after_a_standstill_it_sounds_where_it_is_due() {
    let mut sim = Sim::new(0.0, &[(44_100, 20.0)]);
    sim.run_until(3.0);
    let stood = sim.sounds(sim.feed.next_frame());
    sim.feed.skip_to(sim.feed.next_frame() + 2 * u64::from(DEVICE_RATE));
    sim.run_until(7.0);
    assert!(sim.worst(stood + 2.1, 7.0, &[]) < CLOSE);
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (1, 0));
}

#[test]
fn a_slow_player_leaves_holes_but_stays_in_place() {
    let mut sim = Sim::new(0.0, &[(44_100, 20.0)]);
    sim.run_until(2.0);
    // The device goes on for 400 ms while the player does nothing.
    for _ in 0..38 {
        let first = sim.feed.next_frame();
        sim.feed.stamp(PERIOD, (sim.sounds(first) * 1e9) as i64);
        sim.feed.fill(&mut [0.0; PERIOD * CHANNELS]);
    }
    sim.run_until(4.0);
    assert!(sim.worst(2.5, 4.0, &[]) < CLOSE);
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (1, 0));
}

#[test]
fn a_small_correction_of_the_clock_is_not_heard() {
    let mut sim = Sim::new(0.0, &[(44_100, 20.0)]);
    sim.run_until(3.0);
    sim.view.map.shared = SharedTime(Flicks::from_nanos(1_000_000).0);
    sim.run_until(12.0);
    assert!(sim.steepest(1.0, 12.0) < 0.05, "{}", sim.steepest(1.0, 12.0));
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 0));
    // 1 ms ahead, but for what is not steered out yet: below 0.1 ms.
    let ahead = |sim: &Sim| {
        let late = sim.heard.iter().filter(|(at, _)| *at > 11.0);
        late.map(|(at, heard)| (f64::from(*heard) - sim.due(at + 0.001)).abs()).fold(0.0, f64::max)
    };
    assert!(ahead(&sim) < 10.0 * CLOSE, "{}", ahead(&sim));
}

#[test]
fn a_large_error_jumps_once() {
    let mut sim = Sim::new(0.0, &[(44_100, 20.0)]);
    sim.run_until(3.0);
    sim.view.map.shared = SharedTime(Flicks::from_nanos(8_000_000).0);
    sim.run_until(6.0);
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 1));
    assert!(sim.steepest(1.0, 6.0) < 0.1);
}

#[test]
fn a_new_epoch_is_followed_at_once() {
    let mut sim = Sim::new(0.0, &[(44_100, 20.0)]);
    sim.run_until(3.0);
    sim.view.map.shared = SharedTime(Flicks::from_millis(-500).0);
    sim.view.epoch = 2;
    sim.run_until(4.0);
    let late = sim.heard.iter().filter(|(at, _)| *at > 3.1);
    let worst =
        late.map(|(at, heard)| (f64::from(*heard) - sim.due(at - 0.5)).abs()).fold(0.0, f64::max);
    assert!(worst < CLOSE, "{worst}");
    assert_eq!(sim.renderer.jumps, 1);
}

#[test]
fn without_any_news_it_plays_on_into_the_next_song() {
    let mut sim = Sim::new(0.0, &[(44_100, 2.0), (48_000, 2.0)]);
    sim.run_until(2.0);
    sim.published = None;
    sim.run_until(4.9);
    assert!(sim.worst(1.0, 4.9, &[]) < 2.0 * CLOSE);
}

#[test]
fn the_report_tells_what_sounds() {
    let mut sim = Sim::new(40.0, &[(44_100, 9.0), (44_100, 9.0)]);
    sim.run_until(4.0);
    // In this simulation CLOCK_MONOTONIC is the raw clock.
    let machine = jam_world::World::real().clock;
    let clocks = ClockPair::new(machine.as_ref(), || machine.mono_ns());
    let now_ns = (sim.sounds(sim.feed.next_frame() - 300) * 1e9) as i64;
    let report = sim.renderer.report(now_ns, &clocks);
    assert_eq!(
        (report.state, report.song.map(|song| song.entry)),
        (PlayerState::Playing, Some(EntryId(1)))
    );
    let due = 1.0 + report.frame as f64 / 44_100.0;
    let off_ns = report.mono_ns as f64 - due * 1e9;
    assert!(off_ns.abs() < 10e3, "{off_ns} ns");
    assert!((off_ns - report.error_ns as f64).abs() < 2e3, "{off_ns} {}", report.error_ns);
    assert!((report.rate_ppm + 40.0).abs() < 20.0, "{}", report.rate_ppm);
    let ahead = (f64::from(sim.renderer.buffer_ms(&report)) - 15_000.0).abs();
    assert!(ahead < 30.0, "{ahead} ms off");
}
