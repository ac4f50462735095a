//! Which feature level the members' builds allow.
//!
//! The decision is pure ([`decide`]); asking the members is not.

use std::time::Duration;

use futures_util::future::join_all;
use jam_proto::level::FeatureLevel;
use jam_proto::wire::peer::v1::HelloRequest;
use openraft::async_runtime::WatchReceiver;
use tokio::time::timeout;
use tonic::Status;

use super::handle::Handle;
use super::link::Lane;
use super::types::PeerNode;

/// For one member's answer.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// What a member says of the feature levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLevel {
    /// The `--id` of its jamd.
    pub place: u64,
    /// The highest that it lets the cluster rise to; `None`: it does not answer.
    pub allowed: Option<FeatureLevel>,
}

/// Why the level can't rise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// It is as high as this build knows, or as the operator lets it be.
    #[error("the cluster is at feature level {0} already, the highest that its nodes allow")]
    AtTop(FeatureLevel),
    /// A member runs an older build, or was started with `--level-max`.
    #[error(
        "node {place} allows feature level {allowed} only: upgrade it, or start it without --level-max"
    )]
    Below {
        /// Whose.
        place: u64,
        /// What it allows.
        allowed: FeatureLevel,
    },
    /// Members that don't answer may run an older build.
    #[error(
        "{} answer, and may run an older build: start them, or raise the level with --force if they are gone for good",
        silent_nodes(.0)
    )]
    Silent(Vec<u64>),
}

fn silent_nodes(places: &[u64]) -> String {
    let list: Vec<String> = places.iter().map(u64::to_string).collect();
    match list.len() {
        1 => format!("node {} does not", list[0]),
        _ => format!("nodes {} do not", list.join(", ")),
    }
}

/// The level to rise to. A member that does not answer counts as old, unless the operator forces the rise.
pub fn decide(
    in_force: FeatureLevel,
    members: &[MemberLevel],
    force: bool,
) -> Result<FeatureLevel, Held> {
    let answers = members.iter().filter_map(|member| Some((member.allowed?, member.place)));
    let Some((lowest, place)) = answers.min() else { return Err(Held::AtTop(in_force)) };
    let highest = members.iter().filter_map(|member| member.allowed).max();
    if highest.is_some_and(|highest| highest <= in_force) {
        return Err(Held::AtTop(in_force));
    }
    if lowest <= in_force {
        return Err(Held::Below { place, allowed: lowest });
    }
    let silent = members.iter().filter(|member| member.allowed.is_none());
    let silent: Vec<u64> = silent.map(|member| member.place).collect();
    if !silent.is_empty() && !force {
        return Err(Held::Silent(silent));
    }
    Ok(lowest)
}

impl Handle {
    /// What each member says of the feature levels, this node included.
    pub async fn member_levels(&self) -> Vec<MemberLevel> {
        let membership = self.raft.metrics().borrow_watched().membership_config.clone();
        let asking = membership.nodes().map(|(&id, node)| async move {
            let allowed = match self.own.node == Some(id) {
                true => Some(self.levels.allowed),
                false => self.ask_level(node).await.ok(),
            };
            MemberLevel { place: node.place, allowed }
        });
        join_all(asking).await
    }

    /// A node that answers from another data folder is not the member: it says nothing of it.
    async fn ask_level(&self, node: &PeerNode) -> Result<FeatureLevel, Status> {
        let incarnation = self.own.incarnation.0.to_vec().into();
        let hello = HelloRequest { place: self.own.place, incarnation, ..HelloRequest::default() };
        let mut client = self.links.client(&node.addresses.peers, Lane::Quick)?;
        let asked = timeout(ASK_TIMEOUT, client.hello(self.links.request(hello, ASK_TIMEOUT)));
        let answer = asked.await.map_err(|_| Status::deadline_exceeded("no answer"))??.into_inner();
        match answer.incarnation[..] == node.incarnation[..] {
            true => Ok(FeatureLevel(answer.level)),
            false => Err(Status::failed_precondition("another data folder answers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(allowed: [Option<u32>; 3]) -> Vec<MemberLevel> {
        let member = |(place, allowed): (u64, Option<u32>)| MemberLevel {
            place,
            allowed: allowed.map(FeatureLevel),
        };
        (1..).zip(allowed).map(member).collect()
    }

    #[test]
    fn every_member_must_allow_the_level() {
        let at = FeatureLevel(1);
        let below = |place, allowed| Err(Held::Below { place, allowed: FeatureLevel(allowed) });
        for (allowed, force, expected) in [
            ([Some(2), Some(2), Some(2)], false, Ok(FeatureLevel(2))),
            ([Some(3), Some(2), Some(4)], false, Ok(FeatureLevel(2))),
            ([Some(1), Some(1), Some(1)], false, Err(Held::AtTop(at))),
            ([Some(2), Some(1), Some(2)], false, below(2, 1)),
            ([Some(2), Some(0), None], true, below(2, 0)),
            ([Some(2), None, Some(2)], false, Err(Held::Silent(vec![2]))),
            ([Some(2), None, None], false, Err(Held::Silent(vec![2, 3]))),
            ([Some(2), None, Some(3)], true, Ok(FeatureLevel(2))),
        ] {
            assert_eq!(decide(at, &members(allowed), force), expected, "{allowed:?} {force}");
        }
    }

    #[test]
    fn the_sentences_say_what_to_do() {
        assert_eq!(
            Held::Silent(vec![2, 3]).to_string(),
            "nodes 2, 3 do not answer, and may run an older build: start them, or raise the level with --force if they \
             are gone for good"
        );
    }
}
