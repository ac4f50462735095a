//! Three nodes in one process, over real loopback sockets and real stores: forming, leader change,
//! restarts, snapshots to a node that lags, and the replacement of a node.
//!
//! Each node has a runtime of its own, and is killed by dropping it: nothing is said or flushed.
#![allow(clippy::disallowed_methods)]

mod cluster;
mod forged;
mod levels;
mod replacing;
mod unique;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use cluster::{Cluster, PATIENCE, TTL, register, start, wait};
use jam_cluster::formation::StartError;
use jam_cluster::identity::{Folder, Id, Stage, Step};
use jam_cluster::shard::ProposeError;
use jam_proto::limits::OPERATION_BYTES_MAX;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{RegisterTrack, ReplaceNode};
use jam_world::World;

#[test]
fn three_nodes_survive_their_leader_and_themselves() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..20);
    cluster.all_have(20);
    let ids: Vec<_> = cluster.nodes.values().map(|node| node.group.cluster_id()).collect();
    assert!(ids.iter().all(|id| id == &ids[0]));

    // What is too large for one operation does not get into the log.
    let leader = &cluster.nodes[&cluster.leader()];
    let mut large = register(1000);
    let Op::RegisterTrack(RegisterTrack { track: Some(track), .. }) = &mut large else {
        panic!("it registers a track");
    };
    track.title = "x".repeat(OPERATION_BYTES_MAX);
    let refused = leader.block_on(leader.group.propose(large, TTL));
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");

    // Leadership is handed over on request.
    let first = cluster.leader();
    let to = 1 + first % 3;
    let leader = &cluster.nodes[&first];
    leader.block_on(leader.group.transfer(to, PATIENCE)).expect("it hands over");
    cluster.register(20..30);

    // The leader is killed: another leads in a higher term, and nothing is lost.
    let killed = cluster.leader();
    let term = cluster.nodes[&killed].group.standing().term;
    cluster.kill(killed);
    cluster.register(30..40);
    let next = &cluster.nodes[&cluster.leader()];
    assert!(next.group.standing().term > term);
    next.block_on(next.group.read_barrier(TTL)).expect("a leader with a majority");
    cluster.all_have(40);

    // Without a majority every proposal is refused, and none of them ever shows up.
    let left = cluster.leader();
    let other = *cluster.nodes.keys().find(|&&place| place != left).expect("two run");
    cluster.kill(other);
    let alone = &cluster.nodes[&left];
    wait("the lease to run out", || !alone.group.standing().leads_with_lease);
    let mut refused = 0;
    wait("refusals", || {
        match alone.block_on(alone.group.propose(alone.register(1000), TTL)) {
            Err(ProposeError::NoQuorum | ProposeError::NotLeader { .. }) => refused += 1,
            // Taken just before the refusals began, and never committed: the next leader drops it, or keeps it.
            Err(ProposeError::Unknown) => {}
            other => panic!("{other:?}"),
        }
        refused == 10
    });
    assert!(alone.block_on(alone.group.read_barrier(TTL)).is_err());

    // All are killed, all come back.
    cluster.kill(left);
    cluster.start(1..=3).expect("they resume");
    cluster.register(40..50);
    let tracks = cluster.nodes[&cluster.leader()].tracks();
    assert!((50..=51).contains(&tracks), "{tracks}");
    cluster.all_have(tracks);

    // One that shuts down says so first; the others go on.
    let leader = cluster.leader();
    let node = cluster.nodes.remove(&leader).expect("it runs");
    node.block_on(node.group.shutdown());
    assert!(matches!(
        node.block_on(node.group.propose(node.register(2000), TTL)),
        Err(ProposeError::Stopped(_))
    ));
    drop(node);
    cluster.register(50..51);
}

#[test]
fn a_node_that_lags_gets_a_snapshot_and_a_lost_one_is_replaced() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..5);
    cluster.kill(3);
    cluster.register(5..250);
    cluster.start([3]).expect("it resumes");
    cluster.all_have(250);
    assert!(cluster.nodes[&3].sink.replaced.load(Ordering::Relaxed) > 0, "no snapshot came");

    // Its disk is lost.
    cluster.kill(3);
    wait("the folder", || {
        std::fs::remove_dir_all(cluster.data(3)).is_ok() || !cluster.data(3).exists()
    });
    let refusal = cluster.start([3]).expect_err("an empty folder is no member");
    assert!(matches!(refusal, StartError::Replaced { place: 3, .. }), "{refusal}");
    assert!(refusal.to_string().contains("cluster replace 3"), "{refusal}");

    let leader = &cluster.nodes[&cluster.leader()];
    let replace = Op::ReplaceNode(ReplaceNode { node: 3, holder: 3 });
    let outcome = leader.block_on(leader.group.propose(replace, PATIENCE));
    let Ok(Outcome::Node(replacement)) = outcome else { panic!("{outcome:?}") };
    assert!(replacement > 3);
    cluster.start([3]).expect("it is waited for");
    wait("the new node to vote", || {
        let members = cluster.nodes[&cluster.leader()].group.standing().members;
        let voters: Vec<_> =
            members.iter().filter(|member| member.voter).map(|member| member.id).collect();
        voters == [1, 2, replacement] && members.len() == 3
    });
    cluster.all_have(250);

    // Its vote counts, and it is still itself after a restart.
    cluster.kill(1);
    cluster.register(250..255);
    cluster.kill(3);
    cluster.start([3]).expect("it resumes");
    cluster.register(255..260);
    cluster.all_have(260);
    assert_eq!(cluster.nodes[&3].group.standing().id, replacement);
}

#[test]
fn a_cluster_forms_only_when_all_are_there() {
    let mut cluster = Cluster::new(3);
    let waiting = [1, 2].map(|place| {
        let (peers, data) = (cluster.peers.clone(), cluster.data(place));
        std::thread::spawn(move || start(place, peers, &data))
    });
    wait("the folders", || {
        [1, 2].iter().all(|&place| cluster.data(place).join("identity.json").exists())
    });
    assert!(waiting.iter().all(|thread| !thread.is_finished()));
    cluster.start([3]).expect("now they form");
    for (place, thread) in (1..).zip(waiting) {
        cluster.nodes.insert(place, thread.join().expect("no panic").expect("it forms"));
    }
    cluster.register(0..3);
    cluster.all_have(3);
}

#[test]
fn a_founder_that_crashed_goes_on_forming() {
    let mut cluster = Cluster::new(3);
    let id = Id::random();
    // What a crash leaves after one of the two peers was adopted.
    for (place, stage) in [(1, Stage::Forming), (2, Stage::Joining)] {
        let folder = Folder::open(&World::real(), &cluster.data(place), place).expect("a folder");
        folder.step(|_| Some(Step::Into { stage, cluster: id, node: place })).expect("a step");
    }
    cluster.start(1..=3).expect("they form");
    cluster.register(0..3);
    cluster.all_have(3);
    assert!(cluster.nodes.values().all(|node| node.group.cluster_id() == id));
    wait("all to be members", || {
        cluster.nodes.values().all(|node| node.group.stage() == Stage::Member)
    });

    // Another folder's node is not taken for the one that was lost: it is told what to do.
    cluster.kill(2);
    let lost = cluster.folder.path().join("elsewhere");
    wait("the folder", || std::fs::rename(cluster.data(2), &lost).is_ok());
    let refusal = cluster.start([2]).expect_err("it was a member");
    assert!(matches!(refusal, StartError::Replaced { place: 2, .. }), "{refusal}");
}

#[test]
fn one_node_is_a_cluster_too() {
    let mut cluster = Cluster::new(1);
    cluster.start([1]).expect("it forms");
    cluster.register(0..150);
    let node = &cluster.nodes[&1];
    let snapshot = node.block_on(node.group.snapshot()).expect("a snapshot");
    assert!(snapshot >= 150);
    // The second one is asked for while the first one is built, and the first one lacks what came in between.
    cluster.register(150..151);
    let (first, second) = node.block_on(async {
        tokio::join!(node.group.snapshot(), async {
            node.group.propose(node.register(151), PATIENCE).await.expect("it is committed");
            node.group.snapshot().await
        })
    });
    assert!(first.expect("a snapshot") < second.expect("a newer one"));
    cluster.kill(1);
    cluster.start([1]).expect("it resumes");
    cluster.register(152..153);
    cluster.all_have(153);
}

/// It can't tell the end of its journal from a write that was torn, and lacks entries that it had acknowledged.
#[test]
fn a_follower_whose_journal_lost_its_end_is_sent_it_again() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..30);
    cluster.all_have(30);
    let leader = cluster.leader();
    let follower = leader % 3 + 1;
    cluster.kill(follower);
    forget_the_end(&newest_journal(&cluster.data(follower)));
    cluster.start([follower]).expect("it resumes");
    cluster.register(30..40);
    cluster.all_have(40);
    assert_eq!(cluster.leader(), leader, "to find that out costs no leader");
}

fn newest_journal(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data.join("raft")).expect("a store").flatten();
    let journals = files.filter(|file| file.file_name().to_string_lossy().starts_with("journal."));
    let changed = |file: &std::fs::DirEntry| file.metadata().and_then(|meta| meta.modified()).ok();
    journals.max_by_key(changed).expect("a journal").path()
}

/// The last thousand bytes of what it holds; a journal is longer than that.
fn forget_the_end(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a file");
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("something");
    bytes[last - 1000..=last].fill(0);
    std::fs::write(path, bytes).expect("written");
}
