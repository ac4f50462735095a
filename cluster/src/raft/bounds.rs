//! What a message of another node may say of terms and log ids: checked before Raft hears of it.
//!
//! Openraft believes its peers. It takes over any higher term and keeps it, and computes the next one as `term + 1`: at the
//! highest term that panics in a debug build and gives term 0 in a release, which fails an assertion. One forged message
//! would end the node for good, since the vote is on its disk by then. Its assertions about log ids also hold only for
//! messages that a node of this cluster made.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use tonic::Status;

use super::log::after;
use super::types::{LogId, SnapshotMeta, Types, Vote};

/// How far a term may be above a node's own: more elections than a cluster holds in centuries.
pub const TERMS_AHEAD_MAX: u64 = 1 << 32;
/// The highest term that is believed. The distance to the end leaves room for elections.
pub const TERM_MAX: u64 = u64::MAX - TERMS_AHEAD_MAX;
/// The highest index of a log entry that is believed. No log gets there by counting.
pub const INDEX_MAX: u64 = u64::MAX / 2;

/// Why a message is not passed to Raft.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// Somebody speaks for another node.
    #[error("node {from} sent a message that is of node {of}")]
    NotTheSender {
        /// Who called.
        from: u64,
        /// Whose vote the message carries.
        of: u64,
    },
    /// A term that no election can have reached.
    #[error(
        "node {from} speaks of term {term}, and this node knows of no term above {own}: no election can have reached it. If \
         that node says so of itself, a forged message set its term: run `jam --servers … cluster replace` for it"
    )]
    TermTooHigh {
        /// Who called or answered.
        from: u64,
        /// The term it named.
        term: u64,
        /// The last term that this node knows.
        own: u64,
    },
    /// What no node of the cluster can have made.
    #[error("node {from} sent a message that contradicts itself: {what}")]
    Contradiction {
        /// Who called.
        from: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl From<OutOfBounds> for Status {
    fn from(refusal: OutOfBounds) -> Self {
        Self::invalid_argument(refusal.to_string())
    }
}

/// The term in a log id.
pub fn term_of(id: LogId) -> u64 {
    id.committed_leader_id().term
}

/// What a message is measured by.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The node that sent it.
    pub from: u64,
    /// The last term that this node knows.
    pub own_term: u64,
    /// The last log id that this node knows to be committed.
    pub committed: Option<LogId>,
}

impl Bounds {
    /// Checks a term by itself, of a request or an answer. A node that knows of no term yet can't measure the distance: it
    /// may join a cluster that is at any term.
    pub fn term(&self, term: u64) -> Result<(), OutOfBounds> {
        let is_near = term <= self.own_term.saturating_add(TERMS_AHEAD_MAX);
        if term <= TERM_MAX && (is_near || self.own_term == 0) {
            return Ok(());
        }
        Err(OutOfBounds::TermTooHigh { from: self.from, term, own: self.own_term })
    }

    /// Checks what a candidate asks.
    pub fn candidate(&self, request: &VoteRequest<Types>) -> Result<(), OutOfBounds> {
        self.vote(&request.vote, false)?;
        request.last_log_id.map_or(Ok(()), |last| self.log_id(last, &request.vote))
    }

    /// Checks a leader's log entries, or its heartbeat.
    pub fn append(&self, request: &AppendEntriesRequest<Types>) -> Result<(), OutOfBounds> {
        self.vote(&request.vote, true)?;
        let ids = request.entries.iter().map(|entry| entry.log_id);
        for id in request.prev_log_id.into_iter().chain(ids.clone()) {
            self.log_id(id, &request.vote)?;
            self.follows_committed(id)?;
        }
        if let Some(committed) = request.leader_commit {
            self.log_id(committed, &request.vote)?;
        }
        let mut before = request.prev_log_id;
        for id in ids {
            if id.index != after(before) || before.is_some_and(|before| before > id) {
                return Err(self.contradiction("its log entries do not follow each other"));
            }
            before = Some(id);
        }
        Ok(())
    }

    /// Checks what a leader's snapshot covers.
    pub fn snapshot(&self, vote: &Vote, meta: &SnapshotMeta) -> Result<(), OutOfBounds> {
        self.vote(vote, true)?;
        let Some(last) = meta.last_log_id else {
            return Err(self.contradiction("a snapshot of no log entry"));
        };
        self.log_id(last, vote)?;
        self.follows_committed(last)?;
        if *meta.last_membership.log_id() > Some(last) {
            return Err(self.contradiction("its membership is newer than the snapshot"));
        }
        if meta.last_membership.voter_ids().next().is_none() {
            return Err(self.contradiction("nobody votes in its membership"));
        }
        Ok(())
    }

    /// Checks a leader's wish to hand over.
    pub fn transfer(&self, request: &TransferLeaderRequest<Types>) -> Result<(), OutOfBounds> {
        self.vote(request.from_leader(), true)?;
        request.last_log_id().map_or(Ok(()), |last| self.log_id(*last, request.from_leader()))
    }

    /// A vote must be its sender's own, and a leader's or a candidate's as the message is.
    fn vote(&self, vote: &Vote, leads: bool) -> Result<(), OutOfBounds> {
        if vote.leader_id.voted_for != self.from {
            return Err(OutOfBounds::NotTheSender {
                from: self.from,
                of: vote.leader_id.voted_for,
            });
        }
        if vote.committed != leads {
            return Err(self.contradiction(match leads {
                true => "a leader's message with the vote of a candidate",
                false => "a candidate's message with the vote of a leader",
            }));
        }
        self.term(vote.leader_id.term)
    }

    /// No log holds an entry of a later term than that of its leader.
    fn log_id(&self, id: LogId, vote: &Vote) -> Result<(), OutOfBounds> {
        if term_of(id) > vote.leader_id.term {
            return Err(self.contradiction("a log entry of a later term than the message"));
        }
        if id.index > INDEX_MAX {
            return Err(self.contradiction("a log index that no log reaches"));
        }
        Ok(())
    }

    /// Where entries are committed here, none of a later term can be.
    fn follows_committed(&self, id: LogId) -> Result<(), OutOfBounds> {
        match self.committed {
            Some(committed) if id.index <= committed.index && term_of(id) > term_of(committed) => {
                Err(self.contradiction("another log entry in the place of a committed one"))
            }
            _ => Ok(()),
        }
    }

    fn contradiction(&self, what: &'static str) -> OutOfBounds {
        OutOfBounds::Contradiction { from: self.from, what }
    }
}

/// An answer that may tell of a later term.
pub trait TellsTerm {
    /// The term it tells of.
    fn term(&self) -> Option<u64>;
}

impl TellsTerm for VoteResponse<Types> {
    fn term(&self) -> Option<u64> {
        Some(self.vote.leader_id.term)
    }
}

impl TellsTerm for SnapshotResponse<Types> {
    fn term(&self) -> Option<u64> {
        Some(self.vote.leader_id.term)
    }
}

impl TellsTerm for AppendEntriesResponse<Types> {
    fn term(&self) -> Option<u64> {
        match self {
            Self::HigherVote(vote) => Some(vote.leader_id.term),
            Self::Success | Self::PartialSuccess(_) | Self::Conflict => None,
        }
    }
}

impl TellsTerm for StreamAppendResult<Types> {
    fn term(&self) -> Option<u64> {
        match self {
            Err(StreamAppendError::HigherVote(vote)) => Some(vote.leader_id.term),
            Ok(_) | Err(StreamAppendError::Conflict(_)) => None,
        }
    }
}

impl TellsTerm for TransferLeaderResponse<Types> {
    fn term(&self) -> Option<u64> {
        match self {
            Err(TransferLeaderError::VoteChanged { actual, .. }) => Some(actual.leader_id.term),
            Ok(()) | Err(TransferLeaderError::LogNotFlushed { .. }) => None,
        }
    }
}

#[cfg(test)]
mod tests;
