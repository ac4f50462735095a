//! How a node that belongs to a cluster gets its vote.

use std::time::Duration;

use jam_proto::wire::peer::v1::JoinRequest;

use super::{GroupConfig, HoldsSongs, ROUND_EVERY};
use crate::identity::Identity;
use crate::raft::link::{Lane, Links};
use crate::shard::Group;

/// For one step of joining: a change of the membership needs a majority.
const JOIN_TTL: Duration = Duration::from_secs(6);

/// Asks the leader, again and again, until this node votes.
pub(super) async fn join(
    config: GroupConfig,
    own: Identity,
    links: Links,
    group: Group,
    holds_songs: HoldsSongs,
) {
    let mut addresses: Vec<String> = Vec::new();
    loop {
        let standing = group.standing();
        if standing.members.iter().any(|member| member.id == standing.id && member.voter) {
            return;
        }
        if group.is_stopped() {
            return;
        }
        let Some(address) = addresses.pop() else {
            let others = config.peers.iter().filter(|(place, _)| **place != own.place);
            addresses.extend(others.map(|(_, address)| address.clone()));
            if addresses.is_empty() {
                return;
            }
            continue;
        };
        let request = JoinRequest {
            cluster: own.cluster.map(|id| id.0.to_vec().into()).unwrap_or_default(),
            node: own.node.unwrap_or(0),
            place: own.place,
            incarnation: own.incarnation.0.to_vec().into(),
            address: config.address.clone(),
            holds_songs: holds_songs().await,
            level: config.levels.known.0,
        };
        let asked = async {
            let mut client = links.client(&address, Lane::Quick)?;
            client.join(links.request(request, JOIN_TTL)).await
        };
        match tokio::time::timeout(JOIN_TTL, asked).await {
            Ok(Ok(reply)) => {
                let reply = reply.into_inner();
                if !reply.waiting_for.is_empty() {
                    tracing::info!(node = own.node, waiting_for = reply.waiting_for, "joining");
                    addresses.push(address);
                } else if !reply.leader_address.is_empty() {
                    addresses.push(reply.leader_address);
                }
            }
            Ok(Err(status)) => tracing::warn!(address, reason = status.message(), "can't join yet"),
            Err(_) => tracing::warn!(address, "can't join yet: no answer"),
        }
        tokio::time::sleep(ROUND_EVERY).await;
    }
}
