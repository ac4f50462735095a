//! How a command can end badly, and what its exit code says about it.
//!
//! The line that matters runs between *refused* (never applied, exit 1) and *unknown* (may have been
//! applied or may still be, exit 3): a script may do the first again in its own way, the second only by
//! running the same command again, and one whose session was closed (`unknown_session_expired`) only after a look.

use std::fmt;

use jam_proto::command::Rejection;
use jam_proto::ids::InvalidName;

use crate::connection::NoAnswer;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong usage: exit 2.
    #[error("{0}")]
    Usage(String),
    /// A node or the room said no, for good: exit 1.
    #[error("{message}")]
    Refused {
        /// Stable, for programs.
        code: String,
        /// A plain sentence.
        message: String,
    },
    /// No node was reached, so nothing was asked of anyone: exit 1.
    #[error("no node answers ({}); check --servers and that the nodes run", each_once(tried))]
    Unreachable {
        /// What happened at each address.
        tried: Vec<NoAnswer>,
    },
    /// It may have been applied, or may still be: exit 3.
    #[error(
        "{what} has no known outcome: {last}; run the same command again, it is applied at most once"
    )]
    Unknown {
        /// Which command.
        what: String,
        /// What the last try said.
        last: String,
    },
    /// An earlier attempt may have been applied, and the cluster no longer knows. Running the same command again is a
    /// new command, unlike after [`Self::Unknown`]: exit 3.
    #[error(
        "{what} has no known outcome: an earlier attempt may have been applied, and the cluster no longer knows (its session was closed); look at `jam queue` to see whether it was, before you run the command again"
    )]
    Forgotten {
        /// Which command.
        what: String,
    },
    /// Something on this machine: exit 1.
    #[error("{message}: {source}")]
    Local {
        /// What could not be done.
        message: String,
        /// Why.
        source: std::io::Error,
    },
    /// The result could not be written. Exit 4 if something was changed, for that is done; 1 if not.
    #[error(
        "{}standard output can't be written: {why}",
        if *.is_done { "it is done, but " } else { "" }
    )]
    Unwritten {
        /// Whether the command had changed something.
        is_done: bool,
        /// What the system said.
        why: String,
    },
    /// Several files were asked for, and some did not make it. Each was reported by itself: exit 1.
    #[error("{failed} of {total} files were not added; the reasons are above")]
    Some {
        /// How many did not.
        failed: usize,
        /// Of how many.
        total: usize,
    },
}

impl Failure {
    /// A definite no with a stable code.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused { code: code.into(), message: message.into() }
    }

    /// Trouble with a file or the like on this machine.
    pub fn local(message: impl fmt::Display, source: std::io::Error) -> Self {
        Self::Local { message: message.to_string(), source }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Local { .. }
            | Self::Some { .. } => 1,
            Self::Usage(_) => 2,
            Self::Unwritten { is_done: false, .. } => 1,
            Self::Unknown { .. } | Self::Forgotten { .. } => 3,
            Self::Unwritten { is_done: true, .. } => 4,
        }
    }

    /// The stable code for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "usage",
            Self::Refused { code, .. } => code,
            Self::Unreachable { .. } => "unreachable",
            Self::Unknown { .. } => "unknown",
            Self::Forgotten { .. } => "unknown_session_expired",
            Self::Local { .. } => "local",
            Self::Unwritten { .. } => "unwritten",
            Self::Some { .. } => "some_failed",
        }
    }
}

/// Each address once, those with the same trouble together: "a:1, b:1: nothing listens there; c:1: no answer".
pub fn each_once(tried: &[NoAnswer]) -> String {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for NoAnswer { address, why, .. } in tried {
        match groups.iter_mut().find(|(reason, _)| reason == why) {
            Some((_, addresses)) => addresses.push(address.to_string()),
            None => groups.push((why, vec![address.to_string()])),
        }
    }
    let groups = groups.iter().map(|(why, addresses)| format!("{}: {why}", addresses.join(", ")));
    groups.collect::<Vec<_>>().join("; ")
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::refused(rejection.code(), rejection.to_string())
    }
}

impl From<InvalidName> for Failure {
    /// For what a person typed.
    fn from(invalid: InvalidName) -> Self {
        Self::Usage(invalid.to_string())
    }
}

/// An answer that no node should give: a bug there, or another program behind the address.
pub fn malformed(what: impl fmt::Display) -> Failure {
    Failure::refused(
        "malformed_reply",
        format!("a node's answer makes no sense ({what}); is it jamd, and of this version?"),
    )
}
