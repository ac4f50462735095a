//! Raises the cluster's feature level once every member's build knows the next one.

use std::time::Duration;

use jam_proto::level::FeatureLevel;
use jam_proto::shard::{Outcome, Shard};
use jam_proto::wire::log::v1::RaiseLevel;
use jam_proto::wire::log::v1::log_entry::Op;
use tokio::time::sleep;

use super::{Group, ProposeError};
use crate::raft::levels::{Held, decide};

/// Between two looks at what the members allow.
const ASK_EVERY: Duration = Duration::from_secs(1);
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the level did not rise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    /// The members don't allow it.
    #[error(transparent)]
    Held(#[from] Held),
    /// The log did not take it, or may still.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl Group {
    /// Asks all members which level they allow, and raises the cluster's to that. Only the leader can. With `force`,
    /// members that don't answer are not waited for: they must be replaced or upgraded before they start again.
    pub async fn raise_level(&self, force: bool) -> Result<FeatureLevel, RaiseError> {
        if !self.standing().leads_with_lease {
            return Err(ProposeError::NotLeader { leader: None }.into());
        }
        let members = self.inner.handle.member_levels().await;
        let level = decide(self.read(Shard::level), &members, force)?;
        let op = Op::RaiseLevel(RaiseLevel { level: level.0 });
        match self.propose(op, PROPOSE_TIMEOUT).await? {
            Outcome::Level(level) => Ok(level),
            _ => Err(ProposeError::Unknown.into()),
        }
    }
}

/// Runs for as long as the group does. The leader alone asks, and only while its own build allows more.
pub async fn raise_when_allowed(group: Group) {
    let allowed = group.inner.handle.levels.allowed;
    let mut told = None;
    while !group.is_stopped() {
        sleep(ASK_EVERY).await;
        if !group.standing().leads_with_lease || group.read(Shard::level) >= allowed {
            continue;
        }
        match group.raise_level(false).await {
            Ok(level) => tracing::info!(%level, "the cluster's feature level rises"),
            Err(RaiseError::Held(held)) if told.as_ref() != Some(&held) => {
                tracing::info!(reason = %held, "the cluster's feature level can't rise yet");
                told = Some(held);
            }
            Err(error) => tracing::debug!(%error, "the cluster's feature level does not rise"),
        }
    }
}
