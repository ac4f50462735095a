//! Which nodes the log has given the cluster's places to.

use super::Shard;
use crate::limits;

impl Shard {
    /// Whether the log gave the place of this node to a later node. A node that is superseded and not in the membership is
    /// out of the cluster for good: node ids are given once.
    pub fn is_superseded(&self, node: u64) -> bool {
        if node <= limits::PLACE_MAX {
            return self.replacements.contains_key(&node);
        }
        node < self.next_node && !self.replacements.values().any(|&holder| holder == node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Outcome;
    use crate::wire::log::v1 as log;
    use log::log_entry::Op;

    #[test]
    fn only_the_latest_node_of_a_place_is_not_superseded() {
        let mut shard = Shard::default();
        let mut replace = |holder| {
            let op = Some(Op::ReplaceNode(log::ReplaceNode { node: 3, holder }));
            let applied = shard.apply(1, &log::LogEntry { op, ..Default::default() });
            assert!(matches!(applied.outcome, Outcome::Node(_)), "{:?}", applied.outcome);
            [1, 3, 99, 100, 101, 102, u64::MAX].map(|node| shard.is_superseded(node))
        };
        assert_eq!(replace(3), [false, true, false, false, false, false, false]);
        assert_eq!(replace(100), [false, true, false, true, false, false, false]);
    }
}
