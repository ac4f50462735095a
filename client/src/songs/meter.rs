//! Measures what the line carries, for the choice of a quality.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fetch::Fetcher;
use super::quality::{Chooser, MEASURED_BYTES_MIN};

/// If not even that much comes within a second, it stalls.
const SLOW: Duration = Duration::from_secs(1);

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

    pub(super) fn look(&mut self, fetcher: &Fetcher, chooser: &Mutex<Chooser>) {
        let (bytes, took) = (fetcher.received() - self.received, self.at.elapsed());
        let mut chooser = chooser.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes >= MEASURED_BYTES_MIN {
            chooser.measured(bytes, took.as_secs_f64());
        } else if took >= SLOW {
            chooser.stalled(bytes, took.as_secs_f64());
        } else {
            return;
        }
        self.rest(fetcher);
    }
}
