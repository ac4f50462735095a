//! A node that hears no leader says so, wherever it is asked.

use jam_proto::command::Command;
use jam_proto::wire::v1::WatchMessage;
use jam_proto::wire::v1::watch_message::Kind;
use rustix::process::Signal;
use tonic::Streaming;

use crate::cluster::{Cluster, Session, create, wait};
use crate::rooms::{read, watch};

/// The first message of a stream: what it says of the leader, and the last log index applied.
async fn hello(stream: &mut Streaming<WatchMessage>) -> (Option<u64>, u64) {
    match stream.message().await.expect("a stream").expect("a message").kind {
        Some(Kind::Hello(hello)) => (hello.stale_ms, hello.applied),
        other => panic!("no greeting but {other:?}"),
    }
}

/// Reads on until a mark says whether a leader is heard.
async fn until_marked(stream: &mut Streaming<WatchMessage>, stale: bool) {
    loop {
        let message = stream.message().await.expect("a stream that goes on").expect("a message");
        if let Some(Kind::Progress(progress)) = message.kind
            && progress.stale_ms.is_some() == stale
        {
            return;
        }
    }
}

/// The peers of a node stand still. It is cut off from them, and not from its clients.
async fn is_cut_off(cluster: &Cluster, node: usize, session: &mut Session, bits: u64) {
    let room = create(cluster, session, bits).await;
    let mut stream = watch(cluster, node, &room, 0).await;
    let (stale_ms, applied) = hello(&mut stream).await;
    assert_eq!(stale_ms, None, "it hears the leader");
    assert!(applied > 0);
    let peers: Vec<usize> = cluster.up().into_iter().filter(|peer| *peer != node).collect();
    let ready = async |answer: &str| {
        let page = async || cluster.page(node, "/readyz?verbose").contains(answer).then_some(());
        wait(answer, page).await;
    };

    peers.iter().for_each(|peer| cluster.signal(*peer, Signal::STOP));
    ready("[-] quorum: no leader with a lease was heard for ").await;
    assert!(cluster.page(node, "/readyz").starts_with("HTTP/1.1 503"));
    assert!(cluster.page(node, "/metrics").contains("\njam_leader_heard 0\n"));
    until_marked(&mut stream, true).await;
    let (stale_ms, _) = hello(&mut watch(cluster, node, &room, 0).await).await;
    assert!(stale_ms.is_some(), "a new watch starts stale");
    assert_eq!(cluster.status(node).await.expect("it says what it knows").leader, 0);

    peers.iter().for_each(|peer| cluster.signal(*peer, Signal::CONT));
    ready("[+] quorum").await;
    until_marked(&mut stream, false).await;
    let reply = session.surely(cluster, &room, Command::Play { entry: None }).await;
    let mut known = 1;
    read(&mut stream, &mut known, reply.revision.0).await;
}

#[tokio::test]
async fn a_node_without_a_leader_is_not_ready_and_marks_its_streams() {
    let cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let (leader, _) = cluster.leader().await;
    is_cut_off(&cluster, leader % 3 + 1, &mut session, 1).await;
    let (leader, _) = cluster.leader().await;
    is_cut_off(&cluster, leader, &mut session, 2).await;
}
