//! What openraft is told about our types.

use std::fmt;

use bytes::Bytes;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::{LogBatch, LogEntry};
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::addresses::Addresses;

openraft::declare_raft_types!(
    /// Standard Raft: at most one leader in a term, so that a term names its leader.
    pub Types:
        D = Proposal,
        R = Answer,
        NodeId = u64,
        Node = PeerNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = openraft::impls::TokioRuntime,
);

/// Openraft's handle to our group.
pub type Raft = openraft::Raft<Types, super::machine::Machine>;
/// A log entry with its id.
pub type Entry = openraft::type_config::alias::EntryOf<Types>;
/// Term and index.
pub type LogId = openraft::type_config::alias::LogIdOf<Types>;
/// Term, candidate, and whether it won.
pub type Vote = openraft::type_config::alias::VoteOf<Types>;
/// A membership and the entry that set it.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
/// A snapshot: what it covers and its bytes.
pub type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Bytes>;

/// An encoded [`LogBatch`]. Encoded once, where it is proposed; the log, the network and the
/// disk pass the bytes on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal(Bytes);

impl Proposal {
    /// Encodes entries that go into the log together.
    pub fn new(entries: Vec<LogEntry>) -> Self {
        Self(Bytes::from(LogBatch { entries }.encode_to_vec()))
    }

    /// The encoded batch.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its size in bytes.
    pub fn encoded_len(&self) -> usize {
        self.0.len()
    }

    /// The entries. An error means that another version wrote it, or a bug.
    pub fn decode(&self) -> Result<Vec<LogEntry>, prost::DecodeError> {
        LogBatch::decode(self.0.clone()).map(|batch| batch.entries)
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "proposal of {} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

/// What an applied proposal answers, entry by entry; nothing for Raft's own.
#[derive(Clone, Debug, Default)]
pub struct Answer(pub Vec<Outcome>);

// Openraft asks for serde on every type, but an answer never leaves the process that applied
// the entry: a client's node asks the leader over the public API instead.
impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("answers stay in the process"))
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("answers stay in the process"))
    }
}

/// What the membership knows of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerNode {
    /// Where it is reached.
    pub addresses: Addresses,
    /// The `--id` of its jamd.
    pub place: u64,
    /// The data folder that holds its log. Another folder is another node, whatever it says.
    pub incarnation: [u8; 16],
}
