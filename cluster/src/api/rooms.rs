//! Rooms: edits and current reads at the leader, watching on any node.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Empty};
use jam_proto::command::RoomCommand;
use jam_proto::ids::{RoomCode, check_user_name};
use jam_proto::shard::{Outcome, Shard};
use jam_proto::wire::log::v1::OpenSession;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::rooms_server::Rooms;
use jam_proto::wire::v1::{
    ListRoomsReply, ListRoomsRequest, OpenSessionReply, OpenSessionRequest, StatusReply,
    StatusRequest, SubmitReply, SubmitRequest, WatchHello, WatchMessage, WatchRequest,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::large::Kitchen;
use super::reading::{Known, in_time};
use super::session::session_id;
use super::watching::Watcher;
use super::{deadline, origin};
use crate::answers::attach;
use crate::forward::Forwarder;
use crate::lines::{Line, Lines};
use crate::links::is_forwarded;
use crate::presence::Presence;
use crate::rates::Rates;
use crate::refusal::Refusal;
use crate::server::RemoteAddress;
use crate::shard::Group;
use crate::time::clock::NodeClock;
use crate::watch::{Subscription, WatchHub};

/// Streams that one node serves; each costs a task and a few messages.
const WATCHERS_MAX: usize = 10_000;
/// How long a node that is behind is given to hear of a room that the leader has.
const BEHIND_MAX: Duration = Duration::from_secs(3);

/// The `Rooms` service.
#[derive(Clone)]
pub struct RoomsService {
    /// Where answers go.
    pub lines: Arc<Lines>,
    /// Who prepares large ones.
    pub kitchen: Kitchen,
    /// Lists that are on their way from the leader.
    pub relaying: Arc<Semaphore>,
    /// The state that reads come from.
    pub group: Group,
    /// The way to the leader.
    pub forwarder: Forwarder,
    /// Where watchers read.
    pub hub: Arc<WatchHub>,
    /// Who listens.
    pub presence: Arc<Presence>,
    /// Shared time.
    pub clock: Arc<NodeClock>,
    /// How fast sessions send commands.
    pub rates: Arc<Rates>,
    /// Of this cluster.
    pub cluster_id: Vec<u8>,
    /// True once the node stops.
    pub stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Rooms for RoomsService {
    /// What is really sent is attached ([`crate::answers`]), as for the other large answers.
    type WatchStream = Empty<Result<WatchMessage, Status>>;

    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionReply>, Status> {
        let level = self.group.read(Shard::level);
        let origin = origin::of_request(&request, &self.cluster_id, level);
        let request = request.into_inner();
        let session = session_id(&request.session)?.to_wire();
        check_user_name(&request.user).map_err(Refusal::from)?;
        let op = Op::OpenSession(OpenSession { session, user: request.user, origin });
        match self.forwarder.propose(op, deadline(request.deadline_ms)).await? {
            Outcome::SessionOpened { existed } => Ok(Response::new(OpenSessionReply { existed })),
            Outcome::SessionsFull(limit) => Err(Refusal::SessionsFull(limit).into()),
            other => Err(Refusal::strange(&other).into()),
        }
    }

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitReply>, Status> {
        let mut request = request.into_inner();
        request.session = session_id(&request.session)?.to_wire();
        let command = RoomCommand::from_request(&request).map_err(Refusal::from)?;
        self.rates.take(command.session, Instant::now())?;
        let op = Op::Command(command.to_wire());
        match self.forwarder.propose(op, deadline(request.deadline_ms)).await? {
            Outcome::Command(reply) => Ok(Response::new(reply.to_wire())),
            other => Err(Refusal::strange(&other).into()),
        }
    }

    async fn list_rooms(
        &self,
        request: Request<ListRoomsRequest>,
    ) -> Result<Response<ListRoomsReply>, Status> {
        let line = self.line_of(&request);
        let message = match is_forwarded(&request) {
            true => in_time(self.list_here(&line)).await?.map_err(Status::from)?,
            false => self.list(&line).await?,
        };
        Ok(attach(ListRoomsReply::default(), line, stream::iter([Ok(message)])))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusReply>, Status> {
        let (line, forwarded) = (self.line_of(&request), is_forwarded(&request));
        let room = RoomCode::parse(&request.into_inner().room).map_err(Refusal::from)?;
        let known = match forwarded {
            true => Known::But(self.status_here(&room).await.map_err(Status::from)?),
            false => self.current_status(&room).await?,
        };
        let message = in_time(self.tell(&line, &room, known)).await??;
        Ok(attach(StatusReply::default(), line, stream::iter([Ok(message)])))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let line = self.line_of(&request);
        let request = request.into_inner();
        let room = RoomCode::parse(&request.room).map_err(Refusal::from)?;
        if self.hub.watchers() >= WATCHERS_MAX {
            let message =
                format!("this node serves {WATCHERS_MAX} watchers, its limit; try another node");
            return Err(Refusal::Limit(message).into());
        }
        let ours = request.cluster_id.is_empty() || request.cluster_id == self.cluster_id;
        let watcher = Watcher {
            group: self.group.clone(),
            kitchen: self.kitchen.clone(),
            line: line.clone(),
            subscription: self.subscribe(&room).await?,
            room,
            cursor: if ours { request.after_revision } else { 0 },
            stopping: self.stopping.clone(),
        };
        let hello = WatchHello {
            cluster_id: self.cluster_id.clone(),
            node: self.group.standing().id,
            stale_ms: self.group.contact().stale_ms(),
            // All of it is on its way behind this: the stream looks for events later.
            applied: self.hub.applied_index(),
        };
        Ok(attach(stream::empty(), line, watcher.stream(hello)))
    }
}

impl RoomsService {
    fn line_of<T>(&self, request: &Request<T>) -> Arc<Line> {
        self.lines.of(request.extensions().get::<RemoteAddress>().map(|remote| remote.0))
    }

    /// A place in the room's events. A room that is not known here may have been created a moment
    /// ago, so the leader is asked before it is called unknown.
    async fn subscribe(&self, room: &RoomCode) -> Result<Subscription, Refusal> {
        if let Some(subscription) = self.subscribe_here(room) {
            return Ok(subscription);
        }
        self.current_status(room).await?;
        let deadline = Instant::now() + BEHIND_MAX;
        let mut applied = self.hub.applied_changes();
        loop {
            if let Some(subscription) = self.subscribe_here(room) {
                return Ok(subscription);
            }
            if timeout_at(deadline, applied.changed()).await.is_err() {
                return Err(Refusal::Behind(1));
            }
        }
    }

    fn subscribe_here(&self, code: &RoomCode) -> Option<Subscription> {
        self.group
            .read(|shard| shard.room(code).map(|room| self.hub.subscribe(code, room.revision())))
    }
}
