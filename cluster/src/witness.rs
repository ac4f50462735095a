//! Somebody who sees what a node does and has no say in it.

use std::sync::Arc;

use jam_proto::shard::Shard;

use crate::shard::{Group, Payload};
use crate::time::clock::NodeClock;

/// Sees what a node does, for judges. What it is told is true on this node, not for ever: all of it is.
pub trait Witness: Send + Sync {
    /// The node takes part in the log, with this id. Before it applies anything.
    fn belongs(&self, _node: u64) {}
    /// It serves everybody.
    fn started(&self, _group: &Group, _clock: &Arc<NodeClock>) {}
    /// An entry of the log was applied, or a snapshot up to it, and this is the state since.
    fn applied(&self, _term: u64, _index: u64, _entry: Payload<'_>, _state: &Shard) {}
}

/// Nobody looks.
#[derive(Debug)]
pub struct Nobody;

impl Witness for Nobody {}
