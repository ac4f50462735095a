//! How often something may be done: a bucket of tokens in one number.
//!
//! This is the generic cell rate algorithm (ITU-T I.371): instead of tokens it keeps the instant at which the bucket is full
//! again.

/// A steady rate, with a burst above it.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Nanoseconds until another one may be done.
    pub every_ns: i64,
    /// So many may be done at once.
    pub burst: i64,
}

impl Rate {
    /// Takes one at `now_ns`, from a bucket that is full again at `full_ns`. Returns when it is full again then.
    ///
    /// # Errors
    /// None is left: nanoseconds until one is.
    pub fn take(self, full_ns: i64, now_ns: i64) -> Result<i64, i64> {
        let full_ns = full_ns.max(now_ns).saturating_add(self.every_ns);
        let wait_ns = full_ns - now_ns - self.burst.saturating_mul(self.every_ns);
        if wait_ns > 0 { Err(wait_ns) } else { Ok(full_ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate { every_ns: 10, burst: 3 };
        let mut full = 0;
        for _ in 0..3 {
            full = rate.take(full, 1000).expect("the burst");
        }
        assert_eq!(rate.take(full, 1000), Err(10));
        assert_eq!(rate.take(full, 1004), Err(6));
        let full = rate.take(full, 1010).expect("one is due");
        assert_eq!(rate.take(full, 1010), Err(10));
        let mut full = rate.take(full, 1_000_000).expect("long after, it is full");
        for _ in 0..2 {
            full = rate.take(full, 1_000_000).expect("the burst");
        }
        assert_eq!(rate.take(full, 1_000_000), Err(10), "and no fuller than full");
    }
}
