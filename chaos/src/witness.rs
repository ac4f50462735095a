//! Was the machine itself too busy to play music? A thread that needs a little time, often, as a player
//! does, and notes when it did not get it.
//!
//! A recording made on a machine that runs other work may have gaps that no player could have prevented. The
//! witness tells these from the player's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use crate::cluster::monotonic_ns;

/// It asks for this much time…
const WORK_NS: i64 = 1_000_000;
/// … this often.
const NAP: Duration = Duration::from_millis(20);
/// Players hold 160 ms of sound. Whoever waits this long for a twentieth of a processor is not alone.
const STALL_NS: i64 = 80_000_000;
/// What a stall upsets may be heard this much later, when the sound that was ready has run out, or until it has been
/// caught up with.
const AFTERMATH_NS: i64 = 500_000_000;

/// A running witness.
pub struct Witness {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(i64, i64)>>,
}

/// When the machine stalled: CLOCK_MONOTONIC nanoseconds, from and to.
#[derive(Debug, Default)]
pub struct Stalls(Vec<(i64, i64)>);

impl Witness {
    /// Starts to look.
    pub fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        Self { over, thread: std::thread::spawn(move || look(&seen)) }
    }

    /// Ends it.
    pub fn stop(self) -> Stalls {
        self.over.store(true, Ordering::Relaxed);
        Stalls(self.thread.join().unwrap_or_default())
    }
}

impl Stalls {
    /// Whether what happened at this instant may be the machine's doing.
    pub fn explain(&self, at_ns: i64) -> bool {
        self.0.iter().any(|(from, to)| *from <= at_ns && at_ns <= to + AFTERMATH_NS)
    }

    /// All of them: CLOCK_MONOTONIC nanoseconds, from and to.
    pub fn spans(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().copied()
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

fn look(over: &AtomicBool) -> Vec<(i64, i64)> {
    let mut stalls = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let begun = monotonic_ns();
        sleep(NAP);
        let until = thread_cpu_ns() + WORK_NS;
        while thread_cpu_ns() < until {
            std::hint::spin_loop();
        }
        let now = monotonic_ns();
        if now - begun > STALL_NS {
            stalls.push((begun, now));
        }
    }
    stalls
}

fn thread_cpu_ns() -> i64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    used.tv_sec * 1_000_000_000 + used.tv_nsec
}
