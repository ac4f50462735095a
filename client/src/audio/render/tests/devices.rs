//! Devices that differ, are pulled out and come back, and machines that sleep.

use super::*;
use crate::audio::Silence;

impl Sim {
    /// Another device, from now on.
    fn plug(&mut self, rate: u32, ppm: f64) {
        let now = self.sounds(self.feed.next_frame());
        let (line, feed) = link(rate, 1.0);
        (self.feed, self.device_rate, self.device_ppm, self.began) = (feed, rate, ppm, now);
        self.renderer.attach(line, rate, 0);
    }

    /// Whether nothing sounds from one second to another.
    fn is_silent(&self, from: f64, to: f64) -> bool {
        self.heard.iter().filter(|(at, _)| (from..to).contains(at)).all(|(_, heard)| *heard == 0.0)
    }
}

#[test]
fn any_rate_will_do() {
    for rate in [8_000, 44_100, 88_200, 96_000, 192_000] {
        let mut sim = Sim::empty(40.0);
        sim.plug(rate, 40.0);
        for song_rate in [44_100, 48_000] {
            let entry = sim.add(u64::from(song_rate) * 2, song_rate);
            sim.bring(&entry);
        }
        sim.event(1.0, EventKind::Played);
        sim.publish();
        sim.run_until(2.2);
        // What was rendered ahead is replaced, as far as that goes.
        sim.event(2.6, EventKind::Skipped { entry: EntryId(1) });
        sim.publish();
        sim.run_until(4.4);
        let worst = sim.worst(1.5, 4.4, &[2.6]);
        assert!(worst < 2.0 * CLOSE, "{rate}: {worst}");
        assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 0), "{rate}");
    }
}

#[test]
fn another_device_goes_on_where_the_song_is_by_then() {
    let mut sim = Sim::new(80.0, &[(44_100, 20.0)]);
    sim.run_until(5.0);
    let pulled = sim.sounds(sim.feed.next_frame());
    sim.plug(44_100, -90.0);
    sim.run_until(9.0);
    // It is heard within a tenth of a second, and what the first stamp can't tell of its drift is steered out.
    assert!(sim.worst(pulled + 0.1, pulled + 3.0, &[]) < 4.0 * CLOSE);
    assert!(sim.worst(pulled + 3.0, 9.0, &[]) < CLOSE, "{}", sim.worst(pulled + 3.0, 9.0, &[]));
    // The silence in between is counted once.
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (1, 0));
}

#[test]
fn sound_that_goes_to_another_output_is_placed_anew_and_is_no_underrun() {
    let mut sim = Sim::new(0.0, &[(44_100, 20.0)]);
    sim.run_until(3.0);
    // From now on each frame sounds 30 ms later.
    let moved = sim.sounds(sim.feed.next_frame());
    sim.began += 0.03;
    sim.feed.mishaps().moved();
    sim.run_until(6.0);
    assert!(sim.worst(moved + 0.1, 6.0, &[]) < CLOSE, "{}", sim.worst(moved + 0.1, 6.0, &[]));
    assert_eq!((sim.renderer.underruns, sim.renderer.jumps), (0, 0));
}

#[test]
fn after_a_sleep_it_is_silent_until_the_time_is_known() {
    let mut sim = Sim::new(20.0, &[(44_100, 30.0)]);
    sim.run_until(3.0);
    // While the machine slept the others played on for 10 seconds, and its clocks stood still.
    let woke = sim.sounds(sim.feed.next_frame());
    sim.knows_time = false;
    sim.run_until(4.0);
    // What the device had taken already can't be taken back.
    assert!(sim.is_silent(woke + 0.05, 4.0));
    sim.view.map.shared = SharedTime(Flicks::from_secs(10).0);
    sim.knows_time = true;
    sim.run_until(6.0);
    let late = sim.heard.iter().filter(|(at, _)| *at > 4.1);
    let worst =
        late.map(|(at, heard)| (f64::from(*heard) - sim.due(at + 10.0)).abs()).fold(0.0, f64::max);
    assert!(worst < CLOSE, "{worst}");
    assert_eq!(sim.renderer.jumps, 0);
}

#[test]
fn every_silence_is_counted_whatever_causes_it() {
    let mut sim = Sim::new(0.0, &[(44_100, 30.0)]);
    sim.run_until(3.0);
    assert_eq!(sim.renderer.silence(), Silence::default(), "the start is none");
    // The device goes on alone.
    sim.feed.skip_to(sim.feed.next_frame() + u64::from(DEVICE_RATE) / 2);
    sim.run_until(6.0);
    // Nobody knows the time.
    sim.knows_time = false;
    sim.run_until(7.0);
    sim.knows_time = true;
    sim.run_until(9.0);
    // The song is gone for a while.
    let missing = sim.songs.remove(&TrackId([1; 32])).expect("it was there");
    sim.renderer.deck.stop();
    sim.renderer.new_epoch = true;
    sim.run_until(10.0);
    sim.songs.add(TrackId([1; 32]), missing);
    sim.run_until(12.0);
    let silence = sim.renderer.silence();
    let frames = |from: f64, to: f64| {
        let heard = sim.heard.iter().filter(|(at, _)| (from..to).contains(at));
        let runs: Vec<f32> = heard.map(|(_, sound)| *sound).collect();
        runs.split(|sound| *sound != 0.0).map(<[f32]>::len).filter(|run| *run > 480).sum::<usize>()
    };
    let heard_ns = 500_000_000 + (frames(1.1, 12.0) as f64 * 1e9 / f64::from(DEVICE_RATE)) as i64;
    assert!(heard_ns > 2_000_000_000, "{heard_ns} ns of silence were made");
    let off_ns = (silence.total_ns - heard_ns).abs();
    assert!(off_ns < 15_000_000, "{off_ns} ns off: {silence:?}, and heard were {heard_ns} ns");
    assert_eq!(silence.times, 3);
}

#[test]
fn a_pause_and_a_dry_queue_are_no_silence() {
    let mut sim = Sim::new(0.0, &[(44_100, 4.0)]);
    sim.run_until(2.0);
    sim.event(2.5, EventKind::Paused { nobody_listening: false });
    sim.publish();
    sim.run_until(4.0);
    sim.event(4.5, EventKind::Played);
    sim.publish();
    sim.run_until(9.0);
    assert_eq!(sim.renderer.silence(), Silence::default());
}
