//! A node for tests: the real state machine behind the real API, without replication, and with faults on demand.

mod cluster;
mod songs;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::{Stream, StreamExt};
use jam_proto::command::RoomCommand;
use jam_proto::ids::RoomCode;
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1 as log;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1 as wire;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use wire::cluster_server::ClusterServer;
use wire::rooms_server::{Rooms, RoomsServer};
use wire::songs_server::SongsServer;

/// Of all fakes.
pub const CLUSTER_ID: [u8; 16] = [7; 16];

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Commands are refused: no majority.
    NoQuorum,
    /// So many commands are refused, since the nodes elect a leader.
    Elects(u32),
    /// Commands are applied, but the replies get lost.
    LoseReplies,
    /// As `LoseReplies`, for so many commands.
    LoseSome(u32),
    /// Commands are not applied, and their outcome is called unknown.
    Unknown,
    /// One request of this kind is taken, is applied or is not, and gets no answer.
    Hold(Held, Applied),
    /// One command is applied, its reply gets lost, and all sessions are closed.
    LoseOneAndClose,
    /// All sessions are closed before one command comes.
    CloseBeforeOne,
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Open,
    Command,
}

/// Whether a request is applied that gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Yes,
    No,
}

#[derive(Default)]
struct State {
    shard: Shard,
    fault: Fault,
    submits: u32,
    now: i64,
    /// How far ahead commands take effect.
    lead: i64,
    /// Bytes of unfinished uploads.
    parts: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
    /// An upload breaks off when so many bytes have come.
    break_upload_at: Option<usize>,
}

/// A running fake; it ends with the test's runtime.
#[derive(Clone)]
pub struct FakeNode {
    state: Arc<Mutex<State>>,
    /// A request is held.
    held: Arc<Notify>,
    address: SocketAddr,
}

impl FakeNode {
    pub async fn start() -> Self {
        Self::serve(Arc::default(), Arc::default()).await
    }

    /// Another node of the same cluster.
    pub async fn beside(&self) -> Self {
        Self::serve(self.state.clone(), self.held.clone()).await
    }

    async fn serve(state: Arc<Mutex<State>>, held: Arc<Notify>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let node = Self { state, held, address };
        let server = tonic::transport::Server::builder()
            .add_service(RoomsServer::new(node.clone()))
            .add_service(SongsServer::new(node.clone()))
            .add_service(ClusterServer::new(node.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        node
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// What happens from now on takes effect so much later.
    pub fn set_lead(&self, secs: i64) {
        self.state().lead = Flicks::from_secs(secs).0;
    }

    /// Lets time pass.
    pub fn pass(&self, secs: i64) {
        self.state().now += Flicks::from_secs(secs).0;
    }

    /// Returns once a request is held.
    pub async fn holds_one(&self) {
        self.held.notified().await;
    }

    /// Closes all sessions, as a flood of new ones would.
    pub fn close_sessions(&self) {
        self.state().close_sessions();
    }

    pub fn break_upload_at(&self, bytes: usize) {
        self.state().break_upload_at = Some(bytes);
    }

    /// How many times a command was sent.
    pub fn submits(&self) -> u32 {
        self.state().submits
    }

    pub fn rooms(&self) -> usize {
        self.state().shard.rooms().count()
    }

    pub fn titles(&self, room: &str) -> Vec<String> {
        let state = self.state();
        let room = state.shard.room(&RoomCode::parse(room).expect("a code")).expect("the room");
        room.queue_at(SharedTime(state.now)).into_iter().map(|entry| entry.title.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this")
    }
}

impl State {
    fn apply(&mut self, op: Op) -> Outcome {
        self.now += Flicks::from_millis(10).0;
        let entry = log::LogEntry {
            proposed_stamp: self.now,
            proposed_effective: self.now + self.lead,
            op: Some(op),
            ..Default::default()
        };
        self.shard.apply(1, &entry).outcome
    }

    fn close_sessions(&mut self) {
        let snapshot = log::ShardSnapshot { sessions: Vec::new(), ..self.shard.to_wire() };
        self.shard = Shard::from_wire(&snapshot).expect("its own snapshot");
    }

    /// Whether the fault is to hold this request, which is applied or is not.
    fn holds(&mut self, request: Held) -> Option<Applied> {
        match self.fault {
            Fault::Hold(held, applied) if held == request => {
                self.fault = Fault::None;
                Some(applied)
            }
            _ => None,
        }
    }
}

fn refusal(code: Code, jam: &'static str, message: &str) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert("jam-error", jam.parse().expect("ASCII"));
    status
}

impl FakeNode {
    /// An answer that never comes. The connection ends with whoever waits for it.
    async fn hold<T>(&self) -> T {
        self.held.notify_one();
        std::future::pending().await
    }

    fn submit_now(
        &self,
        request: &wire::SubmitRequest,
    ) -> Result<Response<wire::SubmitReply>, Status> {
        let mut state = self.state();
        state.submits += 1;
        match state.fault {
            Fault::NoQuorum => {
                return Err(refusal(
                    Code::Unavailable,
                    "no_quorum",
                    "no majority of the nodes answers",
                ));
            }
            Fault::Elects(left) => {
                state.fault = if left > 1 { Fault::Elects(left - 1) } else { Fault::None };
                return Err(refusal(Code::Unavailable, "no_quorum", "the nodes elect a leader"));
            }
            Fault::Unknown => {
                return Err(refusal(
                    Code::DeadlineExceeded,
                    "unknown",
                    "it was not committed in time",
                ));
            }
            Fault::CloseBeforeOne => {
                state.fault = Fault::None;
                state.close_sessions();
            }
            _ => {}
        }
        let command = RoomCommand::from_request(request)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let Outcome::Command(reply) = state.apply(Op::Command(command.to_wire())) else {
            return Err(Status::internal("no reply"));
        };
        match state.fault {
            Fault::LoseReplies => Err(Status::unavailable("the connection broke")),
            Fault::LoseSome(left) if left > 0 => {
                state.fault = Fault::LoseSome(left - 1);
                Err(Status::unavailable("the connection broke"))
            }
            Fault::LoseOneAndClose => {
                state.fault = Fault::None;
                state.close_sessions();
                Err(Status::unavailable("the connection broke"))
            }
            _ => Ok(Response::new(reply.to_wire())),
        }
    }
}

#[tonic::async_trait]
impl Rooms for FakeNode {
    async fn open_session(
        &self,
        request: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionReply>, Status> {
        let wire::OpenSessionRequest { session, user, .. } = request.into_inner();
        let open = log::OpenSession { session, user, ..Default::default() };
        let held = self.state().holds(Held::Open);
        if held != Some(Applied::No) {
            self.state().apply(Op::OpenSession(open));
        }
        if held.is_some() {
            return self.hold().await;
        }
        Ok(Response::new(wire::OpenSessionReply::default()))
    }

    async fn submit(
        &self,
        request: Request<wire::SubmitRequest>,
    ) -> Result<Response<wire::SubmitReply>, Status> {
        let held = self.state().holds(Held::Command);
        let submitted = match held {
            Some(Applied::No) => None,
            Some(Applied::Yes) | None => Some(self.submit_now(&request.into_inner())),
        };
        match (held, submitted) {
            (None, Some(submitted)) => submitted,
            _ => self.hold().await,
        }
    }

    async fn list_rooms(
        &self,
        _: Request<wire::ListRoomsRequest>,
    ) -> Result<Response<wire::ListRoomsReply>, Status> {
        let state = self.state();
        let summary = |(code, room): (&RoomCode, &jam_proto::room::Room)| wire::RoomSummary {
            code: code.to_string(),
            name: room.name().to_owned(),
            playing: room.is_playing(),
            entries: room.entries() as u32,
            listeners: 0,
        };
        Ok(Response::new(wire::ListRoomsReply {
            rooms: state.shard.rooms().map(summary).collect(),
        }))
    }

    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusReply>, Status> {
        let state = self.state();
        let code = RoomCode::parse(&request.into_inner().room)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let room = state
            .shard
            .room(&code)
            .ok_or_else(|| refusal(Code::NotFound, "room_unknown", "there is no such room"))?;
        let reply = wire::StatusReply {
            room: Some(room.to_wire()),
            shared_time: state.now,
            leader: 1,
            term: 1,
            epoch: 1,
            listeners: Vec::new(),
        };
        Ok(Response::new(reply))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::WatchMessage, Status>> + Send>>;
    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        use wire::watch_message::Kind;
        let state = self.state();
        let code = RoomCode::parse(&request.into_inner().room)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let room = state
            .shard
            .room(&code)
            .ok_or_else(|| refusal(Code::NotFound, "room_unknown", "there is no such room"))?;
        let hello =
            wire::WatchHello { cluster_id: CLUSTER_ID.to_vec(), node: 1, ..Default::default() };
        let first = [Kind::Hello(hello), Kind::Snapshot(room.to_wire())];
        let first = first.map(|kind| Ok(wire::WatchMessage { kind: Some(kind) }));
        // Nothing happens in the room afterwards.
        let stream = futures_util::stream::iter(first).chain(futures_util::stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }
}
