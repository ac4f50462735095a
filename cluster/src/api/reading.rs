//! Current reads: what was acknowledged anywhere before one began is in its answer.
//!
//! Of a room's status the leader tells the others only what it alone knows, and how far they must have come: the room is here as
//! well, and may have ten thousand entries.

use std::time::Duration;

use jam_proto::ids::RoomCode;
use jam_proto::shard::Shard;
use jam_proto::time::SharedTime;
use jam_proto::wire::peer::v1::forward_client::ForwardClient;
use jam_proto::wire::peer::v1::{RoomStatusReply, RoomStatusRequest};
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::{ListRoomsRequest, StatusReply, StatusRequest};
use prost::Message as _;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::large::ROOM_FIELD;
use super::rooms::RoomsService;
use crate::answers::Message;
use crate::forward::{Kind, Leader, Way};
use crate::lines::Line;
use crate::links::{Failed, judge};
use crate::refusal::Refusal;

/// A current read that takes longer than this has no use any more.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// Lists that may be on their way from the leader at once: some 3 MB each.
pub const RELAYED_AT_ONCE: usize = 4;
/// What a list from the leader takes, encoded.
const RELAYED_BYTES: usize = 3 << 20;

/// A room's status.
pub enum Known {
    /// But for the room, which this node has once it has come so far.
    But(RoomStatusReply),
    /// All of it, from a leader of a release that tells no less.
    Whole(StatusReply),
}

impl RoomsService {
    pub(super) async fn current_status(&self, room: &RoomCode) -> Result<Known, Refusal> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let attempt = |leader| async {
            match leader {
                Leader::Here => self.status_here(room).await.map(Known::But),
                Leader::There(Way { channel, .. }) => self.status_there(room, channel).await,
            }
        };
        self.forwarder.at_leader(Kind::Read, deadline, attempt).await
    }

    async fn status_there(&self, room: &RoomCode, leader: Channel) -> Result<Known, Failed> {
        let (cluster_id, room) = (self.cluster_id.clone().into(), room.as_str().to_owned());
        let request = RoomStatusRequest { cluster_id, room: room.clone() };
        let request = self.forwarder.links().request(request);
        let mut client = ForwardClient::new(leader.clone());
        match timeout(READ_TIMEOUT, client.status(request)).await {
            Ok(Ok(reply)) => Ok(Known::But(reply.into_inner())),
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                let request = self.forwarder.links().request(StatusRequest { room });
                let mut client =
                    RoomsClient::new(leader).max_decoding_message_size(super::MESSAGE_BYTES_MAX);
                read(client.status(request)).await.map(Known::Whole)
            }
            Ok(Err(status)) => Err(judge(&status)),
            Err(_) => Err(Failed::Lost),
        }
    }

    /// What this node knows of a room as the leader, but for the room.
    pub(crate) async fn status_here(&self, code: &RoomCode) -> Result<RoomStatusReply, Failed> {
        self.barrier().await?;
        let applied = self.group.read_at(|applied, shard| shard.room(code).map(|_| applied));
        let applied = applied.ok_or_else(|| Failed::Refused(Refusal::RoomUnknown(code.clone())))?;
        let Now { leader, term, epoch, shared } = self.time_here()?;
        let listeners = self.presence.listeners(code);
        let shared_time = shared.0;
        let status = StatusReply { room: None, shared_time, leader, term, epoch, listeners };
        Ok(RoomStatusReply { status: Some(status), applied })
    }

    /// The answer to whoever asked for a room's status.
    pub(super) async fn tell(
        &self,
        line: &Line,
        code: &RoomCode,
        known: Known,
    ) -> Result<Message, Refusal> {
        let failed = |error: std::io::Error| Refusal::Internal(error.to_string());
        let but = match known {
            Known::Whole(reply) => {
                let source = line.source(reply.encoded_len()).await;
                return Ok(Message::encoded(reply.encode_to_vec().into(), source));
            }
            Known::But(but) => but,
        };
        let mut applied = self.hub.applied_changes();
        // An error means that the node is ending.
        let _ = applied.wait_for(|applied| *applied >= but.applied).await;
        let rest = but.status.unwrap_or_default().encode_to_vec();
        let find = || self.group.read(|shard| shard.room(code).cloned());
        let made = self.kitchen.with_room(line, find, ROOM_FIELD, rest).await.map_err(failed)?;
        made.map(|(_, message)| message).ok_or_else(|| Refusal::RoomUnknown(code.clone()))
    }

    pub(super) async fn list(&self, line: &Line) -> Result<Message, Refusal> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let attempt = |leader| async {
            match leader {
                Leader::Here => timeout_at(deadline, self.list_here(line)).await,
                Leader::There(Way { channel, .. }) => {
                    timeout_at(deadline, self.list_there(line, channel)).await
                }
            }
            .unwrap_or(Err(Failed::Lost))
        };
        self.forwarder.at_leader(Kind::Read, deadline, attempt).await
    }

    async fn list_there(&self, line: &Line, leader: Channel) -> Result<Message, Failed> {
        let source = line.source(RELAYED_BYTES).await;
        let Ok(_permit) = self.relaying.acquire().await else { return Err(Failed::Lost) };
        let request = self.forwarder.links().request(ListRoomsRequest {});
        let mut client =
            RoomsClient::new(leader).max_decoding_message_size(super::MESSAGE_BYTES_MAX);
        let reply = read(client.list_rooms(request)).await?;
        let encoded = self.kitchen.prepare(move || reply.encode_to_vec()).await;
        let encoded =
            encoded.map_err(|error| Failed::NotTaken(Refusal::Internal(error.to_string())))?;
        Ok(Message::encoded(encoded.into(), source))
    }

    pub(super) async fn list_here(&self, line: &Line) -> Result<Message, Failed> {
        self.barrier().await?;
        let now = self.time_here()?.shared;
        let state = || self.group.read(Shard::clone);
        let made = self.kitchen.list(line, state, now, self.presence.clone()).await;
        made.map_err(|error| Failed::NotTaken(Refusal::Internal(error.to_string())))
    }

    /// Shared time now, of this leader. One whose `ClockEpoch` is not committed yet has no time of any epoch to tell: whoever
    /// asks tries again in a moment.
    fn time_here(&self) -> Result<Now, Failed> {
        let standing = self.group.standing();
        // Until its epoch is committed, a new leader has no time that anybody else knows.
        let led = self.clock.leads_at(standing.term);
        let (epoch, shared) = led.ok_or(Failed::NotTaken(Refusal::NotLeader))?;
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

/// An answer that is not made in time is refused: its connection, or this node, has too many to make.
pub(super) async fn in_time<T>(made: impl Future<Output = T>) -> Result<T, Refusal> {
    timeout(READ_TIMEOUT, made).await.map_err(|_| {
        let busy =
            "this node has too many large answers to make just now; try again, or another node";
        Refusal::Unavailable(busy.to_owned())
    })
}
