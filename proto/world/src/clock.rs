//! The machine's clocks.

use std::fmt::Debug;
use std::time::SystemTime;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The clocks of one machine.
pub trait Clock: Debug + Send + Sync {
    /// CLOCK_MONOTONIC_RAW, ns: runs at the crystal's own rate, untouched by NTP, so a fitted drift stays
    /// true. It stands still in a suspend.
    fn raw_ns(&self) -> i64;
    /// CLOCK_MONOTONIC, ns: what sound devices stamp with.
    fn mono_ns(&self) -> i64;
    /// CLOCK_BOOTTIME, ns: runs on in a suspend.
    fn boottime_ns(&self) -> i64;
    /// The time of day. Anybody may set it to anything: only ages of files depend on it.
    fn wall(&self) -> SystemTime;
    /// What names this boot of this machine: raw clocks of two boots have nothing in common. Empty if the
    /// machine doesn't say; then no clock is continued over a restart.
    fn boot_id(&self) -> String;
}

/// Linux's.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn raw_ns(&self) -> i64 {
        nanos(clock_gettime(ClockId::MonotonicRaw))
    }

    fn mono_ns(&self) -> i64 {
        nanos(clock_gettime(ClockId::Monotonic))
    }

    fn boottime_ns(&self) -> i64 {
        nanos(clock_gettime(ClockId::Boottime))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn boot_id(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default()
    }
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
