//! Calls to the other nodes. Song data has connections of its own, so that nothing else waits behind it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jam_proto::wire::peer::v1::blobs_client::BlobsClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::{Cluster, Neighbour};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A frozen or cut-off node is noticed within the sum of these.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// One long-lived channel to each address.
#[derive(Debug, Default)]
pub(super) struct Peers {
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl Peers {
    /// A client for a node's songs.
    pub(super) fn to(&self, node: &Neighbour) -> Result<BlobsClient<Channel>, Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&node.address) {
            return Ok(BlobsClient::new(channel.clone()));
        }
        let endpoint =
            Endpoint::from_shared(format!("http://{}", node.address)).map_err(|error| {
                Status::internal(format!("'{}' is no address: {error}", node.address))
            })?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_lazy();
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
    Ok(request)
}
