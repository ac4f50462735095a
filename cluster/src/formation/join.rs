//! How a node takes the place of another: it asks the leader to be let in before its folder says so, and then, again and
//! again, to vote.

use std::collections::BTreeSet;
use std::time::Duration;

use jam_proto::wire::peer::v1::{JoinReply, JoinRequest};
use tonic::{Code, Status};

use super::{GroupConfig, HoldsSongs, Local, ROUND_EVERY};
use crate::identity::{Id, Identity};
use crate::raft::link::{Lane, Links};
use crate::refusal::{NODE_REPLACED, code_of};
use crate::shard::{Group, Standing};

/// For one step of joining: a change of the membership needs a majority.
const JOIN_TTL: Duration = Duration::from_secs(6);

/// What the leader said to a folder that is still empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The members know it by this folder now.
    Open,
    /// The id is not for this folder: another one has begun with it, or it was replaced in turn.
    Refused,
    /// No leader answered.
    Unknown,
}

impl Local {
    /// Asks the leader to let this folder in as `node`. A folder that took an id which another one has begun with could never
    /// vote, and a peer that lags may still name such an id: so the folder stays empty until the leader has let it in.
    pub(super) async fn enter(&self, cluster: Id, node: u64) -> Entry {
        let own = Identity { cluster: Some(cluster), node: Some(node), ..self.folder.identity() };
        let request = request(&self.config, &own, None);
        let mut addresses: Vec<String> =
            self.others().map(|(_, address)| address.to_owned()).collect();
        let mut asked = BTreeSet::new();
        while let Some(address) = addresses.pop() {
            if !asked.insert(address.clone()) {
                continue;
            }
            match ask(&self.links, &address, request.clone()).await {
                Ok(reply) if reply.voter || !reply.waiting_for.is_empty() => return Entry::Open,
                Ok(reply) if reply.leader_address.is_empty() => {}
                Ok(reply) => addresses.push(reply.leader_address),
                Err(status) if status.code() == Code::FailedPrecondition => {
                    tracing::warn!(
                        node,
                        reason = status.message(),
                        "the leader does not let this node in"
                    );
                    return Entry::Refused;
                }
                Err(status) => {
                    tracing::info!(address, reason = status.message(), "can't be let in yet");
                }
            }
        }
        Entry::Unknown
    }
}

/// Asks the leader, again and again, until this node votes. Answers what it says to one whose place it has given to a later
/// node: this one never gets the vote, and must not go on.
pub(super) async fn join(
    config: GroupConfig,
    own: Identity,
    links: Links,
    group: Group,
    holds_songs: HoldsSongs,
) -> Option<String> {
    let mut addresses: Vec<String> = Vec::new();
    loop {
        if group.is_stopped() {
            return None;
        }
        if votes(&group.standing()) {
            tracing::info!(node = own.node, place = own.place, "joined: this node votes");
            return None;
        }
        let Some(address) = addresses.pop() else {
            let others = config.peers.iter().filter(|(place, _)| **place != own.place);
            addresses.extend(others.map(|(_, address)| address.clone()));
            if addresses.is_empty() {
                return None;
            }
            continue;
        };
        let request = request(&config, &own, holds_songs().await);
        match ask(&links, &address, request).await {
            Ok(reply) => {
                if !reply.waiting_for.is_empty() {
                    tracing::info!(node = own.node, waiting_for = reply.waiting_for, "joining");
                    addresses.push(address);
                } else if !reply.leader_address.is_empty() {
                    addresses.push(reply.leader_address);
                }
            }
            // A vote that it has by now is needed until the later node has it.
            Err(status) if code_of(&status) == Some(NODE_REPLACED) && !votes(&group.standing()) => {
                return Some(status.message().to_owned());
            }
            Err(status) => tracing::warn!(address, reason = status.message(), "can't join yet"),
        }
        tokio::time::sleep(ROUND_EVERY).await;
    }
}

/// Whether the node that stands so votes, as far as it knows.
fn votes(standing: &Standing) -> bool {
    standing.members.iter().any(|member| member.id == standing.id && member.voter)
}

/// `holds_songs_at`: the log index of a state of which this node holds all songs.
fn request(config: &GroupConfig, own: &Identity, holds_songs_at: Option<u64>) -> JoinRequest {
    JoinRequest {
        cluster: own.cluster.map(|id| id.0.to_vec().into()).unwrap_or_default(),
        node: own.node.unwrap_or(0),
        place: own.place,
        incarnation: own.incarnation.0.to_vec().into(),
        address: config.addresses.peers.clone(),
        client_address: config.addresses.clients.clone(),
        holds_songs: holds_songs_at.is_some(),
        holds_at: holds_songs_at.unwrap_or(0),
        level: config.levels.known.0,
    }
}

async fn ask(links: &Links, address: &str, request: JoinRequest) -> Result<JoinReply, Status> {
    let asked = async {
        let mut client = links.client(address, Lane::Quick)?;
        client.join(links.request(request, JOIN_TTL)).await
    };
    match tokio::time::timeout(JOIN_TTL, asked).await {
        Ok(reply) => Ok(reply?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("no answer")),
    }
}
