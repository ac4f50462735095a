//! Calls to the other nodes. Song data has connections of its own, so that nothing else waits behind it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jam_proto::wire::peer::v1::blobs_client::BlobsClient;
use jam_world::World;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::{Cluster, Neighbour};
use crate::links::{self, Patience};
use crate::request;

const PATIENCE: Patience = Patience { ping_every_ms: 1000, answer_ms: 2000 };

/// One long-lived channel to each address.
#[derive(Debug)]
pub(super) struct Peers {
    world: World,
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl Peers {
    /// Nobody yet.
    pub(super) fn new(world: &World) -> Self {
        Self { world: world.clone(), channels: Mutex::default() }
    }

    /// A client for a node's songs.
    pub(super) fn to(&self, node: &Neighbour) -> Result<BlobsClient<Channel>, Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&node.address) {
            return Ok(BlobsClient::new(channel.clone()));
        }
        let channel =
            links::channel(&self.world, &node.address, PATIENCE).map_err(Status::internal)?;
        channels.insert(node.address.clone(), channel.clone());
        Ok(BlobsClient::new(channel))
    }
}

/// A request to a node, signed.
pub(super) fn signed<T>(
    cluster: &dyn Cluster,
    node: u64,
    message: T,
) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    cluster.sign(node, request.metadata_mut())?;
    request::sign(request.metadata_mut());
    Ok(request)
}
