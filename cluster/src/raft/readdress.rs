//! A member whose addresses have changed, as the leader commits it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jam_proto::level::FeatureLevel;
use jam_proto::wire::peer::v1::{HelloRequest, ReaddressReply, ReaddressRequest};
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use tokio::time::timeout;
use tonic::Status;

use super::addresses::Addresses;
use super::handle::Handle;
use super::link::Lane;
use super::types::PeerNode;
use crate::identity::Id;

/// For the node to answer at its new address.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

impl Handle {
    /// Commits where a member is reached, if this node leads and the member answers there: an address that is wrong would cut
    /// it off.
    pub async fn readdress(
        self: &Arc<Self>,
        request: &ReaddressRequest,
    ) -> Result<ReaddressReply, Status> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        if !metrics.state.is_leader() {
            let leader = metrics.current_leader.and_then(|id| membership.get_node(&id));
            let leader_address = leader.map(|node| node.addresses.peers.clone());
            return Ok(ReaddressReply {
                leader_address: leader_address.unwrap_or_default(),
                ..ReaddressReply::default()
            });
        }
        let known = membership.get_node(&request.node);
        let is_known = known.filter(|node| {
            Id::from_wire(&request.cluster) == self.own.cluster
                && node.incarnation[..] == request.incarnation[..]
        });
        let Some(known) = is_known else {
            return Err(Status::failed_precondition("this is no member of the cluster"));
        };
        let waits = |what: &str| {
            let waiting_for = what.to_owned();
            Ok(ReaddressReply { waiting_for, ..ReaddressReply::default() })
        };
        if self.state.read().shard.level() < FeatureLevel::DOORS {
            return waits("all nodes to run this build");
        }
        if membership.get_joint_config().len() > 1 {
            return waits("a change of members that is under way");
        }
        let addresses = Addresses::told(&request.client_address, &request.address);
        let done = ReaddressReply { done: true, ..ReaddressReply::default() };
        if known.addresses == addresses {
            return Ok(done);
        }
        if self.own.node != Some(request.node) {
            self.check_answers(&addresses.peers, known).await?;
        }
        tracing::info!(node = request.node, ?addresses, "a node is reached elsewhere from now on");
        let node = PeerNode { addresses, ..known.clone() };
        self.change(ChangeMembers::SetNodes(BTreeMap::from([(request.node, node)]))).await?;
        Ok(done)
    }

    async fn check_answers(&self, address: &str, node: &PeerNode) -> Result<(), Status> {
        let incarnation = self.own.incarnation.0.to_vec().into();
        let hello = HelloRequest { place: self.own.place, incarnation, ..HelloRequest::default() };
        let asked = async {
            let mut client = self.links.client(address, Lane::Quick)?;
            client.hello(self.links.request(hello, ASK_TIMEOUT)).await
        };
        let answer = timeout(ASK_TIMEOUT, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        match answer {
            Ok(answer) if answer.get_ref().incarnation[..] == node.incarnation[..] => Ok(()),
            Ok(_) => Err(Status::failed_precondition(format!(
                "another node answers at {address}; check --peer-advertise, --advertise and --peers"
            ))),
            Err(status) => Err(Status::failed_precondition(format!(
                "the leader does not reach this node at {address}: {}",
                status.message()
            ))),
        }
    }
}
