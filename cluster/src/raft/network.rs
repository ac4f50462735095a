//! Raft's calls to other nodes, over tonic.
//!
//! Log entries flow over one pipelined stream; heartbeats over another, and votes as calls of their
//! own, on a connection of their own, so that no batch of entries delays the proof that the leader lives.

mod pulse;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jam_proto::wire::peer::v1::{RaftMessage, SnapshotChunk};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::bounds::{Bounds, TellsTerm};
use super::contact::Lease;
use super::link::{Lane, Link, Links};
use super::open::Open;
use super::reach::Reach;
use super::types::{PeerNode, Snapshot, SnapshotMeta, Types, Vote};
use crate::identity::Identity;
use pulse::{HEARTBEATS_OPEN_MAX, Pulse};

/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 256 << 10;
/// A follower that stores nothing of what it was sent for this long is treated as unreachable.
/// Far above a slow disk's sync, so that one only slows the log down.
const APPEND_TTL: Duration = Duration::from_secs(2);

/// What the first message of a snapshot says.
#[derive(Serialize, serde::Deserialize)]
pub struct SnapshotHead {
    /// Of the leader that sends it.
    pub vote: Vote,
    /// What it covers.
    pub meta: SnapshotMeta,
    /// Bytes that follow.
    pub bytes: u64,
}

/// A message's body.
pub fn encode<T: Serialize>(message: &T) -> Result<RaftMessage, Status> {
    let body = postcard::to_stdvec(message).map_err(|error| Status::internal(error.to_string()))?;
    Ok(RaftMessage { body: body.into(), leader_lacks_lease: false })
}

/// A leader's heartbeat or log entries, which say whether it has a lease.
fn encode_append(
    request: &AppendEntriesRequest<Types>,
    lease: &Lease,
) -> Result<RaftMessage, Status> {
    Ok(RaftMessage { leader_lacks_lease: lease.is_lost(), ..encode(request)? })
}

/// What a message's body says.
pub fn decode<T: DeserializeOwned>(message: &RaftMessage) -> Result<T, Status> {
    postcard::from_bytes(&message.body).map_err(|error| {
        Status::invalid_argument(format!("a Raft message that can't be read: {error}"))
    })
}

/// Makes the ways from this node to the others.
pub struct Network {
    /// Channels.
    pub links: Links,
    /// Who calls.
    pub own: Identity,
    /// The last term that this node knows.
    pub own_term: OwnTerm,
    /// Learns who answers.
    pub reach: Arc<Reach>,
    /// This node's own, when it leads.
    pub lease: Lease,
}

/// Tells the last term that a node knows.
pub type OwnTerm = Arc<dyn Fn() -> u64 + Send + Sync>;

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> Peer {
        self.peer(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> Peer {
        self.peer(target, node, Lane::Quick)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &PeerNode) -> Peer {
        self.peer(target, node, Lane::Bulk)
    }
}

impl Network {
    fn peer(&self, target: u64, node: &PeerNode, lane: Lane) -> Peer {
        let link = Link::new(self.links.clone(), &self.own, target, node);
        let id = self.own.node.unwrap_or(0);
        let (own_term, reach) = (self.own_term.clone(), self.reach.clone());
        let lease = self.lease.clone();
        Peer { link, lane, id, target, own_term, reach, lease, pulse: None }
    }
}

/// The way to one node.
pub struct Peer {
    link: Link,
    lane: Lane,
    id: u64,
    target: u64,
    own_term: OwnTerm,
    reach: Arc<Reach>,
    lease: Lease,
    /// The stream of heartbeats, while it works.
    pulse: Option<Pulse>,
}

impl Peer {
    fn failed(&self, status: &Status, action: RPCTypes, ttl: Duration) -> RPCError<Types> {
        self.link.log_refusal(status);
        match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => self.timeout(action, ttl),
            // Not there, or not the one that is meant: ask again later, not at once.
            Code::Unavailable
            | Code::FailedPrecondition
            | Code::Unauthenticated
            | Code::InvalidArgument => RPCError::Unreachable(Unreachable::new(status)),
            _ => RPCError::Network(NetworkError::new(status)),
        }
    }

    /// What an answer says, if it can be: a node whose term was forged would hand it on with its answers.
    fn read<A: DeserializeOwned + TellsTerm>(&self, answer: &RaftMessage) -> Result<A, Status> {
        let answer: A = decode(answer)?;
        let bounds = Bounds { from: self.target, own_term: (self.own_term)(), committed: None };
        answer.term().map_or(Ok(()), |term| bounds.term(term))?;
        self.reach.note(self.target, Instant::now());
        Ok(answer)
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> RPCError<Types> {
        RPCError::Timeout(Timeout { action, id: self.id, target: self.target, timeout })
    }

    /// One call and its answer, within `ttl`.
    async fn call<Q: Serialize, A: DeserializeOwned + TellsTerm>(
        &self,
        action: RPCTypes,
        method: Method,
        request: &Q,
        ttl: Duration,
    ) -> Result<A, RPCError<Types>> {
        let call = async {
            let request = self.link.request(encode(request)?, Some(ttl));
            let mut client = self.link.client(Lane::Quick)?;
            let answer = match method {
                Method::Append => client.append(request).await?,
                Method::Vote => client.vote(request).await?,
                Method::PreVote => client.pre_vote(request).await?,
                Method::TransferLeader => client.transfer_leader(request).await?,
            };
            self.read(&answer.into_inner())
        };
        // The deadline in the request covers the wait for the answer, not that for a connection.
        match tokio::time::timeout(ttl, call).await {
            Ok(answer) => answer.map_err(|status| self.failed(&status, action, ttl)),
            Err(_) => Err(self.timeout(action, ttl)),
        }
    }

    async fn open_stream<S>(
        &self,
        mut input: S,
        setup: Duration,
    ) -> Result<
        BoxStream<'static, Result<StreamAppendResult<Types>, RPCError<Types>>>,
        RPCError<Types>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        // Openraft's pause after a failure is in here, in front of its first request: whoever connected before that
        // would call a node that is down again and again, as fast as it can.
        let Some(first) = input.next().await else {
            return Ok(Box::pin(futures_util::stream::empty()));
        };
        let input = futures_util::stream::iter([first]).chain(input);
        let open = Open::default();
        let (opens, lease) = (open.clone(), self.lease.clone());
        let requests = input.filter_map(move |request| {
            opens.asked(&request);
            // Openraft's own types always encode; were it otherwise, the missing answer would end the stream.
            std::future::ready(encode_append(&request, &lease).ok())
        });
        let failed = |status: Status| self.failed(&status, RPCTypes::AppendEntries, setup);
        let mut client = self.link.client(self.lane).map_err(failed)?;
        let opening = client.stream_append(self.link.request(requests, None));
        let opened = tokio::time::timeout(setup, opening).await;
        let opened = opened.map_err(|_| self.timeout(RPCTypes::AppendEntries, setup))?;
        let answers = opened.map_err(failed)?.into_inner();

        let (link, own_term, reach) =
            (self.link.clone(), self.own_term.clone(), self.reach.clone());
        let lease = self.lease.clone();
        let peer = Self { link, own_term, reach, lease, pulse: None, ..*self };
        let state = Some((answers, open, peer));
        let answers = futures_util::stream::unfold(state, |state| async move {
            let (mut answers, open, peer) = state?;
            loop {
                let answer = match tokio::time::timeout(APPEND_TTL, answers.message()).await {
                    Ok(answer) => answer,
                    // Nothing to say while nothing was asked.
                    Err(_) if open.is_empty() => continue,
                    Err(_) => {
                        let silent = peer.timeout(RPCTypes::AppendEntries, APPEND_TTL);
                        return Some((Err(silent), None));
                    }
                };
                match answer.and_then(|answer| answer.map(|answer| peer.read(&answer)).transpose())
                {
                    Ok(None) => return None,
                    Ok(Some(answer)) if open.answered(&answer) => {
                        return Some((Ok(answer), Some((answers, open, peer))));
                    }
                    Ok(Some(_)) => {}
                    Err(status) => {
                        let failed = peer.failed(&status, RPCTypes::AppendEntries, APPEND_TTL);
                        return Some((Err(failed), None));
                    }
                }
            }
        });
        Ok(Box::pin(answers))
    }

    /// One heartbeat and its answer, within `ttl`.
    async fn beat(
        &mut self,
        request: &AppendEntriesRequest<Types>,
        ttl: Duration,
    ) -> Result<StreamAppendResult<Types>, RPCError<Types>> {
        let beating = async {
            if self.pulse.is_none() {
                self.pulse = Some(self.open_pulse().await?);
            }
            let pulse = self.pulse.as_mut().expect("it was opened");
            let answer = pulse.ask(encode_append(request, &self.lease)?).await?;
            self.read(&answer)
        };
        match tokio::time::timeout(ttl, beating).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => {
                self.pulse = None;
                Err(self.failed(&status, RPCTypes::AppendEntries, ttl))
            }
            Err(_) => Err(self.timeout(RPCTypes::AppendEntries, ttl)),
        }
    }

    async fn open_pulse(&self) -> Result<Pulse, Status> {
        let (requests, queue) = mpsc::channel(HEARTBEATS_OPEN_MAX);
        let mut client = self.link.client(self.lane)?;
        let opening = client.stream_append(self.link.request(ReceiverStream::new(queue), None));
        Ok(Pulse { requests, answers: opening.await?.into_inner(), open: 0 })
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
        ttl: Duration,
    ) -> Result<SnapshotResponse<Types>, Status> {
        let Snapshot { meta, snapshot: body } = snapshot;
        let head = postcard::to_stdvec(&SnapshotHead { vote, meta, bytes: body.len() as u64 });
        let head = head.map_err(|error| Status::internal(error.to_string()))?;
        let first = SnapshotChunk { head: head.into(), data: Bytes::new() };
        let offsets = (0..body.len()).step_by(CHUNK_BYTES);
        let rest = offsets.map(move |at| SnapshotChunk {
            head: Bytes::new(),
            data: body.slice(at..body.len().min(at + CHUNK_BYTES)),
        });
        let chunks = futures_util::stream::iter(std::iter::once(first).chain(rest));
        let mut client = self.link.client(Lane::Bulk)?;
        let answer = client.install_snapshot(self.link.request(chunks, Some(ttl))).await?;
        self.read(&answer.into_inner())
    }
}

#[derive(Clone, Copy)]
enum Method {
    Append,
    Vote,
    PreVote,
    TransferLeader,
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.call(RPCTypes::AppendEntries, Method::Append, &request, option.hard_ttl()).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        match self.lane {
            // A heartbeat is one question and one answer.
            Lane::Quick => Box::pin(async move {
                let answer = match input.next().await {
                    Some(request) => Some(self.beat(&request, option.hard_ttl()).await?),
                    None => None,
                };
                let answers: BoxStream<'s, _> =
                    Box::pin(futures_util::stream::iter(answer.map(Ok)));
                Ok(answers)
            }),
            Lane::Log | Lane::Bulk => Box::pin(async move {
                let answers: BoxStream<'s, _> = self.open_stream(input, APPEND_TTL).await?;
                Ok(answers)
            }),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call(RPCTypes::Vote, Method::Vote, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.call(RPCTypes::Vote, Method::PreVote, &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let ttl = option.hard_ttl();
        let sending = tokio::time::timeout(ttl, self.send_snapshot(vote, snapshot, ttl));
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = sending => match sent {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(status)) => Err(streaming(self.failed(&status, RPCTypes::InstallSnapshot, ttl))),
                Err(_) => Err(streaming(self.timeout(RPCTypes::InstallSnapshot, ttl))),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.call(RPCTypes::TransferLeader, Method::TransferLeader, &request, option.hard_ttl())
            .await
    }
}

fn streaming(error: RPCError<Types>) -> StreamingError<Types> {
    match error {
        RPCError::Timeout(error) => StreamingError::Timeout(error),
        RPCError::Unreachable(error) => StreamingError::Unreachable(error),
        RPCError::Network(error) => StreamingError::Network(error),
        RPCError::RemoteError(error) => match error.source {},
    }
}

#[cfg(test)]
mod tests;
