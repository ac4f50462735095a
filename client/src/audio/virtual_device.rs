//! The virtual device: a sound card in software, paced by a clock of its own.
//!
//! Its clock takes frames when they are due, as a card's DMA does: what was not there by then is
//! silence, and an underrun. A thread does it, so it may come late; but then it takes what has
//! become due meanwhile, which is what the player had put there before. When the whole process was
//! stopped, what is missing is silence, and the clock has gone on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clocks::mono_ns;
use super::link::{CHANNELS, Feed};
use super::spec::VirtualSpec;
use super::wav::Recorder;
use super::{AudioError, priority};

/// As most cards.
pub const RATE: u32 = 48_000;
/// Frames that it takes at a time: 21.3 ms, as we ask of cards.
const PERIOD: u64 = 1024;
/// After a longer standstill than this, all that the player had put there has sounded.
const STANDSTILL: u64 = RATE as u64;

/// A running virtual device. Stops when dropped.
pub struct VirtualDevice {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
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
    /// Starts it.
    pub fn start(spec: &VirtualSpec, feed: Feed) -> Result<Self, AudioError> {
        let time = DeviceTime { start_ns: mono_ns(), rate: RATE, drift_ppm: spec.drift_ppm };
        let recorder = spec.wav.as_deref().map(|path| Recorder::create(path, time)).transpose()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("jam-device".into())
            .spawn(move || {
                priority::raise_or_tell();
                Card { time, feed, recorder, sound: [0.0; PERIOD as usize * CHANNELS] }
                    .run(&stopped);
            })
            .map_err(AudioError::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for VirtualDevice {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the virtual device broke");
            }
        }
    }
}

struct Card {
    time: DeviceTime,
    feed: Feed,
    recorder: Option<Recorder>,
    sound: [f32; PERIOD as usize * CHANNELS],
}

impl Card {
    fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.turn(mono_ns());
            let wait = self.time.ns_at(self.feed.next_frame() + PERIOD) - mono_ns();
            let wait = u64::try_from(wait).unwrap_or(0);
            std::thread::park_timeout(Duration::from_nanos(wait.max(1)));
        }
    }

    /// Takes what has become due until `now_ns`.
    fn turn(&mut self, now_ns: i64) {
        let due = self.time.frame_at(now_ns);
        let stood = due.saturating_sub(self.feed.next_frame()) > STANDSTILL;
        let until = if stood { self.feed.next_frame() + STANDSTILL } else { due };
        self.take_until(until);
        if stood {
            let missed = due - self.feed.next_frame();
            self.feed.skip_to(due);
            if let Some(recorder) = &mut self.recorder {
                recorder.silence(missed);
            }
        }
    }

    fn take_until(&mut self, frame: u64) {
        while self.feed.next_frame() + PERIOD <= frame {
            self.feed.stamp(PERIOD as usize, self.time.ns_at(self.feed.next_frame()));
            self.feed.fill(&mut self.sound);
            if let Some(recorder) = &mut self.recorder {
                recorder.record(&self.sound);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::link::link;

    #[test]
    fn a_card_takes_what_is_due_and_no_more() {
        let (mut line, feed) = link(RATE, 1.0);
        line.set_feeding(true);
        let time = DeviceTime { start_ns: 1_000, rate: RATE, drift_ppm: 100.0 };
        let mut card =
            Card { time, feed, recorder: None, sound: [0.0; PERIOD as usize * CHANNELS] };
        card.turn(time.ns_at(PERIOD) - 1);
        assert_eq!(card.feed.next_frame(), 0);
        card.turn(time.ns_at(3 * PERIOD) + 1);
        assert_eq!(card.feed.next_frame(), 3 * PERIOD);
        assert_eq!(line.missing(), 3 * PERIOD);
        // Stopped for ten seconds: its clock went on.
        card.turn(time.ns_at(480_000) + 1);
        assert_eq!(card.feed.next_frame(), 480_000);
        assert_eq!(line.missing(), 480_000);
        let stamps: Vec<_> = std::iter::from_fn(|| line.stamp()).collect();
        assert!(stamps.iter().all(|stamp| stamp.at_ns == time.ns_at(stamp.frame)));
    }
}
