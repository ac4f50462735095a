//! What shared time this node has, for a new leader that can't continue its own.

use std::sync::Arc;

use jam_proto::wire::peer::v1::clocks_server::Clocks;
use jam_proto::wire::peer::v1::{ReadClockReply, ReadClockRequest};
use tonic::{Request, Response, Status};

use crate::shard::Group;
use crate::time::clock::NodeClock;

/// The `Clocks` service.
pub struct ClocksService {
    /// Says whose calls are taken.
    pub group: Group,
    /// What is told.
    pub clock: Arc<NodeClock>,
}

#[tonic::async_trait]
impl Clocks for ClocksService {
    async fn read(
        &self,
        request: Request<ReadClockRequest>,
    ) -> Result<Response<ReadClockReply>, Status> {
        self.group.admit(request.metadata())?;
        Ok(Response::new(self.clock.told()))
    }
}
