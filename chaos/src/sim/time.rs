//! The time that passes in a simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::entropy;
use crate::book::TrueTime;

/// A step of the simulation. tokio's timers count whole milliseconds, and messages arrive between steps only, so a shorter
/// one would not tell more.
pub const STEP: Duration = Duration::from_millis(1);

/// True time: ns since the simulation began, the same for all machines. It stands still within a step, as tokio's does.
#[derive(Debug, Default)]
pub struct Time {
    now_ns: AtomicI64,
}

impl TrueTime for Time {
    fn now_ns(&self) -> i64 {
        Time::now_ns(self)
    }
}

impl Time {
    /// The beginning.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Now, in ns.
    pub fn now_ns(&self) -> i64 {
        self.now_ns.load(Ordering::Relaxed)
    }

    /// Sets it: what a [`super::Site`] does before each step.
    pub fn set(&self, elapsed: Duration) {
        // 292 years.
        let now_ns = i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX);
        self.now_ns.store(now_ns, Ordering::Relaxed);
        entropy::set_now(now_ns);
    }
}
