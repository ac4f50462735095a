//! Nodes that take the place of others: what they must hold before they vote, and what becomes of those that are lost
//! before that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use jam_cluster::formation::StartError;
use jam_cluster::raft::handle::Levels;
use jam_cluster::shard::ProposeError;
use jam_proto::level::FeatureLevel;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{RaiseLevel, RegisterTrack, ReplaceNode};
use jam_proto::wire::peer::v1::peer_client::PeerClient;
use jam_proto::wire::peer::v1::{HelloRequest, JoinReply, JoinRequest};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::cluster::{Cluster, Options, PATIENCE, register, start_with, wait};

impl Cluster {
    /// The disk of a node is lost.
    fn wipe(&mut self, place: u64) {
        self.kill(place);
        wait("the folder", || {
            std::fs::remove_dir_all(self.data(place)).is_ok() || !self.data(place).exists()
        });
    }

    /// The leader has the log give a holder's place to a new id.
    fn replace(&self, node: u64, holder: u64) -> u64 {
        let leader = &self.nodes[&self.leader()];
        let op = Op::ReplaceNode(ReplaceNode { node, holder });
        match leader.block_on(leader.group.propose(op, PATIENCE)) {
            Ok(Outcome::Node(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    /// What the leader says to one that wants to join.
    fn join(&self, request: JoinRequest) -> Result<JoinReply, Status> {
        let place = self.leader();
        let (leader, address) = (&self.nodes[&place], format!("http://{}", self.peers[&place]));
        let cluster = leader.group.cluster_id().0.to_vec().into();
        let request = JoinRequest { cluster, ..request };
        leader.block_on(async {
            let mut peer = connect(address).await;
            peer.join(request).await.map(tonic::Response::into_inner)
        })
    }

    fn incarnation_bytes(&self, place: u64) -> Vec<u8> {
        let address = format!("http://{}", self.peers[&place]);
        self.nodes[&place].block_on(async {
            let mut peer = connect(address).await;
            let hello = peer.hello(HelloRequest::default()).await.expect("it answers");
            hello.into_inner().incarnation.to_vec()
        })
    }

    fn voters(&self) -> Vec<u64> {
        let members = self.nodes[&self.leader()].group.standing().members;
        members.iter().filter(|member| member.voter).map(|member| member.id).collect()
    }

    fn until_voting(&self, voters: &[u64]) {
        wait("the new node to vote", || self.voters() == voters);
    }
}

async fn connect(address: String) -> PeerClient<Channel> {
    let endpoint = Endpoint::from_shared(address).expect("an address");
    PeerClient::new(endpoint.connect().await.expect("it serves"))
}

fn joiner(node: u64, incarnation: &[u8]) -> JoinRequest {
    let incarnation = incarnation.to_vec().into();
    JoinRequest { node, place: 3, incarnation, address: "127.0.0.1:1".into(), ..Default::default() }
}

#[test]
fn a_replacement_that_is_lost_before_it_votes_is_replaced_in_turn() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..5);
    cluster.wipe(3);
    let first = cluster.replace(3, 3);
    // It is let in with a folder, and lost.
    let reply = cluster.join(joiner(first, &[7; 16])).expect("it is let in");
    assert!(!reply.voter && !reply.waiting_for.is_empty(), "{reply:?}");

    let refusal = cluster.start([3]).expect_err("another folder has begun with that id");
    assert!(matches!(refusal, StartError::Replaced { place: 3, .. }), "{refusal}");
    assert!(refusal.to_string().contains("cluster replace 3"), "{refusal}");
    let second = cluster.replace(3, first);
    assert!(second > first);
    assert_eq!(cluster.replace(3, first), second, "the same request again");
    cluster.start([3]).expect("it is waited for");
    cluster.until_voting(&[1, 2, second]);

    // The folder that was lost turns up.
    let refused = cluster.join(joiner(first, &[7; 16])).expect_err("too late");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains(&format!("replaced by node {second}")), "{refused}");
    cluster.register(5..8);
    cluster.all_have(8);
}

#[test]
fn a_replacement_that_was_replaced_while_it_was_down_ends_and_says_so() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..5);
    cluster.wipe(3);
    let first = cluster.replace(3, 3);
    // It is let in, and gets no vote.
    let holds_songs =
        || Options { holds_songs: Arc::new(|| Box::pin(async { None })), ..Options::default() };
    let start = |cluster: &mut Cluster| {
        let started = start_with(holds_songs(), 3, cluster.peers.clone(), &cluster.data(3));
        cluster.nodes.insert(3, started.expect("it has begun"));
    };
    start(&mut cluster);
    wait("it to be let in", || {
        let members = cluster.nodes[&cluster.leader()].group.standing().members;
        members.iter().any(|member| member.id == first)
    });
    cluster.kill(3);
    let second = cluster.replace(3, first);

    start(&mut cluster);
    wait("the replaced node to end", || cluster.nodes[&3].group.failure().is_some());
    let said = cluster.nodes[&3].group.failure().expect("waited for");
    assert_eq!(
        said,
        format!(
            "node {first} was replaced by node {second}; move its data folder away and start jamd --id 3 with an empty \
             one"
        )
    );
    cluster.wipe(3);
    cluster.start([3]).expect("it is waited for");
    cluster.until_voting(&[1, 2, second]);

    // Once it votes its vote is needed until a later node has it.
    cluster.replace(3, second);
    let own = joiner(second, &cluster.incarnation_bytes(3));
    assert!(cluster.join(own).expect("it is a voter").voter);
    assert_eq!(cluster.nodes[&3].group.failure(), None);
}

#[test]
fn a_new_node_that_held_all_songs_of_an_older_state_does_not_vote() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..5);
    cluster.wipe(3);
    let node = cluster.replace(3, 3);
    // At first it says that it holds all songs of a state without any.
    let holds_at = Arc::new(AtomicU64::new(0));
    let said = holds_at.clone();
    let holds_songs = Arc::new(move || -> BoxFuture<'static, Option<u64>> {
        let at = said.load(Ordering::Relaxed);
        Box::pin(async move { Some(at) })
    });
    let started = start_with(
        Options { holds_songs, ..Options::default() },
        3,
        cluster.peers.clone(),
        &cluster.data(3),
    );
    cluster.nodes.insert(3, started.expect("it is waited for"));
    cluster.all_have(5);

    let own = joiner(node, &cluster.incarnation_bytes(3));
    let asks = |holds_songs, holds_at| {
        let request = JoinRequest { holds_songs, holds_at, ..own.clone() };
        cluster.join(request).expect("it may ask").waiting_for
    };
    wait("the log to have come", || asks(true, 0) == "songs");
    assert_eq!(asks(false, u64::MAX), "songs");
    assert_eq!(asks(true, 1), "songs");
    assert_eq!(cluster.voters(), [1, 2, 3]);

    let applied = cluster.nodes[&cluster.leader()].group.standing().applied;
    holds_at.store(applied, Ordering::Relaxed);
    cluster.until_voting(&[1, 2, node]);
}

#[test]
fn the_leader_counts_who_holds_a_song() {
    let mut cluster = Cluster::new(3);
    let held_back = Levels { allowed: FeatureLevel::FIRST, ..Levels::default() };
    cluster.start_with(held_back, 1..=3).expect("they form");
    let held_by = |number, holders: &[u64]| {
        let Op::RegisterTrack(one) = register(number) else { panic!("it registers a track") };
        Op::RegisterTrack(RegisterTrack { holders: holders.to_vec(), ..one })
    };
    let propose = |op| {
        let leader = &cluster.nodes[&cluster.leader()];
        leader.block_on(leader.group.propose(op, PATIENCE))
    };
    // Nodes of the release before say nothing of it.
    assert!(matches!(propose(register(0)), Ok(Outcome::Track(_))));
    let raise = RaiseLevel { level: FeatureLevel::GUARDED.0 };
    assert!(matches!(propose(Op::RaiseLevel(raise)), Ok(Outcome::Level(FeatureLevel::GUARDED))));
    for holders in [&[][..], &[2], &[1, 4, 100]] {
        let refused = propose(held_by(1, holders)).expect_err("no majority");
        assert!(matches!(refused, ProposeError::TooFewCopies(_)), "{refused}");
    }
    assert!(matches!(propose(held_by(1, &[1, 3])), Ok(Outcome::Track(_))));
    cluster.all_have(2);
    // The third one's place is given to another node, which does not vote yet.
    cluster.replace(3, 3);
    let refused = propose(held_by(2, &[1, 3])).expect_err("the third one's copy goes with it");
    assert!(matches!(refused, ProposeError::TooFewCopies(_)), "{refused}");
    assert!(matches!(propose(held_by(2, &[1, 2])), Ok(Outcome::Track(_))));
}
