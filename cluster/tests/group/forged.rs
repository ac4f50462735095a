//! Messages that no node of the cluster sent, or none that may still send them. Whoever sends them knows the cluster's id, its
//! members, and their data folders.

use bytes::Bytes;
use jam_cluster::identity::{Id, Identity};
use jam_cluster::raft::addresses::Addresses;
use jam_cluster::raft::bounds::{TERM_MAX, TERMS_AHEAD_MAX};
use jam_cluster::raft::handle::Timing;
use jam_cluster::raft::link::{HEADER_KEY, header};
use jam_cluster::raft::network::{SnapshotHead, decode, encode};
use jam_cluster::raft::types::{
    Entry, LogId, PeerNode, SnapshotMeta, StoredMembership, Types, Vote,
};
use jam_cluster::shard::TransferError;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::ReplaceNode;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::peer::v1::peer_client::PeerClient;
use jam_proto::wire::peer::v1::{RaftMessage, SnapshotChunk};
use openraft::Membership;
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest, VoteResponse};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::cluster::{Cluster, PATIENCE, TTL, wait};

/// Somebody who says to be the node `own`, and calls the node `to`.
struct Forger {
    own: Identity,
    to: u64,
    node: PeerNode,
    client: PeerClient<Channel>,
}

impl Forger {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert_bin(HEADER_KEY, header(&self.own, self.to, &self.node));
        request
    }

    async fn vote(&self, request: &VoteRequest<Types>) -> Result<VoteResponse<Types>, Status> {
        let answer = self.client.clone().vote(self.request(encode(request)?)).await?;
        decode(&answer.into_inner())
    }

    async fn pre_vote(&self, request: &VoteRequest<Types>) -> Result<RaftMessage, Status> {
        let answer = self.client.clone().pre_vote(self.request(encode(request)?)).await?;
        Ok(answer.into_inner())
    }

    async fn append(&self, request: &AppendEntriesRequest<Types>) -> Result<RaftMessage, Status> {
        let answer = self.client.clone().append(self.request(encode(request)?)).await?;
        Ok(answer.into_inner())
    }

    async fn stream(&self, request: &AppendEntriesRequest<Types>) -> Result<(), Status> {
        let messages = tokio_stream::iter([encode(request)?]);
        let answers = self.client.clone().stream_append(self.request(messages)).await?;
        answers.into_inner().message().await.map(drop)
    }

    async fn hand_over(
        &self,
        request: &TransferLeaderRequest<Types>,
    ) -> Result<RaftMessage, Status> {
        let answer = self.client.clone().transfer_leader(self.request(encode(request)?)).await?;
        Ok(answer.into_inner())
    }

    async fn install(&self, head: &SnapshotHead, body: &'static [u8]) -> Result<(), Status> {
        let messages = [head_chunk(head), chunk(body)];
        let call = self.request(tokio_stream::iter(messages));
        self.client.clone().install_snapshot(call).await.map(drop)
    }
}

fn head_chunk(head: &SnapshotHead) -> SnapshotChunk {
    let head = postcard::to_stdvec(head).expect("it encodes");
    SnapshotChunk { head: head.into(), ..SnapshotChunk::default() }
}

fn chunk(body: &'static [u8]) -> SnapshotChunk {
    SnapshotChunk { data: Bytes::from_static(body), ..SnapshotChunk::default() }
}

impl Cluster {
    /// The incarnation of the folder at `place`.
    fn incarnation(&self, place: u64) -> Id {
        let text = std::fs::read_to_string(self.data(place).join("identity.json"));
        let identity: Identity =
            serde_json::from_str(&text.expect("a folder")).expect("an identity");
        identity.incarnation
    }

    /// Somebody who says to be the node `from` with that folder, and calls the node at the place `to`.
    fn forger(&self, from: u64, incarnation: Id, to: u64) -> Forger {
        let callee = &self.nodes[&to];
        let cluster = Some(callee.group.cluster_id());
        let mut own = Identity::fresh(from);
        (own.cluster, own.node, own.incarnation) = (cluster, Some(from), incarnation);
        let address = self.peers[&to].clone();
        let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
        let addresses = Addresses::one(address);
        let node = PeerNode { addresses, place: to, incarnation: self.incarnation(to).0 };
        // Its connection lives on the callee's runtime.
        let client = callee.block_on(async { PeerClient::new(channel.connect_lazy()) });
        Forger { own, to: callee.group.standing().id, node, client }
    }
}

fn heartbeat(vote: Vote) -> AppendEntriesRequest<Types> {
    AppendEntriesRequest { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None }
}

fn snapshot_of(vote: Vote, last: LogId, bytes: u64) -> SnapshotHead {
    let membership = Membership::new_with_defaults(vec![[1, 2, 3].into()], []);
    let last_membership = StoredMembership::new(Some(last), membership);
    SnapshotHead { vote, meta: SnapshotMeta { last_log_id: Some(last), last_membership }, bytes }
}

fn code<T>(answer: Result<T, Status>) -> Option<Code> {
    answer.err().map(|status| status.code())
}

#[test]
fn no_message_brings_a_term_that_no_election_reaches() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..3);
    let leader = cluster.leader();
    let before = cluster.nodes[&leader].group.standing().term;
    for place in 1..=3 {
        let forger = cluster.forger(77, Id::random(), place);
        for term in [before + TERMS_AHEAD_MAX + 1000, TERM_MAX, u64::MAX - 1, u64::MAX] {
            let (asks, leads) = (Vote::new(term, 77), Vote::new_committed(term, 77));
            let last = LogId::new(term.into(), 1);
            cluster.nodes[&place].block_on(async {
                let refused = Some(Code::InvalidArgument);
                let mut request = VoteRequest::new(asks, Some(last));
                request.leadership_transfer = true;
                assert_eq!(code(forger.vote(&request).await), refused);
                assert_eq!(code(forger.pre_vote(&request).await), refused);
                assert_eq!(code(forger.append(&heartbeat(leads)).await), refused);
                assert_eq!(code(forger.stream(&heartbeat(leads)).await), refused);
                let transfer = TransferLeaderRequest::new(leads, place, None);
                assert_eq!(code(forger.hand_over(&transfer).await), refused);
                let head = snapshot_of(leads, LogId::new(term.into(), 1 << 20), 7);
                assert_eq!(code(forger.install(&head, b"garbage").await), refused);
            });
        }
    }
    // The nodes live, also once they are started again, and elect as ever.
    cluster.kill(leader);
    cluster.register(3..6);
    cluster.start([leader]).expect("it resumes");
    cluster.all_have(6);
    let term = cluster.nodes[&cluster.leader()].group.standing().term;
    assert!(term < before + 1000, "{term}");
}

#[test]
fn nobody_speaks_for_another_node_and_none_that_was_replaced_speaks() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..3);
    let lost = cluster.leader() % 3 + 1;
    let lost_folder = cluster.incarnation(lost);
    let to = lost % 3 + 1;
    let term = cluster.nodes[&to].group.standing().term;
    let leads = |node| heartbeat(Vote::new_committed(term + 5, node));

    // Of a member, of this node itself, of nobody, and by a member's name with another folder.
    let folder = cluster.incarnation(lost);
    let speaks = |from, incarnation, of| {
        let forger = cluster.forger(from, incarnation, to);
        code(cluster.nodes[&to].block_on(forger.append(&leads(of))))
    };
    assert_eq!(speaks(lost, folder, 77), Some(Code::InvalidArgument));
    assert_eq!(speaks(77, Id::random(), lost), Some(Code::InvalidArgument));
    assert_eq!(speaks(to, cluster.incarnation(to), to), Some(Code::FailedPrecondition));
    assert_eq!(speaks(0, Id::random(), 0), Some(Code::FailedPrecondition));
    assert_eq!(speaks(lost, Id::random(), lost), Some(Code::FailedPrecondition));

    // One whose place has another node in it.
    cluster.kill(lost);
    wait("the folder", || {
        std::fs::remove_dir_all(cluster.data(lost)).is_ok() || !cluster.data(lost).exists()
    });
    let leader = &cluster.nodes[&cluster.leader()];
    let replace = Op::ReplaceNode(ReplaceNode { node: lost, holder: lost });
    let outcome = leader.block_on(leader.group.propose(replace, PATIENCE));
    assert!(matches!(outcome, Ok(Outcome::Node(_))), "{outcome:?}");
    cluster.start([lost]).expect("it is waited for");
    wait("the new node to vote in the other's place", || {
        let members = cluster.nodes[&to].group.standing().members;
        members.iter().all(|member| member.id != lost && member.voter) && members.len() == 3
    });
    let forger = cluster.forger(lost, lost_folder, to);
    let node = &cluster.nodes[&to];
    let refusal = node.block_on(forger.append(&leads(lost))).expect_err("it was replaced");
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(refusal.message().contains("was replaced"), "{refusal}");
    let asks = VoteRequest::new(Vote::new(term + 5, lost), None);
    assert_eq!(code(node.block_on(forger.vote(&asks))), Some(Code::FailedPrecondition));
    cluster.register(3..6);
}

/// The flag goes around the lease in openraft: it counts only for whom the leader named.
#[test]
fn a_transfer_that_the_leader_did_not_ask_for_gets_no_vote() {
    let mut cluster = Cluster::new(3);
    // So that the lease can't run out meanwhile, whatever else the machine does.
    cluster.timing = Timing { election_ms_min: 4_000, election_ms_max: 8_000, ..cluster.timing };
    cluster.start(1..=3).expect("they form");
    cluster.register(0..3);
    cluster.all_have(3);
    let leader = cluster.leader();
    let before = cluster.nodes[&leader].group.standing();
    let from = leader % 3 + 1;
    let to = from % 3 + 1;
    for place in [leader, to] {
        let forger = cluster.forger(from, cluster.incarnation(from), place);
        let last = LogId::new(before.term.into(), 1 << 20);
        let mut request = VoteRequest::new(Vote::new(before.term + 1, from), Some(last));
        request.leadership_transfer = true;
        let answer = cluster.nodes[&place].block_on(forger.vote(&request)).expect("an answer");
        assert!(!answer.vote_granted, "node {place} gave its vote: {answer}");
    }
    let after = cluster.nodes[&leader].group.standing();
    assert_eq!((after.term, after.leader), (before.term, before.leader));
}

#[test]
fn snapshots_that_are_garbage_or_never_end_cost_no_node_anything() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..3);
    let leader = cluster.leader();
    let to = leader % 3 + 1;
    let node = &cluster.nodes[&to];
    let term = node.group.standing().term;
    let forger = cluster.forger(77, Id::random(), to);
    let last = LogId::new(term.into(), 1 << 20);
    let head = |bytes| snapshot_of(Vote::new_committed(term + 1, 77), last, bytes);
    let refused = |head: SnapshotHead, body| code(node.block_on(forger.install(&head, body)));
    assert_eq!(refused(head(7), b"garbage"), Some(Code::InvalidArgument));
    assert_eq!(refused(head(20), b"too short"), Some(Code::InvalidArgument));
    assert_eq!(refused(head(u64::MAX), b""), Some(Code::ResourceExhausted));

    // Those that never end take all the places there are, and give them back.
    let open: Vec<_> = (0..2)
        .map(|_| {
            let (sender, queue) = tokio::sync::mpsc::channel(1);
            sender.blocking_send(head_chunk(&head(100))).expect("room for one");
            let call = forger.request(ReceiverStream::new(queue));
            let mut client = forger.client.clone();
            let calling = async move { client.install_snapshot(call).await.map(drop) };
            (sender, node.runtime.as_ref().expect("it runs").spawn(calling))
        })
        .collect();
    let files = || {
        let folder = cluster.data(to).join("incoming-snapshots");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    };
    wait("both to be under way", || files() == 2);
    assert_eq!(refused(head(7), b"garbage"), Some(Code::ResourceExhausted));
    for (sender, calling) in open {
        drop(sender);
        assert_eq!(code(node.block_on(calling).expect("no panic")), Some(Code::InvalidArgument));
    }
    wait("what they left to be removed", || files() == 0);
    assert_eq!(refused(head(7), b"garbage"), Some(Code::InvalidArgument));
    cluster.register(3..6);
    cluster.all_have(6);
}

#[test]
fn leadership_is_handed_only_to_a_node_that_answers() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..3);
    cluster.all_have(3);
    let leader = cluster.leader();
    let stopped = leader % 3 + 1;
    cluster.kill(stopped);
    let node = &cluster.nodes[&leader];
    let before = node.group.standing();
    let refused = node.block_on(node.group.transfer(stopped, PATIENCE));
    assert_eq!(refused, Err(TransferError::Silent(stopped)));
    let after = node.group.standing();
    assert_eq!((after.term, after.leader), (before.term, before.leader), "it leads on");
    node.block_on(node.group.propose(node.register(3), TTL)).expect("it takes proposals");

    // The one that answers takes over, and is named.
    let to = stopped % 3 + 1;
    assert_eq!(node.block_on(node.group.transfer(to, PATIENCE)), Ok(to));
    cluster.register(4..6);
}

/// An entry of a later term than its leader's, or out of order, would fail assertions in Raft.
#[test]
fn log_entries_that_can_not_be_end_no_node() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..3);
    let leader = cluster.leader();
    let to = leader % 3 + 1;
    let node = &cluster.nodes[&to];
    let term = node.group.standing().term;
    let forger = cluster.forger(77, Id::random(), to);
    let at = |term: u64, index| LogId::new(term.into(), index);
    let vote = Vote::new_committed(term, 77);
    for (prev, id) in [
        (Some(at(term, 1 << 20)), at(term, (1 << 20) + 2)),
        (None, at(term, u64::MAX)),
        (Some(at(term, u64::MAX)), at(term, u64::MAX)),
        (None, at(term + 1, 0)),
        (Some(at(term + 1, 1)), at(term + 1, 2)),
    ] {
        let entries = vec![Entry::new_blank(id)];
        let request = AppendEntriesRequest { prev_log_id: prev, entries, ..heartbeat(vote) };
        let refusal = code(node.block_on(forger.append(&request)));
        assert_eq!(refusal, Some(Code::InvalidArgument), "{request:?}");
    }
    cluster.register(3..6);
    cluster.all_have(6);
}
