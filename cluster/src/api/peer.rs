//! The service for the other nodes. It answers before this node belongs to a cluster, too: that is
//! how one forms.

use std::sync::{Arc, OnceLock};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryFutureExt, TryStreamExt};
use jam_proto::wire::peer::v1::peer_server::Peer;
use jam_proto::wire::peer::v1::{
    AdoptReply, AdoptRequest, HelloReply, HelloRequest, JoinReply, JoinRequest, PeerHeader,
    RaftMessage, ReaddressReply, ReaddressRequest, SnapshotChunk, Stage as WireStage,
};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::credential::LogLimit;
use crate::identity::{Folder, Id, Stage, Step};
use crate::raft::handle::Handle;
use crate::raft::incoming::Part;
use crate::unique::Unique;

/// The `Peer` service.
#[derive(Clone)]
pub struct PeerService {
    folder: Arc<Folder>,
    /// The lowest place among the peers: who alone may found a cluster.
    founder: u64,
    /// Set once Raft runs here.
    running: Arc<OnceLock<Arc<Handle>>>,
    unique: Arc<Unique>,
    /// Where clients reach this node.
    client_address: String,
    /// How often refused calls are logged.
    refusals: Arc<LogLimit>,
}

impl PeerService {
    /// For a data folder, whose Raft comes later.
    pub fn new(
        folder: Arc<Folder>,
        founder: u64,
        running: Arc<OnceLock<Arc<Handle>>>,
        unique: Arc<Unique>,
        client_address: String,
    ) -> Self {
        let refusals = Arc::default();
        Self { folder, founder, running, unique, client_address, refusals }
    }

    fn running(&self) -> Result<&Arc<Handle>, Status> {
        self.running.get().ok_or_else(|| Status::unavailable("this node is starting"))
    }

    /// Raft, for a call that is meant for this node, and who calls.
    fn called(&self, metadata: &MetadataMap) -> Result<(&Arc<Handle>, PeerHeader), Status> {
        let handle = self.running()?;
        let caller = handle.caller(metadata).inspect_err(|refusal| {
            if self.refusals.allows(Instant::now()) {
                tracing::warn!(reason = refusal.message(), "refused a call of another node");
            }
        });
        Ok((handle, caller?))
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let asks = request.into_inner();
        let own = self.folder.identity();
        let mut reply = HelloReply {
            place: own.place,
            incarnation: own.incarnation.0.to_vec().into(),
            cluster: own.cluster.map(|id| id.0.to_vec().into()).unwrap_or_default(),
            node: own.node.unwrap_or(0),
            ..HelloReply::default()
        };
        reply.set_stage(match own.stage {
            Stage::Empty => WireStage::Empty,
            Stage::Forming => WireStage::Forming,
            Stage::Joining => WireStage::Joining,
            Stage::Member => WireStage::Member,
        });
        if let Some(handle) = self.running.get() {
            let replacement = handle.state.read().shard.replacement(asks.place);
            // An id that is in the membership already waits for nobody but its own folder.
            let open = |id: &u64| {
                handle.node(*id).is_none_or(|node| node.incarnation[..] == asks.incarnation[..])
            };
            reply.replacement = replacement.filter(open).unwrap_or(0);
            reply.place_is_taken = handle.has_place(asks.place);
            reply.level = handle.levels.allowed.0;
        }
        self.unique.answer(&asks, self.running.get(), &mut reply);
        Ok(Response::new(reply))
    }

    async fn adopt(&self, request: Request<AdoptRequest>) -> Result<Response<AdoptReply>, Status> {
        let AdoptRequest { cluster, place, founder } = request.into_inner();
        let cluster =
            Id::from_wire(&cluster).ok_or(Status::invalid_argument("a cluster id has 16 bytes"))?;
        if founder != self.founder {
            return Err(Status::failed_precondition(format!(
                "by its --peers, node {} founds the cluster, not node {founder}; give all nodes the same --peers",
                self.founder
            )));
        }
        let stepped = self.folder.take_step(move |own| {
            let free = own.stage == Stage::Empty && own.place == place;
            free.then_some(Step::Into { stage: Stage::Joining, cluster, node: place })
        });
        let own = stepped.await.map_err(|error| Status::internal(error.to_string()))?;
        if own.place != place {
            return Err(Status::failed_precondition(format!(
                "this is node {}, not node {place}; check --id and --peers",
                own.place
            )));
        }
        if own.stage != Stage::Joining || own.cluster != Some(cluster) || own.node != Some(place) {
            return Err(Status::failed_precondition(format!(
                "the data folder of node {place} belongs to another cluster; if that one never began, empty the folder"
            )));
        }
        Ok(Response::new(AdoptReply {
            incarnation: own.incarnation.0.to_vec().into(),
            client_address: self.client_address.clone(),
        }))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        self.running()?.admit(&request.into_inner()).await.map(Response::new)
    }

    async fn readdress(
        &self,
        request: Request<ReaddressRequest>,
    ) -> Result<Response<ReaddressReply>, Status> {
        self.running()?.readdress(&request.into_inner()).await.map(Response::new)
    }

    async fn vote(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        let (handle, from) = self.called(request.metadata())?;
        handle.vote(&from, request.get_ref()).map_ok(Response::new).await
    }

    async fn pre_vote(
        &self,
        request: Request<RaftMessage>,
    ) -> Result<Response<RaftMessage>, Status> {
        let (handle, from) = self.called(request.metadata())?;
        handle.pre_vote(&from, request.get_ref()).map_ok(Response::new).await
    }

    async fn append(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        let (handle, from) = self.called(request.metadata())?;
        handle.append(&from, request.get_ref()).map_ok(Response::new).await
    }

    type StreamAppendStream = BoxStream<'static, Result<RaftMessage, Status>>;

    async fn stream_append(
        &self,
        request: Request<Streaming<RaftMessage>>,
    ) -> Result<Response<Self::StreamAppendStream>, Status> {
        let (handle, from) = self.called(request.metadata())?;
        // The leader hangs up, or its connection breaks: either way the stream ends, and it begins anew.
        let requests =
            request.into_inner().scan((), |(), message| std::future::ready(message.ok()));
        Ok(Response::new(handle.stream_append(from, requests).boxed()))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<RaftMessage>, Status> {
        let (handle, from) = self.called(request.metadata())?;
        let mut is_first = true;
        let parts = request.into_inner().map_ok(move |SnapshotChunk { head, data }| {
            match std::mem::take(&mut is_first) {
                true => Part::Head(head),
                false => Part::Bytes(data),
            }
        });
        handle.install_snapshot(&from, parts).map_ok(Response::new).await
    }

    async fn transfer_leader(
        &self,
        request: Request<RaftMessage>,
    ) -> Result<Response<RaftMessage>, Status> {
        let (handle, from) = self.called(request.metadata())?;
        handle.transfer_leader(&from, request.get_ref()).map_ok(Response::new).await
    }
}
