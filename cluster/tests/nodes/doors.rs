//! Nodes that have a door of their own.

use std::net::TcpListener;

use jam_proto::command::Command;
use jam_proto::wire::peer::v1::HelloRequest;
use jam_proto::wire::peer::v1::peer_client::PeerClient;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::{ClusterStatusRequest, ListRoomsRequest, TransferRequest};
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::cluster::{Cluster, Session, create, wait};

fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("bound").port()).collect()
}

fn channel(port: u16) -> Channel {
    Channel::from_shared(format!("http://127.0.0.1:{port}")).expect("a URI").connect_lazy()
}

/// The flags of a node whose other nodes dial these ports.
fn flags(node: usize, ports: &[u16]) -> Vec<String> {
    let peers: Vec<String> =
        (1..).zip(ports).map(|(n, port)| format!("{n}=127.0.0.1:{port}")).collect();
    vec![
        format!("--peer-listen=127.0.0.1:{}", ports[node - 1]),
        format!("--peers={}", peers.join(",")),
    ]
}

async fn addresses(cluster: &Cluster) -> Vec<(u64, String)> {
    let status = cluster.status(1).await.expect("it answers");
    status.nodes.into_iter().map(|node| (node.id, node.address)).collect()
}

#[tokio::test]
async fn nodes_meet_at_their_own_door_and_nowhere_else() {
    let ports = free_ports(3);
    let mut cluster = Cluster::of_nodes(3, &[]);
    for node in 1..=3 {
        let flags = flags(node, &ports);
        cluster.set_flags(node, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        cluster.run(node);
    }
    let (leader, _) = cluster.leader().await;
    let clients: Vec<(u64, String)> =
        (1..=3).map(|node| (node as u64, cluster.address(node))).collect();
    assert_eq!(addresses(&cluster).await, clients, "clients are told where they are served");

    // Each node passes commands on, follows the leader's time, and asks the others how they are.
    let mut session = Session::open(&cluster, leader % 3 + 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    cluster.in_step().await;
    for node in 1..=3 {
        let play = Command::Play { entry: None };
        let reply = session.once(&cluster, node, &room, play).await.expect("taken");
        assert_eq!(reply.rejection, None);
        let status = cluster.status(node).await.expect("it answers");
        assert!(status.nodes.iter().all(|node| node.alive), "{status:?}");
    }

    // No call of a node is served where clients are, whoever calls; and at the other door none of anybody else's.
    let mut refused = PeerClient::new(cluster.channel(leader));
    let refused = refused.hello(HelloRequest::default()).await.expect_err("not here");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("--peer-listen"), "{}", refused.message());
    let mut marked = Request::new(TransferRequest { to: 0 });
    marked.metadata_mut().insert("jam-forwarded", "1".parse().expect("ASCII"));
    let marked = ClusterClient::new(cluster.channel(leader)).transfer(marked).await;
    assert_eq!(marked.expect_err("not here").code(), Code::PermissionDenied);
    let door = channel(ports[leader - 1]);
    assert!(PeerClient::new(door.clone()).hello(HelloRequest::default()).await.is_ok());
    assert!(
        RoomsClient::new(door).list_rooms(ListRoomsRequest {}).await.is_ok(),
        "from this machine, as a node"
    );

    // The leader dies, and the rest goes on.
    cluster.kill(leader);
    let reply = session.surely(&cluster, &room, Command::Play { entry: None }).await;
    assert_eq!(reply.rejection, None);
}

#[tokio::test]
async fn a_cluster_gets_doors_for_nodes_one_after_the_other() {
    let mut cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    wait("the feature level", async || {
        let status = cluster.status(1).await.ok()?;
        (status.level >= 2).then_some(())
    })
    .await;
    let mut ports: Vec<u16> = (1..=3)
        .map(|node| {
            cluster.address(node).rsplit(':').next().expect("a port").parse().expect("a port")
        })
        .collect();
    for (node, port) in (1..=3).zip(free_ports(3)) {
        ports[node - 1] = port;
        assert!(cluster.stop(node), "node {node} ends well");
        let flags = flags(node, &ports);
        cluster.set_flags(node, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        cluster.run(node);
        cluster.wait_until_ready(node).await;
        // The others reach it at its new door, and so it hears the leader.
        wait("the node among the others", async || {
            let other = node % 3 + 1;
            let status = cluster.status(other).await.ok()?;
            status.nodes.iter().all(|node| node.alive).then_some(())
        })
        .await;
        let reply = session.surely(&cluster, &room, Command::Play { entry: None }).await;
        assert_eq!(reply.rejection, None);
    }
    let status = ClusterClient::new(channel(ports[0])).status(ClusterStatusRequest {}).await;
    let clients = status.expect("it answers").into_inner().nodes;
    let clients: Vec<String> = clients.into_iter().map(|node| node.address).collect();
    assert_eq!(clients, (1..=3).map(|node| cluster.address(node)).collect::<Vec<_>>());
    // They know it by their logs, too.
    for node in 1..=3 {
        cluster.kill(node);
    }
    for node in 1..=3 {
        cluster.run(node);
    }
    let reply = session.surely(&cluster, &room, Command::Play { entry: None }).await;
    assert_eq!(reply.rejection, None);
}
