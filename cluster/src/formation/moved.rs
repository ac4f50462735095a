//! A node whose addresses are not those that the membership has says so to the leader, until they are.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jam_proto::wire::peer::v1::{ReaddressReply, ReaddressRequest};
use tonic::Status;

use super::GroupConfig;
use crate::identity::Identity;
use crate::raft::handle::Handle;
use crate::raft::link::{Lane, Links};

/// Between two looks. Until the others know, they may not reach this node.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For one answer: the leader asks this node, and commits a change of the membership.
const ASK_TTL: Duration = Duration::from_secs(7);

/// Tells them for as long as Raft runs.
pub(super) struct Teller {
    pub(super) config: GroupConfig,
    pub(super) own: Identity,
    pub(super) links: Links,
}

impl Teller {
    pub(super) async fn run(self, raft: Weak<Handle>) {
        let mut last = String::new();
        while let Some(handle) = raft.upgrade() {
            let node = self.own.node.unwrap_or(0);
            if handle.node(node).is_some_and(|known| known.addresses != self.config.addresses)
                && let Err(why) = self.tell(&handle).await
                && why != last
            {
                tracing::info!(
                    addresses = ?self.config.addresses,
                    why,
                    "the other nodes do not know yet where this one is"
                );
                last = why;
            }
            drop(handle);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks this node, then the others, until the leader has answered. The error says why it is not done.
    async fn tell(&self, handle: &Arc<Handle>) -> Result<(), String> {
        let mut why = "no leader is reached".to_owned();
        let mut answer = handle.readdress(&self.request()).await;
        let own = &self.config.addresses.peers;
        let peers = self.config.peers.iter().filter(|(place, _)| **place != self.own.place);
        let mut addresses: Vec<String> = peers.map(|(_, address)| address.clone()).collect();
        addresses.extend(handle.addresses());
        let mut asked = BTreeSet::from([own.clone()]);
        loop {
            match answer {
                Ok(ReaddressReply { done: true, .. }) => return Ok(()),
                Ok(reply) if !reply.waiting_for.is_empty() => {
                    return Err(format!("waiting for {}", reply.waiting_for));
                }
                Ok(reply) if !reply.leader_address.is_empty() => {
                    addresses.push(reply.leader_address);
                }
                Ok(_) => {}
                Err(status) => why = status.message().to_owned(),
            }
            answer = loop {
                let Some(address) = addresses.pop() else { return Err(why) };
                if asked.insert(address.clone()) {
                    break self.ask(&address).await;
                }
            };
        }
    }

    async fn ask(&self, address: &str) -> Result<ReaddressReply, Status> {
        let asked = async {
            let mut client = self.links.client(address, Lane::Quick)?;
            client.readdress(self.links.request(self.request(), ASK_TTL)).await
        };
        match tokio::time::timeout(ASK_TTL, asked).await {
            Ok(reply) => Ok(reply?.into_inner()),
            Err(_) => Err(Status::deadline_exceeded("no answer")),
        }
    }

    fn request(&self) -> ReaddressRequest {
        let Identity { cluster, node, incarnation, .. } = &self.own;
        ReaddressRequest {
            cluster: cluster.map(|id| id.0.to_vec().into()).unwrap_or_default(),
            node: node.unwrap_or(0),
            incarnation: incarnation.0.to_vec().into(),
            address: self.config.addresses.peers.clone(),
            client_address: self.config.addresses.clients.clone(),
        }
    }
}
