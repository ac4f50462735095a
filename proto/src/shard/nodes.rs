//! Which node holds which place.

use super::{Outcome, Shard};
use crate::convert::Malformed;
use crate::limits;
use crate::wire::log::v1 as log;

impl Shard {
    /// Gives a place to a node id that was never used, if its latest holder is the one that the request names. Otherwise
    /// that one was replaced before, and the answer is the latest holder: the same request again changes nothing.
    pub(super) fn replace_node(
        &mut self,
        replace: &log::ReplaceNode,
    ) -> Result<Outcome, Malformed> {
        let place = replace.node;
        if place == 0 {
            return Err(Malformed::Missing("the place"));
        }
        let holder = if replace.holder == 0 { place } else { replace.holder };
        let holds = self.replacements.get(&place).copied().unwrap_or(place);
        if holds != holder {
            return Ok(Outcome::Node(holds));
        }
        let known = [limits::PLACE_MAX, place, holder];
        let node =
            known.into_iter().fold(self.next_node, |next, id| next.max(id.saturating_add(1)));
        self.next_node = node.saturating_add(1);
        self.replacements.insert(place, node);
        Ok(Outcome::Node(node))
    }

    /// Which node holds a place (the `--id` of its jamd), if it is not the node of that number.
    pub fn replacement(&self, place: u64) -> Option<u64> {
        self.replacements.get(&place).copied()
    }

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
