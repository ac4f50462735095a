//! One leader's clock after another's: how long nobody led, and by how much time moved.

use jam_proto::sync::ClockFilter;

use crate::news::{Moved, News};

/// A leader that does not answer any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    node: u64,
    /// When it answered last, and when somebody else led first: the raw clock, ns.
    heard_raw_ns: i64,
    back_raw_ns: Option<i64>,
}

impl Gone {
    /// Who answered last at `heard_raw_ns`.
    pub fn new(node: u64, heard_raw_ns: i64) -> Self {
        Self { node, heard_raw_ns, back_raw_ns: None }
    }

    /// Somebody leads again.
    pub fn back(&mut self, raw_ns: i64) {
        self.back_raw_ns.get_or_insert(raw_ns);
    }

    /// What there is to tell once the time of `node` is used instead. None: it is the same one again. `clocks`: what was known
    /// of the time before, and of the time from now on, unless they have nothing to do with each other.
    pub fn over(
        self,
        node: u64,
        raw_now_ns: i64,
        clocks: Option<(&ClockFilter, &ClockFilter)>,
    ) -> Option<News> {
        if node == self.node {
            return None;
        }
        let moved = clocks.and_then(|(old, new)| {
            let (old, new) = (old.estimate(raw_now_ns)?, new.estimate(raw_now_ns)?);
            Some(Moved {
                phase_ns: new.map.at(raw_now_ns).since(old.map.at(raw_now_ns)).as_nanos(),
                bound_ns: old.bound_ns() + new.bound_ns(),
            })
        });
        let back_raw_ns = self.back_raw_ns.unwrap_or(raw_now_ns);
        let silent_ns = back_raw_ns - self.heard_raw_ns;
        Some(News::Failover { from: self.node, to: node, silent_ns, moved })
    }
}
