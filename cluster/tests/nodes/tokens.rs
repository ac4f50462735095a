//! Peer tokens of a cluster that runs: they come, change and are missed, one node after the other.

use std::path::Path;
use std::process::{Command as Process, Stdio};

use jam_proto::command::Command;
use jam_proto::ids::RoomCode;

use crate::cluster::{Cluster, Session, create, wait};

const OLD: &str = "the-old-token-of-these-nodes";
const NEW: &str = "the-new-token-of-these-nodes";

fn file(folder: &Path, name: &str, tokens: &[&str]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, tokens.join("\n")).expect("a file");
    path.display().to_string()
}

/// Restarts one node after the other with these flags, and has a command acknowledged in between, by way of each node.
async fn roll(cluster: &mut Cluster, flags: &[&str], session: &mut Session, room: &RoomCode) {
    for node in 1..=3 {
        cluster.set_flags(node, flags);
        assert!(cluster.stop(node), "node {node} ends well");
        cluster.run(node);
        cluster.wait_until_ready(node).await;
        let play = Command::Play { entry: None };
        let reply = session.surely(cluster, room, play).await;
        assert_eq!(reply.rejection, None, "{flags:?}");
    }
}

#[tokio::test]
async fn tokens_come_and_change_without_a_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let old = file(folder.path(), "old", &[OLD]);
    let both = file(folder.path(), "both", &["# the second one is on its way", OLD, NEW]);
    let turned = file(folder.path(), "turned", &[NEW, OLD]);
    let new = file(folder.path(), "new", &[NEW]);
    // As from the release before: nodes that have a token and nodes that have none.
    let upgrading = ["--peer-token-file", &old, "--peer-token-optional"];
    roll(&mut cluster, &upgrading, &mut session, &room).await;
    for file in [&old, &both, &turned, &new] {
        roll(&mut cluster, &["--peer-token-file", file], &mut session, &room).await;
    }
    for node in 1..=3 {
        let log = cluster.log(node);
        assert!(!log.contains("refuses this node's calls"), "node {node}: {log}");
        assert!(log.contains("--peer-token-optional: whoever may listen"), "node {node}: {log}");
    }
}

#[tokio::test]
async fn a_node_without_the_token_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start(3, &[]).await;
    let file = file(folder.path(), "token", &[OLD]);
    for node in [1, 2] {
        cluster.set_flags(node, &["--peer-token-file", &file]);
        cluster.stop(node);
    }
    [1, 2].into_iter().for_each(|node| cluster.run(node));
    wait("a sentence in the log", async || {
        let log = cluster.log(3);
        let said = log.contains("another node refuses this node's calls")
            && log.contains("start the node that calls with the --peer-token-file");
        said.then_some(())
    })
    .await;
    wait("a sentence in a log of the others", async || {
        let said = |node| cluster.log(node).contains("refused a call as from another node");
        (said(1) || said(2)).then_some(())
    })
    .await;
}

#[test]
fn a_network_without_a_peer_token_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = file(folder.path(), "token", &["for clients"]);
    let output = Process::new(env!("CARGO_BIN_EXE_jamd"))
        .args(["--id", "1", "--listen", "0.0.0.0:0", "--peers", "1=10.0.0.1:7701"])
        .args(["--token-file", &token])
        .arg("--data")
        .arg(folder.path().join("data"))
        .stdin(Stdio::null())
        .output()
        .expect("jamd starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("without a --peer-token-file"), "{said}");
}
