//! Whether the node of a place may be replaced: only one that is not there. The leader finds out by itself, whichever
//! node an operator asked, and whatever another node says.

use std::time::Duration;

use jam_proto::wire::log::v1::ReplaceNode;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::{ClusterStatusReply, ClusterStatusRequest};
use tokio::time::timeout;

use super::Forwarder;
use crate::links::Failed;
use crate::refusal::{Refusal, code_of};
use crate::shard::Member;

/// A node that does not say within this how it is counts as not alive.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// What came of asking a member how it is.
pub enum Asked {
    /// It says so.
    Answers(Box<ClusterStatusReply>),
    /// A node is there, and refuses to talk to this one.
    Refuses,
    /// It does not answer in time, or somebody else answers at its address.
    Silent,
}

impl Forwarder {
    /// Asks another member how it is.
    pub async fn ask(&self, member: &Member) -> Asked {
        let Ok(channel) = self.links.to(&member.addresses.peers) else { return Asked::Silent };
        let request = self.links.request(ClusterStatusRequest {});
        match timeout(ASK_TIMEOUT, ClusterClient::new(channel).status(request)).await {
            Ok(Ok(reply)) => {
                let status = reply.into_inner();
                let is_member =
                    status.answered_by == member.id && status.cluster_id == self.cluster_id;
                if is_member { Asked::Answers(Box::new(status)) } else { Asked::Silent }
            }
            Ok(Err(status)) => match code_of(&status) {
                Some("peer_token" | "unauthenticated") => Asked::Refuses,
                _ => Asked::Silent,
            },
            Err(_) => Asked::Silent,
        }
    }

    /// Refuses to replace a node that is there.
    pub(super) async fn check_replaceable(&self, replace: &ReplaceNode) -> Result<(), Failed> {
        let standing = self.group.standing();
        if standing.leader != Some(standing.id) {
            return Err(Failed::NotTaken(Refusal::NotLeader));
        }
        let place = replace.node;
        let mut found = self.group.read(|shard| shard.replacement(place)).is_some();
        for member in standing.members.iter().filter(|member| member.place == place) {
            found = true;
            if member.id == standing.id {
                return Err(is_up(member));
            }
            match self.ask(member).await {
                Asked::Silent => {}
                Asked::Refuses => return Err(refuses(place)),
                Asked::Answers(_) => return Err(is_up(member)),
            }
        }
        if found {
            return Ok(());
        }
        let sentence = format!("there is no node {place}; `jam cluster status` lists them");
        Err(Failed::Refused(Refusal::NodeUnknown(sentence)))
    }
}

fn is_up(member: &Member) -> Failed {
    let Member { id, place, voter, .. } = member;
    let who = match voter {
        true => format!("node {place} is up and well"),
        false => format!("node {id}, which takes the place of node {place}, is up and catches up"),
    };
    Failed::Refused(Refusal::Invalid(format!(
        "{who}; only a node whose disk was lost is replaced (stop it first)"
    )))
}

fn refuses(place: u64) -> Failed {
    Failed::Refused(Refusal::Invalid(format!(
        "node {place} is up and refuses the leader's calls: give both the same --peer-token-file, or stop it first"
    )))
}
