//! Channels to the other nodes, and what every call on them carries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jam_proto::wire::peer::v1::PeerHeader;
use jam_proto::wire::peer::v1::peer_client::PeerClient;
use jam_world::World;
use prost::Message;
use tonic::metadata::{Binary, MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::types::PeerNode;
use crate::credential::Credential;
use crate::identity::{Id, Identity};
use crate::links::{self, Patience};

/// Who calls whom.
pub const HEADER_KEY: &str = "jam-peer-bin";

const PATIENCE: Patience = Patience { ping_every_ms: 500, answer_ms: 750 };
/// More than the largest message of log entries: one entry beyond the budget of a read.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What must not wait for each other has its own connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Heartbeats, votes, and all that is small.
    Quick,
    /// Log entries.
    Log,
    /// Snapshots.
    Bulk,
}

/// Channels by address. A channel connects when it is first used, and again whenever it must.
#[derive(Clone, Debug)]
pub struct Links {
    world: World,
    credential: Credential,
    channels: Arc<Mutex<BTreeMap<(String, Lane), Channel>>>,
    /// Where members are reached, by the latest membership: Raft keeps its ways to nodes when their addresses change.
    members: Arc<Mutex<BTreeMap<u64, String>>>,
}

impl Links {
    /// With what each call carries.
    pub fn new(world: &World, credential: Credential) -> Self {
        Self { world: world.clone(), credential, channels: Arc::default(), members: Arc::default() }
    }

    /// A client for the node at `address`.
    pub fn client(&self, address: &str, lane: Lane) -> Result<PeerClient<Channel>, Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(&(address.to_owned(), lane)) {
            Some(channel) => channel.clone(),
            None => {
                let channel = links::channel(&self.world, address, PATIENCE)
                    .map_err(Status::invalid_argument)?;
                channels.insert((address.to_owned(), lane), channel.clone());
                channel
            }
        };
        let client = PeerClient::new(channel);
        Ok(client
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Notes where members are reached.
    pub fn know(&self, members: BTreeMap<u64, String>) {
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    fn address_of(&self, node: u64) -> Option<String> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// A request without a header: before there is a membership.
    pub fn request<T>(&self, message: T, ttl: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(ttl);
        self.credential.sign(request.metadata_mut());
        request
    }

    /// Logs now and then that the node at `address` refuses what calls carry, if that is what it said.
    pub fn log_refusal(&self, address: &str, status: &Status) {
        self.credential.log_refusal(address, status);
    }
}

/// One member's way to another.
#[derive(Clone, Debug)]
pub struct Link {
    links: Links,
    header: MetadataValue<Binary>,
    target: u64,
    /// As it was when this was made.
    address: String,
}

impl Link {
    /// From the member `own` to the member `target`.
    pub fn new(links: Links, own: &Identity, target: u64, node: &PeerNode) -> Self {
        let address = node.addresses.peers.clone();
        Self { links, header: header(own, target, node), target, address }
    }

    /// A client.
    pub fn client(&self, lane: Lane) -> Result<PeerClient<Channel>, Status> {
        self.links.client(&self.address(), lane)
    }

    fn address(&self) -> String {
        self.links.address_of(self.target).unwrap_or_else(|| self.address.clone())
    }

    /// As [`Links::log_refusal`], for this member.
    pub fn log_refusal(&self, status: &Status) {
        self.links.log_refusal(&self.address(), status);
    }

    /// A request with the header. A `ttl` of `None` is for streams, which watch their own progress.
    pub fn request<T>(&self, message: T, ttl: Option<Duration>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(ttl) = ttl {
            request.set_timeout(ttl);
        }
        self.links.credential.sign(request.metadata_mut());
        request.metadata_mut().insert_bin(HEADER_KEY, self.header.clone());
        request
    }
}

/// What a call from the member `own` to the member `target` says of them.
pub fn header(own: &Identity, target: u64, node: &PeerNode) -> MetadataValue<Binary> {
    let header = PeerHeader {
        cluster: own.cluster.map_or_else(Default::default, |id| id.0.to_vec().into()),
        from: own.node.unwrap_or(0),
        from_incarnation: own.incarnation.0.to_vec().into(),
        to: target,
        to_incarnation: node.incarnation.to_vec().into(),
    };
    MetadataValue::from_bytes(&header.encode_to_vec())
}

/// Checks that a call is meant for the node `own`, and comes from one that it may come from.
/// `known` tells what the membership says of a node.
pub fn check(
    metadata: &MetadataMap,
    own: &Identity,
    known: impl FnOnce(u64) -> Option<PeerNode>,
) -> Result<PeerHeader, Status> {
    let header = metadata.get_bin(HEADER_KEY).and_then(|value| value.to_bytes().ok());
    let header = header.and_then(|bytes| PeerHeader::decode(bytes).ok());
    let header = header
        .ok_or_else(|| Status::invalid_argument("a call between nodes must say who calls whom"))?;
    let refuse = |message: String| Err(Status::failed_precondition(message));
    if own.cluster.is_none() || Id::from_wire(&header.cluster) != own.cluster {
        return refuse("this node belongs to another cluster, or to none".to_owned());
    }
    if own.node != Some(header.to) || Id::from_wire(&header.to_incarnation) != Some(own.incarnation)
    {
        return refuse(format!(
            "this is node {} with data folder {}, not node {}",
            own.node.unwrap_or(0),
            own.incarnation,
            header.to
        ));
    }
    // A node that this one's membership does not know may be a newer member: Raft sorts it out.
    // A known one with another folder has lost its disk, and with it what it promised.
    if known(header.from).is_some_and(|node| node.incarnation[..] != header.from_incarnation[..]) {
        return refuse(format!(
            "node {} came back with another data folder; replace it",
            header.from
        ));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::addresses::Addresses;

    #[test]
    fn only_the_node_that_is_meant_takes_a_call() -> Result<(), Box<dyn std::error::Error>> {
        let folder = |place| -> Result<(tempfile::TempDir, Identity), Box<dyn std::error::Error>> {
            let path = tempfile::tempdir()?;
            let opened = crate::identity::Folder::open(&World::real(), path.path(), place)?;
            let identity = opened.identity();
            Ok((path, Identity { cluster: Some(Id([9; 16])), node: Some(place), ..identity }))
        };
        let (_one, one) = folder(1)?;
        let (_two, two) = folder(2)?;
        let node = |identity: &Identity| PeerNode {
            addresses: Addresses::one("a:1".to_owned()),
            place: identity.place,
            incarnation: identity.incarnation.0,
        };
        let credential = Credential::new(Some("secret"), None)?;
        let links = Links::new(&World::real(), credential);
        let call = |from: &Identity, to: &PeerNode| {
            Link::new(links.clone(), from, 2, to).request((), None).into_parts().0
        };

        let good = call(&one, &node(&two));
        assert!(check(&good, &two, |_| Some(node(&one))).is_ok());
        assert!(check(&good, &two, |_| None).is_ok());
        assert!(good.get("authorization").is_some());
        let wiped = Identity { incarnation: Id([1; 16]), ..two.clone() };
        assert!(check(&good, &wiped, |_| None).is_err());
        assert!(check(&good, &two, |_| Some(node(&wiped))).is_err());
        assert!(
            check(&good, &Identity { cluster: Some(Id([8; 16])), ..two.clone() }, |_| None)
                .is_err()
        );
        assert!(check(&good, &Identity { cluster: None, ..two.clone() }, |_| None).is_err());
        assert!(check(&MetadataMap::new(), &two, |_| None).is_err());
        Ok(())
    }
}
