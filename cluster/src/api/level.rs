//! Raising the cluster's feature level on request.

use std::time::Duration;

use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::{RaiseLevelReply, RaiseLevelRequest};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::cluster::ClusterService;
use crate::forward::{Kind, Leader, Way};
use crate::links::{Failed, is_forwarded, judge};
use crate::refusal::Refusal;
use crate::shard::{ProposeError, RaiseError};

const RAISE_TIMEOUT: Duration = Duration::from_secs(8);

/// Raises the level here if this node leads, else at the leader. Asking again does no harm.
pub(super) async fn raise(
    service: &ClusterService,
    request: Request<RaiseLevelRequest>,
) -> Result<Response<RaiseLevelReply>, Status> {
    let (forwarded, force) = (is_forwarded(&request), request.get_ref().force);
    if forwarded {
        return Ok(Response::new(raise_here(service, force).await?));
    }
    let raised = service.forwarder.at_leader(
        Kind::Read,
        Instant::now() + RAISE_TIMEOUT,
        |leader| async move {
            match leader {
                Leader::Here => raise_here(service, force).await,
                Leader::There(Way { channel, .. }) => {
                    let request = service.forwarder.links().request(RaiseLevelRequest { force });
                    let reply = ClusterClient::new(channel).raise_level(request).await;
                    reply.map(Response::into_inner).map_err(|status| judge(&status))
                }
            }
        },
    );
    Ok(Response::new(raised.await?))
}

async fn raise_here(service: &ClusterService, force: bool) -> Result<RaiseLevelReply, Failed> {
    match service.group.raise_level(force).await {
        Ok(level) => Ok(RaiseLevelReply { level: level.0 }),
        Err(RaiseError::Held(held)) => Err(Failed::Refused(Refusal::LevelHeld(held.to_string()))),
        // An outcome that is not known shows at the next try.
        Err(RaiseError::Propose(ProposeError::Unknown)) => Err(Failed::Lost),
        Err(RaiseError::Propose(error)) => Err(Failed::NotTaken(error.into())),
    }
}
