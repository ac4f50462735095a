//! When the machine that ran everything stood still: nobody on it could keep a promise then.

use crate::history::{History, What};

/// What each stall may cost beyond its own length: an election, and clients that look for another node.
const RECOVERY_NS: i64 = 2_000_000_000;

/// The stalls of a run.
#[derive(Debug, Default)]
pub struct Stalls {
    /// From and until, true time, ns.
    spans: Vec<(i64, i64)>,
}

impl Stalls {
    /// Those that a history tells.
    pub fn of(history: &History) -> Self {
        let spans = history.records.iter().filter_map(|record| match record.what {
            What::Stalled { from_ns, until_ns } => Some((from_ns, until_ns)),
            _ => None,
        });
        Self { spans: spans.collect() }
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// How long the longest was, ns; 0: there was none.
    pub fn longest_ns(&self) -> i64 {
        self.spans.iter().map(|(from_ns, until_ns)| until_ns - from_ns).max().unwrap_or(0)
    }

    /// How many touch a span of time, and how much of it they may have cost, ns.
    pub fn within(&self, from_ns: i64, until_ns: i64) -> (usize, i64) {
        let touching = self.spans.iter().filter(|span| span.0 < until_ns && from_ns < span.1);
        let costs = touching.map(|span| {
            let lost_ns = span.1.min(until_ns) - span.0.max(from_ns);
            (lost_ns + RECOVERY_NS).min(until_ns - span.0.max(from_ns))
        });
        costs.fold((0, 0), |(count, cost_ns), cost| (count + 1, cost_ns + cost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_costs_its_length_and_what_follows_it() {
        let secs = 1_000_000_000;
        let stalls = Stalls { spans: vec![(secs, 3 * secs), (20 * secs, 21 * secs)] };
        assert_eq!(stalls.within(0, 10 * secs), (1, 4 * secs));
        assert_eq!(stalls.within(2 * secs, 10 * secs), (1, 3 * secs));
        assert_eq!(stalls.within(5 * secs, 15 * secs), (0, 0));
        assert_eq!(stalls.within(0, 22 * secs), (2, 6 * secs));
        assert_eq!((stalls.count(), stalls.longest_ns()), (2, 2 * secs));
    }
}
