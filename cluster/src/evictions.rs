//! Sessions that were closed to make room for others: counted for the metrics, and logged now and then.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jam_proto::shard::Evicted;

use crate::metrics::Page;

/// What this node applied since it started, entries that it applied before its start and again after it included.
#[derive(Debug, Default)]
pub struct Evictions {
    never_used: AtomicU64,
    idle: AtomicU64,
    /// Of both, how many the log was told of.
    logged: AtomicU64,
}

impl Evictions {
    /// A session was closed.
    pub fn note(&self, evicted: Evicted) {
        match evicted {
            Evicted::NeverUsed => self.never_used.fetch_add(1, Relaxed),
            Evicted::Idle => self.idle.fetch_add(1, Relaxed),
        };
    }

    /// Logs what came since the last call, if anything did. Called once a second: a flood of sessions must not become a
    /// flood of lines.
    pub fn log(&self) {
        let (never_used, idle) = (self.never_used.load(Relaxed), self.idle.load(Relaxed));
        let closed = (never_used + idle).saturating_sub(self.logged.load(Relaxed));
        if closed > 0 {
            self.logged.fetch_add(closed, Relaxed);
            tracing::warn!(
                closed,
                never_used_total = never_used,
                idle_total = idle,
                "the table of sessions is full, and sessions were closed to make room for others"
            );
        }
    }

    /// Writes the counters.
    pub fn write(&self, page: &mut Page) {
        page.family(
            "jam_sessions_evicted_total",
            "counter",
            "Sessions that were closed to make room for others: never used, or idle and of the origin that held most.",
        );
        for (kind, count) in [("never_used", &self.never_used), ("idle", &self.idle)] {
            page.sample(
                &format!("jam_sessions_evicted_total{{kind=\"{kind}\"}}"),
                count.load(Relaxed),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_and_told_once() {
        let evictions = Evictions::default();
        evictions.note(Evicted::NeverUsed);
        evictions.note(Evicted::Idle);
        evictions.note(Evicted::Idle);
        evictions.log();
        assert_eq!(evictions.logged.load(Relaxed), 3);
        let mut page = Page::default();
        evictions.write(&mut page);
        for line in [
            "jam_sessions_evicted_total{kind=\"never_used\"} 1",
            "jam_sessions_evicted_total{kind=\"idle\"} 2",
        ] {
            assert!(page.0.lines().any(|found| found == line), "{line} is not in\n{}", page.0);
        }
    }
}
