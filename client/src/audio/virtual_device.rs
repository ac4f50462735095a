//! The virtual device: a sound card in software, paced by a clock of its own.
//!
//! Its clock takes frames when they are due, as a card's DMA does: what was not there by then is
//! silence, and an underrun. It does so in turns, so it may come late; but then it takes what has
//! become due meanwhile, which is what the player had put there before. When the whole process was
//! stopped, what is missing is silence, and the clock has gone on.

use std::sync::Arc;
use std::time::Duration;

use jam_world::{Clock, Pacer, World};

use super::link::{CHANNELS, Feed};
use super::spec::VirtualSpec;
use super::wav::Recorder;
use super::{AudioError, turns};

/// Frames a second: as most cards.
pub const VIRTUAL_RATE: u32 = 48_000;
/// Frames that it takes at a time: 21.3 ms, as we ask of cards.
const PERIOD: u64 = 1024;
/// After a longer standstill than this, all that the player had put there has sounded.
const STANDSTILL: u64 = VIRTUAL_RATE as u64;

/// Who listens to a virtual device. It is told of each of its frames once and in order, as soon as the frame is
/// taken, which is about a period after its instant; it must not keep the device waiting.
pub trait Sink: Send {
    /// Interleaved stereo at [`VIRTUAL_RATE`], of which the first frame begins to sound at this instant of
    /// CLOCK_MONOTONIC.
    fn take(&mut self, first_frame: u64, at_mono_ns: i64, sound: &[f32]);
    /// Frames that passed without sound while the device stood still.
    fn silence(&mut self, first_frame: u64, frames: u64);
}

/// A running virtual device. Stops when dropped.
pub struct VirtualDevice {
    _turns: Box<dyn Pacer>,
}

/// When its frames sound.
#[derive(Clone, Copy, Debug)]
pub struct DeviceTime {
    /// CLOCK_MONOTONIC at frame 0.
    pub start_ns: i64,
    /// Nominal frames a second.
    pub rate: u32,
    /// By how much it runs faster than that.
    pub drift_ppm: f64,
}

impl DeviceTime {
    fn frames_per_ns(&self) -> f64 {
        f64::from(self.rate) * (1.0 + self.drift_ppm * 1e-6) * 1e-9
    }

    /// The CLOCK_MONOTONIC instant at which a frame begins to sound.
    pub fn ns_at(&self, frame: u64) -> i64 {
        self.start_ns + (frame as f64 / self.frames_per_ns()).round() as i64
    }

    /// The frame that sounds at an instant.
    pub fn frame_at(&self, ns: i64) -> u64 {
        ((ns - self.start_ns) as f64 * self.frames_per_ns()).floor().max(0.0) as u64
    }
}

impl VirtualDevice {
    /// Starts it. What it takes goes to the recording, if there is to be one, and to `sink`.
    pub fn start(
        world: &World,
        spec: &VirtualSpec,
        feed: Feed,
        sink: Option<Box<dyn Sink>>,
        urgent: bool,
    ) -> Result<Self, AudioError> {
        let machine = world.clock.clone();
        let time = DeviceTime {
            start_ns: machine.mono_ns(),
            rate: VIRTUAL_RATE,
            drift_ppm: spec.drift_ppm,
        };
        let mut sinks = Vec::from_iter(sink);
        if let Some(path) = &spec.wav {
            sinks.push(Box::new(Recorder::create(path, time)?));
        }
        let sound = [0.0; PERIOD as usize * CHANNELS];
        let mut card = Card { machine, time, feed, sinks, sound };
        let broke = || tracing::error!("the virtual device broke");
        let turns = turns::begin(world, "jam-device", urgent, move || card.turn(), broke)?;
        Ok(Self { _turns: turns })
    }
}

struct Card {
    machine: Arc<dyn Clock>,
    time: DeviceTime,
    feed: Feed,
    sinks: Vec<Box<dyn Sink>>,
    sound: [f32; PERIOD as usize * CHANNELS],
}

impl Card {
    /// Takes what is due; how long until there is more.
    fn turn(&mut self) -> Duration {
        self.take_due(self.machine.mono_ns());
        let wait_ns = self.time.ns_at(self.feed.next_frame() + PERIOD) - self.machine.mono_ns();
        Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(0).max(1))
    }

    /// Takes what has become due until `now_ns`.
    fn take_due(&mut self, now_ns: i64) {
        let due = self.time.frame_at(now_ns);
        let stood = due.saturating_sub(self.feed.next_frame()) > STANDSTILL;
        let until = if stood { self.feed.next_frame() + STANDSTILL } else { due };
        self.take_until(until);
        if stood {
            let first = self.feed.next_frame();
            self.feed.skip_to(due);
            for sink in &mut self.sinks {
                sink.silence(first, due - first);
            }
        }
    }

    fn take_until(&mut self, frame: u64) {
        while self.feed.next_frame() + PERIOD <= frame {
            let first = self.feed.next_frame();
            let at_ns = self.time.ns_at(first);
            self.feed.stamp(PERIOD as usize, at_ns);
            self.feed.fill(&mut self.sound);
            for sink in &mut self.sinks {
                sink.take(first, at_ns, &self.sound);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::audio::link::link;

    /// The frames that a sink was told of.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<(u64, u64)>>>);

    impl Sink for Heard {
        fn take(&mut self, first_frame: u64, _at_mono_ns: i64, sound: &[f32]) {
            self.silence(first_frame, (sound.len() / CHANNELS) as u64);
        }

        fn silence(&mut self, first_frame: u64, frames: u64) {
            self.0.lock().expect("nobody panicked").push((first_frame, first_frame + frames));
        }
    }

    #[test]
    fn a_card_takes_what_is_due_and_no_more() {
        let (mut line, feed) = link(VIRTUAL_RATE, 1.0);
        line.set_feeding(true);
        let time = DeviceTime { start_ns: 1_000, rate: VIRTUAL_RATE, drift_ppm: 100.0 };
        let heard = Heard::default();
        let mut card = Card {
            machine: World::real().clock,
            time,
            feed,
            sinks: vec![Box::new(heard.clone())],
            sound: [0.0; PERIOD as usize * CHANNELS],
        };
        card.take_due(time.ns_at(PERIOD) - 1);
        assert_eq!(card.feed.next_frame(), 0);
        card.take_due(time.ns_at(3 * PERIOD) + 1);
        assert_eq!(card.feed.next_frame(), 3 * PERIOD);
        assert_eq!(line.missing(), 3 * PERIOD);
        // Stopped for ten seconds: its clock went on.
        card.take_due(time.ns_at(480_000) + 1);
        assert_eq!(card.feed.next_frame(), 480_000);
        assert_eq!(line.missing(), 480_000);
        let stamps: Vec<_> = std::iter::from_fn(|| line.stamp()).collect();
        assert!(stamps.iter().all(|stamp| stamp.at_ns == time.ns_at(stamp.frame)));
        // Who listens was told of every frame, in order.
        let heard = heard.0.lock().expect("nobody panicked");
        let end = heard.iter().try_fold(0, |next, (first, end)| (*first == next).then_some(*end));
        assert_eq!(end, Some(480_000));
    }
}
