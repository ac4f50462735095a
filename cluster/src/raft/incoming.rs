//! What other nodes ask of this one's Raft: each call is checked before Raft hears of it.
//!
//! A call has to be meant for this node's cluster, id and data folder, and to come from a node that may be a member. What it
//! says of terms and log ids has to be possible. Raft sorts out the rest.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use jam_proto::wire::peer::v1::{PeerHeader, RaftMessage};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::bounds::{Bounds, OutOfBounds};
use super::handle::Handle;
use super::incoming_snapshot::check_content;
use super::link;
use super::network::{SnapshotHead, decode, encode};
use super::types::{Snapshot, Types};

/// A sender that repeats what is refused fills no log.
const REFUSAL_LOGGED_EVERY: Duration = Duration::from_secs(60);
/// A transfer that the leader asked for counts for so many election timeouts.
const ELECTIONS_PER_TRANSFER: u32 = 4;

/// Logs what was not passed to Raft, once a minute.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Option<Instant>>);

impl Refusals {
    fn refuse(&self, refusal: OutOfBounds) -> Status {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= REFUSAL_LOGGED_EVERY) {
            *logged = Some(Instant::now());
            tracing::warn!(%refusal, "a message of another node was refused");
        }
        refusal.into()
    }
}

impl Handle {
    /// Who calls, if that node may call this one.
    pub fn caller(&self, metadata: &MetadataMap) -> Result<PeerHeader, Status> {
        let header = link::check(metadata, &self.own, |id| self.node(id))?;
        self.check_sender(&header)?;
        Ok(header)
    }

    /// Checks what the membership and the log say of a caller now. They may change while a stream is open.
    fn check_sender(&self, header: &PeerHeader) -> Result<(), Status> {
        let from = header.from;
        if from == 0 || self.own.node == Some(from) {
            let message = format!("a call in the name of node {from} can't come from there");
            return Err(Status::failed_precondition(message));
        }
        let incarnation = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.get_node(&from).map(|node| node.incarnation)
        };
        match incarnation {
            Some(incarnation) if incarnation[..] != header.from_incarnation[..] => {
                Err(Status::failed_precondition(format!(
                    "node {from} came back with another data folder; replace it"
                )))
            }
            None if self.state.read().shard.is_superseded(from) => {
                Err(Status::failed_precondition(format!(
                    "node {from} was replaced and is out of the cluster; stop it"
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Passes a message that was checked, or tells why not.
    fn check(
        &self,
        header: &PeerHeader,
        check: impl FnOnce(&Bounds) -> Result<(), OutOfBounds>,
    ) -> Result<(), Status> {
        self.check_sender(header)?;
        let bounds = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let (own_term, committed) = (metrics.current_term, metrics.local_committed);
            Bounds { from: header.from, own_term, committed }
        };
        check(&bounds).map_err(|refusal| self.refusals.refuse(refusal))?;
        self.reach.note(header.from, Instant::now());
        Ok(())
    }

    /// Notes that a leader was heard, unless it has no lease, or another one was elected since: then it does not lead any more.
    fn note_leader(&self, request: &AppendEntriesRequest<Types>, lacks_lease: bool) {
        let known = self.raft.server_metrics().borrow_watched().vote.leader_id.term;
        if request.vote.leader_id.term >= known && !lacks_lease {
            let committed = request.leader_commit.map_or(0, |committed| committed.index);
            self.heard.note_leader(Instant::now(), committed);
        }
    }

    /// A candidate asks for a vote.
    pub async fn vote(
        &self,
        from: &PeerHeader,
        request: &RaftMessage,
    ) -> Result<RaftMessage, Status> {
        let mut request: VoteRequest<Types> = decode(request)?;
        self.check(from, |bounds| bounds.candidate(&request))?;
        // Whoever was not asked by the leader gets a vote as anybody else does: once the lease has run out.
        request.leadership_transfer = request.leadership_transfer
            && self.transfers.is_announced(&request.vote, self.timing.lease() / 2).await;
        encode(&self.raft.vote(request).await.map_err(stopped)?)
    }

    /// A follower asks whether it would get a vote.
    pub async fn pre_vote(
        &self,
        from: &PeerHeader,
        request: &RaftMessage,
    ) -> Result<RaftMessage, Status> {
        let request: VoteRequest<Types> = decode(request)?;
        self.check(from, |bounds| bounds.candidate(&request))?;
        encode(&self.raft.pre_vote(request).await.map_err(stopped)?)
    }

    /// A leader's heartbeat.
    pub async fn append(
        &self,
        from: &PeerHeader,
        request: &RaftMessage,
    ) -> Result<RaftMessage, Status> {
        let lacks_lease = request.leader_lacks_lease;
        let request: AppendEntriesRequest<Types> = decode(request)?;
        self.check(from, |bounds| bounds.append(&request))?;
        self.note_leader(&request, lacks_lease);
        encode(&self.raft.append_entries(request).await.map_err(stopped)?)
    }

    /// A leader's log entries, pipelined. A message that can't be read or is refused ends the stream, with the reason.
    pub fn stream_append(
        self: &Arc<Self>,
        from: PeerHeader,
        requests: impl Stream<Item = RaftMessage> + Send + 'static,
    ) -> impl Stream<Item = Result<RaftMessage, Status>> + Send + 'static {
        let reason = Arc::<Mutex<Option<Status>>>::default();
        let (this, refused) = (self.clone(), reason.clone());
        let checked = requests.scan((), move |(), request| {
            let lacks_lease = request.leader_lacks_lease;
            let request = decode::<AppendEntriesRequest<Types>>(&request).and_then(|request| {
                this.check(&from, |bounds| bounds.append(&request))?;
                this.note_leader(&request, lacks_lease);
                Ok(request)
            });
            let request = request.map_err(|status| {
                *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
            });
            future::ready(request.ok())
        });
        let answers = self.raft.stream_append(checked);
        let answers = answers.map(|answer| encode(&answer.map_err(stopped)?));
        let last = stream::once(async move {
            reason.lock().unwrap_or_else(PoisonError::into_inner).take().map(Err)
        });
        answers.chain(last.filter_map(future::ready))
    }

    /// A leader's snapshot: its head, then its bytes.
    pub async fn install_snapshot(
        &self,
        from: &PeerHeader,
        mut parts: impl Stream<Item = Result<Part, Status>> + Send + Unpin,
    ) -> Result<RaftMessage, Status> {
        let incoming = self.snapshots.begin()?;
        let head = match incoming.next(&mut parts).await? {
            Some(Part::Head(head)) => head,
            Some(Part::Bytes(_)) | None => {
                return Err(Status::invalid_argument("a snapshot begins with what it covers"));
            }
        };
        let head: SnapshotHead = postcard::from_bytes(&head).map_err(|error| {
            Status::invalid_argument(format!("a snapshot's head that can't be read: {error}"))
        })?;
        self.check(from, |bounds| bounds.snapshot(&head.vote, &head.meta))?;
        let body = incoming.receive(head.bytes, parts).await?;
        let content = body.clone();
        let checking = self.snapshots.world.blocking(move || check_content(content)).await;
        checking
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(Status::invalid_argument)?;
        // It took its time: what it is measured by may have changed.
        self.check(from, |bounds| bounds.snapshot(&head.vote, &head.meta))?;
        let snapshot = Snapshot { meta: head.meta, snapshot: body };
        encode(&self.raft.install_full_snapshot(head.vote, snapshot).await.map_err(stopped)?)
    }

    /// The leader hands over, to this node or another.
    pub async fn transfer_leader(
        &self,
        from: &PeerHeader,
        request: &RaftMessage,
    ) -> Result<RaftMessage, Status> {
        let request: TransferLeaderRequest<Types> = decode(request)?;
        self.check(from, |bounds| bounds.transfer(&request))?;
        self.announce_transfer(&request);
        encode(&self.raft.handle_transfer_leader(request).await.map_err(stopped)?)
    }

    fn announce_transfer(&self, request: &TransferLeaderRequest<Types>) {
        let leader = *request.from_leader();
        if self.raft.metrics().borrow_watched().vote == leader {
            let lasts = self.timing.lease() * ELECTIONS_PER_TRANSFER;
            self.transfers.announce(leader, *request.to_node_id(), lasts);
        }
    }

    /// This node leads, and hands over to the node `to`.
    pub fn announce_own_transfer(&self, to: u64) {
        let vote = self.raft.metrics().borrow_watched().vote;
        self.announce_transfer(&TransferLeaderRequest::new(vote, to, None));
    }
}

/// A part of a snapshot on its way.
#[derive(Clone, Debug)]
pub enum Part {
    /// An encoded [`SnapshotHead`].
    Head(Bytes),
    /// Its next bytes.
    Bytes(Bytes),
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("Raft has stopped here: {error}"))
}
