//! How long to wait before trying again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(600);

/// Pauses that double, with jitter, so that a crowd of clients doesn't come back in step.
#[derive(Debug, Default)]
pub struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// The next pause.
    pub fn next_pause(&mut self, longest: Duration) -> Duration {
        let pause = BACKOFF_FIRST.saturating_mul(1 << self.attempt.min(10)).min(longest);
        self.attempt += 1;
        pause.mul_f64(rand::random_range(0.5..1.0))
    }

    /// Begins again with short pauses.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Pauses; false if `deadline` comes first (then it returns at once).
    pub(super) async fn pause_before(&mut self, deadline: Instant) -> bool {
        let pause = self.next_pause(BACKOFF_MAX);
        if Instant::now() + pause >= deadline {
            return false;
        }
        sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let mut backoff = Backoff::default();
        let bound = Duration::from_secs(1);
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.next_pause(bound)).collect();
        assert!(pauses[0] <= BACKOFF_FIRST);
        assert!(pauses.iter().all(|pause| *pause <= bound));
        assert!(pauses[39] >= bound / 2);
    }
}
