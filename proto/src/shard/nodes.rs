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
}
