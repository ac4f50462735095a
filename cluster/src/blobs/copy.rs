//! Copies a song to a majority before it is committed.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::ids::TrackId;
use jam_proto::wire::peer::v1::HoldRequest;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;

use super::peers::signed;
use super::{Blobs, Neighbour, SongError};
use crate::request;

/// A node that copies says so at least once a second; one that says nothing for this long is not waited for.
const STALLED_AFTER: Duration = Duration::from_secs(5);

impl Blobs {
    /// Returns once a majority of the voters, this node counted if it votes, holds the song durably, with the nodes that do.
    /// A voter whose place was given away does not count: it will lose its vote. The rest go on copying.
    pub(super) async fn copy_to_majority(
        self: &Arc<Self>,
        id: TrackId,
        bytes: u64,
    ) -> Result<Vec<u64>, SongError> {
        let members = self.cluster.members();
        let own = self.cluster.own_id();
        let voters = members.iter().filter(|node| node.voter).count();
        let needed = voters / 2 + 1;
        let mut copies = members.iter().filter(|node| node.voter && node.id == own).count();
        let mut holders = vec![own];
        let mut under_way = JoinSet::new();
        for node in members.into_iter().filter(|node| node.id != own) {
            let blobs = self.clone();
            under_way.spawn(request::scope(request::current(), async move {
                let held = blobs.hold_at(&node, id, bytes).await;
                (node, held)
            }));
        }
        while copies < needed {
            match under_way.join_next().await {
                Some(Ok((node, Ok(())))) => {
                    copies += usize::from(node.voter && !node.is_replaced);
                    holders.push(node.id);
                }
                Some(Ok((node, Err(status)))) => {
                    tracing::warn!(node = node.id, song = %id, %status, "a node did not take a copy");
                }
                Some(Err(error)) => tracing::error!(song = %id, %error, "copying to a node failed"),
                None => return Err(SongError::NoQuorum { copies, needed }),
            }
        }
        under_way.detach_all();
        Ok(holders)
    }

    async fn hold_at(&self, node: &Neighbour, id: TrackId, bytes: u64) -> Result<(), Status> {
        let message = HoldRequest { id: id.to_wire().into(), bytes, from: self.cluster.own_id() };
        let request = signed(&*self.cluster, node.id, message)?;
        let mut client = self.peers.to(node)?;
        let stalled = |_| Status::deadline_exceeded("the node stopped copying");
        let mut progress =
            timeout(STALLED_AFTER, client.hold(request)).await.map_err(stalled)??.into_inner();
        while let Some(told) =
            timeout(STALLED_AFTER, progress.message()).await.map_err(stalled)??
        {
            if told.durable {
                return Ok(());
            }
        }
        Err(Status::aborted("the node ended the copy without having it"))
    }
}
