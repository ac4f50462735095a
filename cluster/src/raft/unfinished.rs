//! Finishes a change of the members that an earlier leader began.
//!
//! A change takes two entries: a joint membership, of the old voters and the new ones, and then the new ones alone. A leader
//! that is lost in between leaves the joint membership, in which the old voters still count: with one of them gone for good,
//! the cluster stands one more loss less. Nobody asks for the change again, since the new node votes already.

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;

use super::handle::Handle;
use super::types::LogId;

/// A leader that finishes its own change takes far less between the two entries.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Handle {
    /// The new voters of a joint membership that is committed, and the log id of its entry. Nothing while another node leads.
    fn unfinished(&self) -> Option<(LogId, BTreeSet<u64>)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = &metrics.membership_config;
        let configs = membership.membership().get_joint_config();
        let entry = (*membership.log_id()).filter(|entry| metrics.last_applied >= Some(*entry))?;
        (metrics.state.is_leader() && configs.len() > 1)
            .then(|| Some((entry, configs.last()?.clone())))?
    }
}

/// Runs for as long as the node does.
pub async fn finish_changes(handle: Weak<Handle>) {
    let mut seen = None;
    while let Some(handle) = handle.upgrade() {
        let unfinished = handle.unfinished();
        let entry = unfinished.as_ref().map(|(entry, _)| *entry);
        if let Some((_, voters)) = unfinished
            && entry == seen
        {
            tracing::info!(
                ?voters,
                "finishing a change of the members that an earlier leader began"
            );
            match handle.change(ChangeMembers::ReplaceAllVoters(voters)).await {
                Ok(()) => {}
                Err(status) => tracing::warn!(reason = status.message(), "it is not finished yet"),
            }
        }
        seen = entry;
        drop(handle);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
