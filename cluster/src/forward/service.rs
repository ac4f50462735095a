//! Takes what other nodes pass on.

use std::time::Duration;

use futures_util::future::join_all;
use jam_proto::ids::RoomCode;
use jam_proto::shard::{Outcome, Shard};
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::peer::v1::forward_server::Forward;
use jam_proto::wire::peer::v1::{
    BarrierReply, BarrierRequest, ProposeReply, ProposeRequest, RoomStatusReply, RoomStatusRequest,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{BARRIER_TIMEOUT, Forwarder, TIMEOUT_MAX, allowed, answer};
use crate::api::rooms::RoomsService;
use crate::links::Failed;
use crate::refusal::Refusal;
use crate::request;

/// Takes the proposals that other nodes pass on.
pub struct ForwardService {
    forwarder: Forwarder,
    rooms: RoomsService,
}

impl ForwardService {
    /// Proposes through `forwarder`'s group, and reads as `rooms` does.
    pub fn new(forwarder: Forwarder, rooms: RoomsService) -> Self {
        Self { forwarder, rooms }
    }
}

#[tonic::async_trait]
impl Forward for ForwardService {
    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeReply>, Status> {
        let request = request.into_inner();
        self.check(&request.cluster_id)?;
        let answers = request.proposals.into_iter().map(|proposal| async move {
            let timeout = Duration::from_millis(proposal.timeout_ms.into()).min(TIMEOUT_MAX);
            let id = proposal.request.parse().ok();
            let proposed = match proposal.entry.and_then(|entry| entry.op) {
                Some(op) => {
                    let proposing = self.propose_passed_on(op, Instant::now() + timeout);
                    request::scope(id, proposing).await
                }
                None => {
                    Err(Failed::Refused(Refusal::Invalid("the operation is missing".to_owned())))
                }
            };
            answer::to_wire(proposed)
        });
        Ok(Response::new(ProposeReply { answers: join_all(answers).await }))
    }

    async fn barrier(
        &self,
        request: Request<BarrierRequest>,
    ) -> Result<Response<BarrierReply>, Status> {
        self.check(&request.into_inner().cluster_id)?;
        let deadline = Instant::now() + BARRIER_TIMEOUT;
        let applied = self.forwarder.barrier_here(deadline).await?;
        Ok(Response::new(BarrierReply { applied }))
    }

    async fn status(
        &self,
        request: Request<RoomStatusRequest>,
    ) -> Result<Response<RoomStatusReply>, Status> {
        let request = request.into_inner();
        self.check(&request.cluster_id)?;
        let room = RoomCode::parse(&request.room).map_err(Refusal::from)?;
        Ok(Response::new(self.rooms.status_here(&room).await?))
    }
}

impl ForwardService {
    async fn propose_passed_on(&self, op: Op, deadline: Instant) -> Result<Outcome, Failed> {
        allowed::check(&op, self.forwarder.group.read(Shard::level))?;
        self.forwarder.propose_here(op, deadline).await
    }

    fn check(&self, cluster_id: &[u8]) -> Result<(), Refusal> {
        if cluster_id == self.forwarder.cluster_id { Ok(()) } else { Err(Refusal::OtherCluster) }
    }
}
