//! Handing leadership over.
//!
//! Once the others know of it, openraft's leader takes no proposals any more, whatever comes of it: they elect the target, or
//! whoever is first if the target is gone. So the target has to answer before, and there is one attempt, which costs no
//! more than an election.

use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::InstantOf;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Group, ProposeError};
use crate::raft::types::Types;

/// The target answers a heartbeat within this time, or it is not asked.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// On shutdown another node gets this long to take over.
const HAND_OVER_TTL: Duration = Duration::from_secs(1);

/// Why leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The target does not answer. This node leads on, and nothing was changed.
    #[error("node {0} does not answer")]
    Silent(u64),
    /// This node can't hand over, or it is not known who leads.
    #[error(transparent)]
    Failed(#[from] ProposeError),
}

impl Group {
    /// Hands leadership to the voter `to`, and returns who leads then: `to`, or another node that was elected before it.
    pub async fn transfer(&self, to: u64, timeout: Duration) -> Result<u64, TransferError> {
        let deadline = Instant::now() + timeout;
        let handle = &self.inner.handle;
        let mut metrics = handle.raft.metrics();
        let (own, term, leader) = {
            let now = metrics.borrow_watched();
            (now.id, now.current_term, now.current_leader)
        };
        if leader != Some(own) {
            return Err(ProposeError::NotLeader { leader: None }.into());
        }
        if !self.is_heard(to).await {
            return Err(TransferError::Silent(to));
        }
        handle.announce_own_transfer(to);
        let asked = handle.raft.trigger().transfer_leader(to).await;
        asked.map_err(|fatal| self.inner.leading.stopped(&fatal))?;
        let elected = async {
            loop {
                {
                    let now = metrics.borrow_watched();
                    if let Some(leader) = now.current_leader.filter(|_| now.current_term > term) {
                        return Ok::<_, ProposeError>(leader);
                    }
                }
                metrics.changed().await.map_err(|_| ProposeError::Unknown)?;
            }
        };
        let elected = timeout_at(deadline, elected).await;
        Ok(elected.map_err(|_| ProposeError::Unknown)??)
    }

    /// Whether a node answers what this leader sends from now on.
    async fn is_heard(&self, node: u64) -> bool {
        let mut metrics = self.inner.handle.raft.metrics();
        let began = InstantOf::<Types>::now();
        let heard = async {
            loop {
                {
                    let now = metrics.borrow_watched();
                    // When the last heartbeat that it answered was sent.
                    let answered = now.heartbeat.as_ref().and_then(|nodes| nodes.get(&node));
                    if answered.copied().flatten().is_some_and(|at| *at > began) {
                        return true;
                    }
                }
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
        };
        timeout(ANSWER_WITHIN, heard).await.unwrap_or(false)
    }

    /// Hands leadership over, if this node has it and there is somebody.
    pub async fn hand_over(&self) {
        let standing = self.standing();
        let able = standing.members.iter().filter(|member| {
            standing.leads_with_lease
                && member.voter
                && member.id != standing.id
                && member.alive == Some(true)
        });
        let mut able: Vec<_> = able.collect();
        able.sort_by_key(|member| (std::cmp::Reverse(member.matched), member.id));
        for heir in able {
            match self.transfer(heir.id, HAND_OVER_TTL).await {
                Ok(_) => return,
                Err(TransferError::Silent(_)) => {}
                Err(TransferError::Failed(error)) => {
                    tracing::warn!(to = heir.id, %error, "leadership was not handed over; the others will elect");
                    return;
                }
            }
        }
    }
}
