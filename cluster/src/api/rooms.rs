//! Rooms: edits and current reads at the leader, watching on any node.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::command::RoomCommand;
use jam_proto::ids::{RoomCode, check_user_name};
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::SharedTime;
use jam_proto::wire::log::v1::OpenSession;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::rooms_server::Rooms;
use jam_proto::wire::v1::{
    ListRoomsReply, ListRoomsRequest, OpenSessionReply, OpenSessionRequest, RoomSummary,
    StatusReply, StatusRequest, SubmitReply, SubmitRequest, WatchHello, WatchRequest,
};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Request, Response, Status};

use super::session::session_id;
use super::watching::{WatchStream, Watcher};
use super::{deadline, origin};
use crate::forward::{Forwarder, Kind, Leader, Way};
use crate::links::{Failed, is_forwarded, judge};
use crate::presence::Presence;
use crate::rates::Rates;
use crate::refusal::Refusal;
use crate::shard::Group;
use crate::time::clock::NodeClock;
use crate::watch::{Subscription, WatchHub};

/// Streams that one node serves; each costs a task and a few messages.
const WATCHERS_MAX: usize = 10_000;
/// A current read that takes longer than this has no use any more.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a node that is behind is given to hear of a room that the leader has.
const BEHIND_MAX: Duration = Duration::from_secs(3);
/// The room list is one message.
const ROOMS_LISTED_MAX: usize = 10_000;

/// The `Rooms` service.
#[derive(Clone)]
pub struct RoomsService {
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
    type WatchStream = WatchStream;

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
        if is_forwarded(&request) {
            return self.list_here().await.map(Response::new).map_err(Status::from);
        }
        let reply =
            self.forwarder.at_leader(Kind::Read, Instant::now() + READ_TIMEOUT, |leader| async {
                match leader {
                    Leader::Here => self.list_here().await,
                    Leader::There(Way { channel, .. }) => {
                        let request = self.forwarder.links().request(ListRoomsRequest {});
                        read(RoomsClient::new(channel).list_rooms(request)).await
                    }
                }
            });
        Ok(Response::new(reply.await?))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusReply>, Status> {
        let forwarded = is_forwarded(&request);
        let room = RoomCode::parse(&request.into_inner().room).map_err(Refusal::from)?;
        if forwarded {
            return self.status_here(&room).await.map(Response::new).map_err(Status::from);
        }
        Ok(Response::new(self.current_status(&room).await?))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<WatchStream>, Status> {
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
        Ok(Response::new(watcher.stream(hello)))
    }
}

impl RoomsService {
    async fn current_status(&self, room: &RoomCode) -> Result<StatusReply, Refusal> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let attempt = |leader| async {
            match leader {
                Leader::Here => self.status_here(room).await,
                Leader::There(Way { channel, .. }) => {
                    let request = StatusRequest { room: room.as_str().to_owned() };
                    let request = self.forwarder.links().request(request);
                    let mut client = RoomsClient::new(channel)
                        .max_decoding_message_size(super::MESSAGE_BYTES_MAX);
                    read(client.status(request)).await
                }
            }
        };
        self.forwarder.at_leader(Kind::Read, deadline, attempt).await
    }

    async fn status_here(&self, code: &RoomCode) -> Result<StatusReply, Failed> {
        self.barrier().await?;
        let room = self.group.read(|shard| shard.room(code).cloned());
        let room = room.ok_or_else(|| Failed::Refused(Refusal::RoomUnknown(code.clone())))?;
        let Now { leader, term, epoch, shared } = self.time_here()?;
        Ok(StatusReply {
            room: Some(room.to_wire()),
            shared_time: shared.0,
            leader,
            term,
            epoch,
            listeners: self.presence.listeners(code),
        })
    }

    async fn list_here(&self) -> Result<ListRoomsReply, Failed> {
        self.barrier().await?;
        let shard = self.group.read(Shard::clone);
        let now = self.time_here()?.shared;
        let rooms = shard.rooms().take(ROOMS_LISTED_MAX).map(|(code, room)| RoomSummary {
            name: room.name().to_owned(),
            playing: room.is_playing(),
            entries: count(room.queue_len_at(now)),
            listeners: count(self.presence.count(code)),
            code: code.as_str().to_owned(),
        });
        Ok(ListRoomsReply { rooms: rooms.collect() })
    }

    /// Shared time now, of this leader. One whose `ClockEpoch` is not committed yet has no time of any epoch to tell: whoever
    /// asks tries again in a moment.
    fn time_here(&self) -> Result<Now, Failed> {
        let standing = self.group.standing();
        let (epoch, shared) = (self.clock.epoch(), self.clock.now());
        if epoch == 0 || self.clock.leads_in() != Some(standing.term) {
            return Err(Failed::NotTaken(Refusal::NotLeader));
        }
        Ok(Now { leader: standing.id, term: standing.term, epoch, shared })
    }

    async fn barrier(&self) -> Result<(), Failed> {
        #[cfg(feature = "planted")]
        if jam_proto::planted::Bug::StaleRead.is_planted() {
            return Ok(());
        }
        let passed = self.group.read_barrier(READ_TIMEOUT).await;
        passed.map_err(|error| Failed::NotTaken(error.into()))
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

/// Shared time, and whose it is.
struct Now {
    leader: u64,
    term: u64,
    epoch: u64,
    shared: SharedTime,
}

/// A read at another node.
async fn read<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failed> {
    match timeout(READ_TIMEOUT, call).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) => Err(judge(&status)),
        Err(_) => Err(Failed::Lost),
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
