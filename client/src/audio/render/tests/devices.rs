//! Devices that differ, are pulled out and come back, and machines that sleep.

use super::*;

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
