//! So much at once, and so much in a second: the generic cell rate algorithm (ITU-T I.371, annex A).

use std::time::Duration;

use tokio::time::Instant;

/// What may be taken: up to `burst` at once, and one more after each `every`.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    every: Duration,
    burst: u32,
    /// When it will be full again.
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(burst: u32, every: Duration, now: Instant) -> Self {
        Self { every, burst, full_at: now }
    }

    /// Takes `count` if they are there.
    pub fn take(&mut self, count: u32, now: Instant) -> bool {
        let is_there = self.wait(count, now).is_zero();
        if is_there {
            self.reserve(count, now);
        }
        is_there
    }

    /// Takes `count`, and answers after how long they are there.
    pub fn reserve(&mut self, count: u32, now: Instant) -> Duration {
        let wait = self.wait(count, now);
        self.full_at = self.full_at.max(now) + self.every * count;
        wait
    }

    /// After how long `count` could be taken.
    pub fn wait(&self, count: u32, now: Instant) -> Duration {
        let full_at = self.full_at.max(now) + self.every * count;
        full_at.saturating_duration_since(now + self.every * self.burst)
    }

    /// Puts `count` in, as far as there is room.
    pub fn earn(&mut self, count: u32, now: Instant) {
        let owed = self.full_at.saturating_duration_since(now);
        self.full_at = now + owed.saturating_sub(self.every * count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_a_rate() {
        let now = Instant::now();
        let mut bucket = Bucket::new(3, EVERY, now);
        assert!(bucket.take(3, now));
        assert!(!bucket.take(1, now));
        assert_eq!(bucket.wait(2, now), EVERY * 2);
        assert!(bucket.take(1, now + EVERY));
        assert!(!bucket.take(1, now + EVERY));
        assert!(bucket.take(3, now + EVERY * 60), "it is never more than full");
        assert!(!bucket.take(1, now + EVERY * 60));
    }

    #[tokio::test(start_paused = true)]
    async fn who_reserves_waits_for_those_before() {
        let now = Instant::now();
        let mut bucket = Bucket::new(1, EVERY, now);
        let waits: Vec<Duration> = (0..3).map(|_| bucket.reserve(1, now)).collect();
        assert_eq!(waits, [Duration::ZERO, EVERY, EVERY * 2]);
        bucket.earn(2, now);
        assert_eq!(bucket.reserve(1, now), EVERY);
        bucket.earn(100, now);
        assert!(bucket.take(1, now) && !bucket.take(1, now), "it is never more than full");
    }
}
