//! Measures what the line carries, for the choice of a quality.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fetch::Fetcher;
use super::quality::{Chooser, MEASURED_BYTES_MIN};

/// If fewer bytes come within so long, they are a measurement all the same.
const SLOW: Duration = Duration::from_millis(500);
/// If none come within so long, the line stalls.
const STALLED: Duration = Duration::from_millis(1500);

/// What the line carried since the last look.
pub(super) struct Meter {
    received: u64,
    at: Instant,
}

impl Meter {
    pub(super) fn new(fetcher: &Fetcher) -> Self {
        Self { received: fetcher.received(), at: Instant::now() }
    }

    /// Nothing is on its way.
    pub(super) fn rest(&mut self, fetcher: &Fetcher) {
        *self = Self::new(fetcher);
    }

    /// Something has come, or `is_done`.
    pub(super) fn look(&mut self, fetcher: &Fetcher, chooser: &Mutex<Chooser>, is_done: bool) {
        let (bytes, took) = (fetcher.received() - self.received, self.at.elapsed());
        let mut chooser = chooser.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes >= MEASURED_BYTES_MIN || (bytes > 0 && took >= SLOW) {
            chooser.measured(bytes, took.as_secs_f64());
        } else if is_done && bytes > 0 {
            chooser.at_least(bytes, took.as_secs_f64());
        } else if took >= STALLED {
            chooser.stalled();
        } else {
            return;
        }
        self.rest(fetcher);
    }
}
