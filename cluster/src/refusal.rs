//! How a node says no. One type for all that never reached the log, and its one way onto the wire.

use jam_proto::convert::Malformed;
use jam_proto::ids::{InvalidName, RoomCode};
use jam_proto::shard::Outcome;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::shard::{ProposeError, TooFewCopies};

/// The metadata that holds a refusal's stable code.
pub const ERROR_KEY: &str = "jam-error";
/// The metadata that says after how many milliseconds to try again.
pub const WAIT_KEY: &str = "jam-wait-ms";
/// The code of [`Refusal::TooFewCopies`].
pub const TOO_FEW_COPIES: &str = "too_few_copies";
/// The code of [`Refusal::NodeReplaced`].
pub const NODE_REPLACED: &str = "node_replaced";

/// Why a request was not served. But for [`Refusal::Unknown`], nothing was or will be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The majority is known to be gone. To repeat it helps only when more nodes are up.
    #[error(
        "no majority of the nodes answers, so nothing was changed; try again when more nodes are up"
    )]
    NoQuorum,
    /// A majority is reachable, and none of it leads yet. To repeat it at once helps: an election is under way.
    #[error(
        "the nodes are electing a leader and had none in time, so nothing was changed; try again"
    )]
    NoLeader,
    /// This node was asked as the leader, and is not. Never leaves the cluster's nodes.
    #[error("this node does not lead; ask another one")]
    NotLeader,
    /// The deadline passed; it may still be applied.
    #[error(
        "the outcome is unknown: it was not committed in time and may still be; repeat it with the same number"
    )]
    Unknown,
    /// This node is stopping, or can't do it now.
    #[error("{0}")]
    Unavailable(String),
    /// A request that can't be meant.
    #[error("{0}")]
    Invalid(String),
    /// The leader counts fewer copies of a song than are needed.
    #[error(transparent)]
    TooFewCopies(#[from] TooFewCopies),
    /// A stated limit; the message names it.
    #[error("{0}")]
    Limit(String),
    /// So many sessions are open, the limit, and each was used in the last minutes.
    #[error(
        "the cluster has {0} open sessions, its limit, and they are all in use; nothing was sent; try again in some minutes"
    )]
    SessionsFull(usize),
    /// A session sends commands faster than anybody needs to.
    #[error(
        "this session sends commands too fast; nothing was sent; wait {wait_ms} ms and repeat it"
    )]
    TooFast {
        /// How long to wait.
        wait_ms: u64,
    },
    /// No token, or a wrong one.
    #[error("this cluster wants a token: give it with --token or JAM_TOKEN")]
    Unauthenticated,
    /// A call between nodes without a peer token that this node knows; says what to do.
    #[error("{0}")]
    PeerToken(&'static str),
    /// What only the leader itself may do.
    #[error("{0}")]
    Forbidden(String),
    /// No such room, in the newest state.
    #[error("there is no room {0}; `jam rooms` lists them")]
    RoomUnknown(RoomCode),
    /// No such node.
    #[error("{0}")]
    NodeUnknown(String),
    /// The feature level can't rise; the message names who holds it.
    #[error("{0}")]
    LevelHeld(String),
    /// The node that is to do it does not answer. Nothing was changed.
    #[error("{0}")]
    NodeSilent(String),
    /// The log has given the place of the node that asks to a later one; says what to do. Goes to that node only.
    #[error("{0}")]
    NodeReplaced(String),
    /// It was done several times in a row; the message says when it may be done again. Nothing was changed.
    #[error("{0}")]
    TooSoon(String),
    /// The caller belongs to another cluster.
    #[error("this node belongs to another cluster")]
    OtherCluster,
    /// The watcher did not read what it was sent.
    #[error("this watcher reads too slowly and was dropped; watch again from the last revision")]
    SlowWatcher,
    /// The caller knows more than this node does yet.
    #[error("this node is behind revision {0}; try another node")]
    Behind(u64),
    /// A bug or a failed disk.
    #[error("{0}")]
    Internal(String),
    /// What another node said, word for word.
    #[error("{message}")]
    Relayed {
        /// Its gRPC code.
        grpc: Code,
        /// Its stable code.
        code: String,
        /// Its sentence.
        message: String,
    },
}

impl Refusal {
    /// The log answered with what does not fit the question.
    pub fn strange(outcome: &Outcome) -> Self {
        Self::Internal(format!("the log answered with {outcome:?}, which is a bug"))
    }

    /// The stable code for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::NoQuorum => "no_quorum",
            Self::NoLeader => "no_leader",
            Self::NotLeader => "not_leader",
            Self::Unknown => "unknown",
            Self::Unavailable(_) => "unavailable",
            Self::Invalid(_) => "invalid",
            Self::TooFewCopies(_) => TOO_FEW_COPIES,
            Self::Limit(_) => "limit",
            Self::SessionsFull(_) => "sessions_full",
            Self::TooFast { .. } => "too_fast",
            Self::Unauthenticated => "unauthenticated",
            Self::PeerToken(_) => "peer_token",
            Self::Forbidden(_) => "forbidden",
            Self::RoomUnknown(_) => "room_unknown",
            Self::NodeUnknown(_) => "node_unknown",
            Self::LevelHeld(_) => "level_held",
            Self::NodeSilent(_) => "node_silent",
            Self::NodeReplaced(_) => NODE_REPLACED,
            Self::TooSoon(_) => "too_soon",
            Self::OtherCluster => "other_cluster",
            Self::SlowWatcher => "slow_watcher",
            Self::Behind(_) => "behind",
            Self::Internal(_) => "internal",
            Self::Relayed { code, .. } => code,
        }
    }

    fn grpc_code(&self) -> Code {
        match self {
            Self::NoQuorum
            | Self::NoLeader
            | Self::NotLeader
            | Self::TooFewCopies(_)
            | Self::Unavailable(_)
            | Self::Behind(_) => Code::Unavailable,
            Self::Unknown => Code::DeadlineExceeded,
            Self::Invalid(_) => Code::InvalidArgument,
            Self::Limit(_)
            | Self::SessionsFull(_)
            | Self::TooSoon(_)
            | Self::TooFast { .. }
            | Self::SlowWatcher => Code::ResourceExhausted,
            Self::Unauthenticated | Self::PeerToken(_) => Code::Unauthenticated,
            Self::Forbidden(_) => Code::PermissionDenied,
            Self::RoomUnknown(_) | Self::NodeUnknown(_) => Code::NotFound,
            Self::NodeSilent(_)
            | Self::NodeReplaced(_)
            | Self::OtherCluster
            | Self::LevelHeld(_) => Code::FailedPrecondition,
            Self::Internal(_) => Code::Internal,
            Self::Relayed { grpc, .. } => *grpc,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let wait_ms = match refusal {
            Refusal::TooFast { wait_ms } => Some(wait_ms),
            _ => None,
        };
        let mut status = Self::new(refusal.grpc_code(), refusal.to_string());
        // A code is one of ours, or came out of metadata.
        if let Ok(code) = MetadataValue::try_from(refusal.code()) {
            status.metadata_mut().insert(ERROR_KEY, code);
        }
        if let Some(wait_ms) = wait_ms {
            status.metadata_mut().insert(WAIT_KEY, wait_ms.into());
        }
        status
    }
}

impl From<ProposeError> for Refusal {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { .. } => Self::NotLeader,
            ProposeError::NoQuorum => Self::NoQuorum,
            ProposeError::TooFewCopies(few) => Self::TooFewCopies(few),
            ProposeError::Stopped(_) => Self::Unavailable(error.to_string()),
            ProposeError::Unknown => Self::Unknown,
            ProposeError::TooLarge { .. } => Self::Limit(error.to_string()),
        }
    }
}

impl From<InvalidName> for Refusal {
    fn from(error: InvalidName) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The `jam-error` code of a status, if a node put one there.
pub fn code_of(status: &Status) -> Option<&str> {
    status.metadata().get(ERROR_KEY).and_then(|code| code.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_travels() {
        let status = Status::from(Refusal::NoQuorum);
        assert_eq!(code_of(&status), Some("no_quorum"));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(Status::from(Refusal::Unknown).code(), Code::DeadlineExceeded);
        let electing = Status::from(Refusal::NoLeader);
        assert_eq!((code_of(&electing), electing.code()), (Some("no_leader"), Code::Unavailable));
    }
}
