//! What an RPC's failure means for the command behind it.

use std::error::Error;
use std::io;
use std::time::Duration;

use tonic::{Code, Status};

/// What one failed attempt says about the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Never applied, and asking again would not help.
    Final {
        /// Stable, for programs.
        code: String,
        /// A plain sentence.
        message: String,
    },
    /// Never applied: this node sees no majority.
    NoQuorum(String),
    /// Never applied: the nodes were electing a leader for as long as this one was given.
    NoLeader(String),
    /// Never applied here: another node may take it.
    Elsewhere(String),
    /// Never applied: the node wants it again, but not before that.
    Later {
        /// How long to wait.
        wait: Duration,
        /// A plain sentence.
        message: String,
    },
    /// It may have been applied, or may still be.
    Unknown(String),
}

impl Refusal {
    /// Reads a gRPC error. The `jam-error` metadata decides; without it, only what can't have reached
    /// the log counts as not applied.
    pub fn of(status: &Status) -> Self {
        let message = plain(status);
        let jam_error = status.metadata().get("jam-error").and_then(|code| code.to_str().ok());
        match (jam_error, status.code()) {
            (Some("no_quorum"), _) => Self::NoQuorum(message),
            (Some("no_leader"), _) => Self::NoLeader(message),
            (Some("unknown"), _) => Self::Unknown(message),
            (Some("unavailable" | "not_leader"), _) => Self::Elsewhere(message),
            (Some("too_fast"), _) => Self::Later { wait: wait(status), message },
            (Some(code), _) => Self::Final { code: code.to_owned(), message },
            (None, Code::Unauthenticated) => {
                Self::Final { code: "unauthenticated".to_owned(), message }
            }
            (None, Code::Unimplemented) => Self::Final {
                code: "unimplemented".to_owned(),
                message: format!(
                    "the node does not know this request ({message}); is it jamd, and of this version?"
                ),
            },
            (None, Code::InvalidArgument | Code::OutOfRange) => {
                Self::Final { code: "invalid".to_owned(), message }
            }
            (None, _) if never_sent(status) => Self::Elsewhere(message),
            (None, _) => Self::Unknown(message),
        }
    }

    /// The sentence, whatever it is.
    pub fn message(&self) -> &str {
        match self {
            Self::Final { message, .. } | Self::Later { message, .. } => message,
            Self::NoQuorum(message) | Self::NoLeader(message) => message,
            Self::Elsewhere(message) | Self::Unknown(message) => message,
        }
    }
}

/// How long the node wants to be left alone.
fn wait(status: &Status) -> Duration {
    let wait = status.metadata().get("jam-wait-ms").and_then(|wait| wait.to_str().ok());
    Duration::from_millis(wait.and_then(|wait| wait.parse().ok()).unwrap_or_default())
}

/// Whether the connection was refused, so that no byte of the request left.
fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        source = error.source();
    }
    false
}

/// The status as a person may read it; transport errors keep their cause.
fn plain(status: &Status) -> String {
    let mut deepest: Option<&dyn Error> = status.source();
    while let Some(source) = deepest.and_then(Error::source) {
        deepest = Some(source);
    }
    match (status.message(), deepest) {
        ("", None) => status.code().description().to_owned(),
        (message, None) => message.to_owned(),
        (_, Some(cause)) => format!("the connection broke: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_code(grpc: Code, jam: &'static str) -> Status {
        let mut status = Status::new(grpc, "why");
        status.metadata_mut().insert("jam-error", jam.parse().expect("ASCII"));
        status
    }

    #[test]
    fn only_what_never_reached_the_log_is_refused() {
        assert_eq!(
            Refusal::of(&with_code(Code::Unavailable, "no_quorum")),
            Refusal::NoQuorum("why".into())
        );
        assert_eq!(
            Refusal::of(&with_code(Code::Unavailable, "no_leader")),
            Refusal::NoLeader("why".into())
        );
        let mut too_fast = with_code(Code::ResourceExhausted, "too_fast");
        too_fast.metadata_mut().insert("jam-wait-ms", 30.into());
        let (wait, message) = (Duration::from_millis(30), "why".into());
        assert_eq!(Refusal::of(&too_fast), Refusal::Later { wait, message });
        assert_eq!(
            Refusal::of(&with_code(Code::DeadlineExceeded, "unknown")),
            Refusal::Unknown("why".into())
        );
        assert_eq!(
            Refusal::of(&with_code(Code::Unavailable, "unavailable")),
            Refusal::Elsewhere("why".into())
        );
        let limit = Refusal::of(&with_code(Code::ResourceExhausted, "limit"));
        assert_eq!(limit, Refusal::Final { code: "limit".into(), message: "why".into() });
    }

    #[test]
    fn an_error_without_a_code_may_have_been_applied() {
        for code in [
            Code::Unavailable,
            Code::Cancelled,
            Code::Internal,
            Code::Unknown,
            Code::DeadlineExceeded,
        ] {
            assert!(
                matches!(Refusal::of(&Status::new(code, "gone")), Refusal::Unknown(_)),
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_refused_connection_sent_nothing() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(refused));
        assert!(matches!(Refusal::of(&status), Refusal::Elsewhere(_)), "{status:?}");
    }
}
