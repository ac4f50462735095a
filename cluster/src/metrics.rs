//! What a node counts, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::evictions::Evictions;
use crate::refusal::Refusal;

/// Upper bounds of the buckets of commit times, ms.
const BUCKETS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 250, 1000, 5000];

/// Counters of this process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By code; `ok` for what was committed.
    proposals: Mutex<BTreeMap<String, u64>>,
    commits: [AtomicU64; BUCKETS_MS.len() + 1],
    commit_sum_us: AtomicU64,
    recent_commit_ns: AtomicI64,
    /// Clock probes answered.
    pub probes: AtomicU64,
    slow_watchers: AtomicU64,
    stuck_connections: AtomicU64,
    /// Sessions that were closed for others.
    pub evictions: Evictions,
}

impl Metrics {
    /// A proposal of a client of this node ended.
    pub fn proposed(&self, outcome: Result<(), &Refusal>) {
        let code = outcome.err().map_or("ok", Refusal::code);
        let mut proposals = self.proposals.lock().unwrap_or_else(PoisonError::into_inner);
        match proposals.get_mut(code) {
            Some(count) => *count += 1,
            None => {
                proposals.insert(code.to_owned(), 1);
            }
        }
    }

    /// This node, as the leader, committed a proposal.
    pub fn committed(&self, took: Duration) {
        let bucket = BUCKETS_MS.partition_point(|bound| took > Duration::from_millis(*bound));
        self.commits[bucket].fetch_add(1, Relaxed);
        self.commit_sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        // A peak counts at once and fades over some tens of commits. Two that race lose one of
        // them, which does not matter here.
        let took_ns = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        let before_ns = self.recent_commit_ns.load(Relaxed);
        self.recent_commit_ns.store(took_ns.max(before_ns - before_ns / 16), Relaxed);
    }

    /// About how long a commit takes at worst just now, ns.
    pub fn recent_commit_ns(&self) -> i64 {
        self.recent_commit_ns.load(Relaxed)
    }

    /// So many watchers were dropped for being slow.
    pub fn slow_watchers(&self, count: u64) {
        self.slow_watchers.fetch_add(count, Relaxed);
    }

    /// So many connections were closed since nothing was taken from them.
    pub fn stuck_connections(&self, count: u64) {
        self.stuck_connections.fetch_add(count, Relaxed);
    }

    /// Writes the counters.
    pub fn write(&self, page: &mut Page) {
        page.family(
            "jam_proposals_total",
            "counter",
            "Proposals that this node's clients made, by how they ended.",
        );
        for (code, count) in self.proposals.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            page.sample(&format!("jam_proposals_total{{code=\"{code}\"}}"), count);
        }
        page.family("jam_commit_seconds", "histogram", "From proposing to applied, on the leader.");
        let mut below = 0;
        for (count, bound_ms) in self.commits.iter().zip(BUCKETS_MS) {
            below += count.load(Relaxed);
            page.sample(
                &format!("jam_commit_seconds_bucket{{le=\"{}\"}}", bound_ms as f64 / 1e3),
                below,
            );
        }
        below += self.commits[BUCKETS_MS.len()].load(Relaxed);
        page.sample("jam_commit_seconds_bucket{le=\"+Inf\"}", below);
        page.sample("jam_commit_seconds_sum", self.commit_sum_us.load(Relaxed) as f64 / 1e6);
        page.sample("jam_commit_seconds_count", below);
        page.one(
            "jam_clock_probes_total",
            "counter",
            "Clock probes answered.",
            self.probes.load(Relaxed),
        );
        let slow = self.slow_watchers.load(Relaxed);
        page.one("jam_slow_watchers_total", "counter", "Watchers dropped for being slow.", slow);
        page.one(
            "jam_stuck_connections_total",
            "counter",
            "Connections closed since their client took nothing of what it was sent.",
            self.stuck_connections.load(Relaxed),
        );
        self.evictions.write(page);
    }
}

/// A page in Prometheus' text format, 0.0.4.
#[derive(Debug, Default)]
pub struct Page(pub String);

impl Page {
    /// Begins a family of samples.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family.
    pub fn sample(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// A family of one sample.
    pub fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_happened() {
        let metrics = Metrics::default();
        metrics.proposed(Ok(()));
        metrics.proposed(Err(&Refusal::NoQuorum));
        metrics.committed(Duration::from_millis(3));
        metrics.committed(Duration::from_secs(9));
        let mut page = Page::default();
        metrics.write(&mut page);
        for line in [
            "jam_proposals_total{code=\"no_quorum\"} 1",
            "jam_commit_seconds_bucket{le=\"0.005\"} 1",
            "jam_commit_seconds_bucket{le=\"5\"} 1",
            "jam_commit_seconds_bucket{le=\"+Inf\"} 2",
        ] {
            assert!(page.0.lines().any(|found| found == line), "{line} is not in\n{}", page.0);
        }
        assert_eq!(metrics.recent_commit_ns(), 9_000_000_000);
    }
}
