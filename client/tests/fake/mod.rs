//! A node for tests: the real state machine behind the real API, without replication, and with faults on demand.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::{Stream, StreamExt};
use jam_proto::command::RoomCommand;
use jam_proto::ids::{RoomCode, TrackId};
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1 as log;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1 as wire;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming};
use wire::cluster_server::{Cluster, ClusterServer};
use wire::rooms_server::{Rooms, RoomsServer};
use wire::songs_server::{Songs, SongsServer};

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Commands are refused: no majority.
    NoQuorum,
    /// Commands are applied, but the replies get lost.
    LoseReplies,
    /// As `LoseReplies`, for so many commands.
    LoseSome(u32),
    /// Commands are not applied, and their outcome is called unknown.
    Unknown,
}

#[derive(Default)]
struct State {
    shard: Shard,
    fault: Fault,
    submits: u32,
    now: i64,
    /// Bytes of unfinished uploads.
    parts: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
    /// An upload breaks off when so many bytes have come.
    break_upload_at: Option<usize>,
}

/// A running fake; it ends with the test's runtime.
#[derive(Clone)]
pub struct FakeNode {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

impl FakeNode {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let node = Self { state: Arc::default(), address };
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
            proposed_effective: self.now,
            op: Some(op),
            ..Default::default()
        };
        self.shard.apply(1, &entry).outcome
    }
}

fn refusal(code: Code, jam: &'static str, message: &str) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert("jam-error", jam.parse().expect("ASCII"));
    status
}

#[tonic::async_trait]
impl Rooms for FakeNode {
    async fn open_session(
        &self,
        request: Request<wire::OpenSessionRequest>,
    ) -> Result<Response<wire::OpenSessionReply>, Status> {
        let wire::OpenSessionRequest { session, user, .. } = request.into_inner();
        self.state().apply(Op::OpenSession(log::OpenSession {
            session,
            user,
            ..Default::default()
        }));
        Ok(Response::new(wire::OpenSessionReply {}))
    }

    async fn submit(
        &self,
        request: Request<wire::SubmitRequest>,
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
            Fault::Unknown => {
                return Err(refusal(
                    Code::DeadlineExceeded,
                    "unknown",
                    "it was not committed in time",
                ));
            }
            _ => {}
        }
        let command = RoomCommand::from_request(&request.into_inner())
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
            _ => Ok(Response::new(reply.to_wire())),
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
        _: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }
}

#[tonic::async_trait]
impl Songs for FakeNode {
    async fn have(
        &self,
        request: Request<wire::HaveRequest>,
    ) -> Result<Response<wire::HaveReply>, Status> {
        let state = self.state();
        let id = request.into_inner().id;
        let track = TrackId::from_wire(&id).ok().and_then(|id| state.shard.track(&id).cloned());
        let offset = state.parts.get(&id).map_or(0, Vec::len) as u64;
        Ok(Response::new(wire::HaveReply { track, offset }))
    }

    async fn upload(
        &self,
        request: Request<Streaming<wire::UploadChunk>>,
    ) -> Result<Response<wire::UploadReply>, Status> {
        let mut chunks = request.into_inner();
        let first = chunks.next().await.ok_or_else(|| Status::invalid_argument("empty"))??;
        let start = first.start.ok_or_else(|| Status::invalid_argument("no start"))?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let mut state = self.state();
            let part = state.parts.entry(start.id.clone()).or_default();
            part.extend_from_slice(&chunk.data);
            let have = part.len();
            if state.break_upload_at.is_some_and(|at| have >= at) {
                state.break_upload_at = None;
                return Err(Status::unavailable("the connection broke"));
            }
        }
        let mut state = self.state();
        let bytes = state.parts.remove(&start.id).unwrap_or_default();
        if bytes.len() as u64 != start.bytes
            || blake3::hash(&bytes).as_bytes() != start.id.as_slice()
        {
            return Err(refusal(
                Code::InvalidArgument,
                "invalid",
                "the bytes are not those of the id",
            ));
        }
        if !bytes.starts_with(b"song") {
            return Err(refusal(
                Code::InvalidArgument,
                "unsupported_song",
                "this is not a song in a format that Jam knows",
            ));
        }
        let track = wire::Track {
            id: start.id,
            title: start.file_name,
            frames: 44_100 * 60,
            sample_rate: 44_100,
            channels: 2,
            bytes: start.bytes,
            ..wire::Track::default()
        };
        let op = Op::RegisterTrack(log::RegisterTrack { track: Some(track), ..Default::default() });
        let Outcome::Track(track) = state.apply(op) else {
            return Err(Status::internal("not registered"));
        };
        Ok(Response::new(wire::UploadReply { track: Some(track) }))
    }

    type FetchStream = Pin<Box<dyn Stream<Item = Result<wire::FetchChunk, Status>> + Send>>;
    async fn fetch(
        &self,
        _: Request<wire::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn doubt(
        &self,
        _: Request<wire::DoubtRequest>,
    ) -> Result<Response<wire::DoubtReply>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }
}

#[tonic::async_trait]
impl Cluster for FakeNode {
    async fn status(
        &self,
        _: Request<wire::ClusterStatusRequest>,
    ) -> Result<Response<wire::ClusterStatusReply>, Status> {
        let node = wire::NodeStatus {
            id: 1,
            address: self.address(),
            role: "leader".into(),
            applied: 7,
            alive: true,
            place: 1,
        };
        let leader = if self.state().fault == Fault::NoQuorum { 0 } else { 1 };
        let reply = wire::ClusterStatusReply {
            cluster_id: vec![7; 16],
            leader,
            term: 1,
            epoch: 1,
            answered_by: 1,
            nodes: vec![node],
        };
        Ok(Response::new(reply))
    }

    async fn transfer(
        &self,
        _: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::TransferReply>, Status> {
        Ok(Response::new(wire::TransferReply { leader: 1 }))
    }

    async fn replace(
        &self,
        _: Request<wire::ReplaceRequest>,
    ) -> Result<Response<wire::ReplaceReply>, Status> {
        Ok(Response::new(wire::ReplaceReply { replacement: 4, state: "catching up".into() }))
    }

    async fn lost_songs(
        &self,
        request: Request<wire::LostSongsRequest>,
    ) -> Result<Response<wire::LostSongsReply>, Status> {
        let mark = request.into_inner().mark;
        let song = wire::LostSong {
            id: vec![9; 32],
            title: "gone".into(),
            marked: mark == [9; 32],
            ..Default::default()
        };
        Ok(Response::new(wire::LostSongsReply { songs: vec![song] }))
    }

    async fn snapshot(
        &self,
        _: Request<wire::SnapshotRequest>,
    ) -> Result<Response<wire::SnapshotReply>, Status> {
        Ok(Response::new(wire::SnapshotReply { index: 7 }))
    }
}
