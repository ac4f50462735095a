//! A node that was replaced and comes back with its old disk, and data folders that were copied.

use std::path::Path;

use jam_cluster::formation::StartError;
use jam_cluster::unique::evidence::Unfit;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::ReplaceNode;
use jam_proto::wire::log::v1::log_entry::Op;

use crate::cluster::{Cluster, Node, Options, PATIENCE, start, start_with, wait};

/// A node that listens elsewhere than its peers think.
fn elsewhere() -> Options {
    Options { listen: Some("127.0.0.1:0".to_owned()), ..Options::default() }
}

#[test]
fn a_replaced_node_that_returns_with_its_old_disk_ends() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..5);
    cluster.all_have(5);
    cluster.kill(3);
    let old = cluster.folder.path().join("old");
    wait("the folder", || std::fs::rename(cluster.data(3), &old).is_ok());
    let leader = &cluster.nodes[&cluster.leader()];
    let replace = Op::ReplaceNode(ReplaceNode { node: 3, holder: 3 });
    let outcome = leader.block_on(leader.group.propose(replace, PATIENCE));
    let Ok(Outcome::Node(by)) = outcome else { panic!("{outcome:?}") };

    // As long as its replacement only waits, its vote is needed.
    let returned = start(3, cluster.peers.clone(), &old).expect("it is a member");
    cluster.kill(2);
    cluster.register(5..8);
    cluster.start([2]).expect("it resumes");
    drop(returned);

    cluster.start([3]).expect("it is waited for");
    wait("the new node to vote", || {
        cluster.nodes.values().all(|node| {
            let members = node.group.standing().members;
            members.iter().any(|member| member.id == by && member.voter) && members.len() == 3
        })
    });
    let replaced = Unfit::Replaced { node: 3, place: 3, by }.to_string();
    assert_eq!(end_of(&cluster, &old), replaced);

    // Where nobody answers it starts, and ends once somebody does.
    for place in 1..=3 {
        cluster.kill(place);
    }
    let returned = start_with(elsewhere(), 3, cluster.peers.clone(), &old).expect("nobody answers");
    cluster.start([1, 3]).expect("they resume");
    wait("the replaced node to end", || returned.group.failure().is_some());
    assert_eq!(returned.group.failure(), Some(replaced));
    drop(returned);
    cluster.register(8..12);
    cluster.all_have(12);
}

#[test]
fn of_a_data_folder_and_its_copy_the_one_that_runs_stays() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..5);
    cluster.all_have(5);
    cluster.kill(3);
    let copy = cluster.folder.path().join("copy");
    copy_folder(&cluster.data(3), &copy);

    // The original answers at its address.
    cluster.start([3]).expect("it resumes");
    assert_is_copy(&end_of(&cluster, &copy));

    // The copy began first, where nobody looks for it: peers tell the original.
    cluster.kill(3);
    let runs = start_with(elsewhere(), 3, cluster.peers.clone(), &copy).expect("it is alone");
    cluster.start([3]).expect("nothing is known of the copy's process yet but that it was there");
    ends_as_a_copy(&cluster.nodes[&3]);
    assert_eq!(runs.group.failure(), None);
    cluster.kill(3);
    cluster.register(5..8);
    drop(runs);

    // The copy takes the original's address while that is stopped: it is the node from then on.
    let moved = start(3, cluster.peers.clone(), &copy).expect("it is alone");
    cluster.kill(1);
    cluster.nodes.insert(3, moved);
    cluster.register(8..12);
    cluster.start([1]).expect("it resumes");
    cluster.all_have(12);
    assert_is_copy(&end_of(&cluster, &cluster.data(3)));
    assert!(cluster.nodes.values().all(|node| node.group.failure().is_none()));
}

fn ends_as_a_copy(node: &Node) {
    wait("the copy to end", || node.group.failure().is_some());
    assert_is_copy(&node.group.failure().expect("waited for"));
}

fn assert_is_copy(said: &str) {
    assert!(said.contains("runs as node 3") && said.contains("Remove the copy"), "{said}");
}

/// What a node of place 3 says when it ends, which listens elsewhere: at its start, or soon after if its peers had no time for it.
fn end_of(cluster: &Cluster, data: &Path) -> String {
    match start_with(elsewhere(), 3, cluster.peers.clone(), data) {
        Err(StartError::Unfit(unfit)) => unfit.to_string(),
        Err(other) => panic!("{other}"),
        Ok(node) => {
            wait("the node to end", || node.group.failure().is_some());
            node.group.failure().expect("waited for")
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copied");
        }
    }
}
