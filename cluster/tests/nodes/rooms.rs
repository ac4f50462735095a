//! Edits, reads and watching through any node.

use jam_proto::command::{Command, Rejection};
use jam_proto::ids::RoomCode;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::watch_message::Kind;
use jam_proto::wire::v1::{
    ListRoomsRequest, OpenSessionRequest, SnapshotRequest, StatusRequest, SubmitRequest,
    TransferRequest, WatchMessage, WatchRequest,
};
use tonic::{Code, Streaming};

use crate::cluster::{Cluster, Session, create, wait};

/// Reads on until `count` events came; every message on the way must fit.
pub async fn read(stream: &mut Streaming<WatchMessage>, known: &mut u64, until: u64) -> bool {
    let mut snapshot = false;
    while *known < until {
        let message = stream.message().await.expect("a stream that goes on").expect("a message");
        match message.kind.expect("a kind") {
            Kind::Snapshot(room) => {
                assert!(room.revision >= *known, "never rewound");
                *known = room.revision;
                snapshot = true;
            }
            Kind::Events(events) => {
                for event in events.events {
                    *known += 1;
                    assert_eq!(event.revision, *known, "each once and in order");
                }
            }
            Kind::Progress(progress) => assert_eq!(progress.revision, *known),
            Kind::Hello(hello) => assert_eq!(hello.cluster_id.len(), 16),
        }
    }
    snapshot
}

pub async fn watch(
    cluster: &Cluster,
    node: usize,
    room: &RoomCode,
    after_revision: u64,
) -> Streaming<WatchMessage> {
    let request =
        || WatchRequest { cluster_id: Vec::new(), room: room.as_str().to_owned(), after_revision };
    wait("a watch", async || cluster.rooms(node).watch(request()).await.ok()).await.into_inner()
}

#[tokio::test]
async fn any_node_takes_any_request() {
    let cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let mut watchers = Vec::new();
    for node in cluster.up() {
        watchers.push((watch(&cluster, node, &room, 0).await, 0));
    }
    for (node, revision) in [(1, 2), (2, 3), (3, 4)] {
        let command =
            if node == 2 { Command::Pause { entry: None } } else { Command::Play { entry: None } };
        let reply = session.once(&cluster, node, &room, command.clone()).await.expect("taken");
        assert_eq!((reply.revision.0, reply.rejection), (revision, None));
        let again = session.again(&cluster, 4 - node, &room, command).await.expect("taken");
        assert_eq!(again.revision.0, revision, "a retry elsewhere changes nothing");
        let request = StatusRequest { room: room.as_str().to_owned() };
        let status = cluster.rooms(node).status(request).await.expect("a status").into_inner();
        assert_eq!(status.room.expect("the room").revision, revision, "what was acknowledged");
        assert_eq!(status.epoch, 1);
    }
    for (stream, known) in &mut watchers {
        read(stream, known, 4).await;
    }
    for node in cluster.up() {
        let mut known = 2;
        let resumed = read(&mut watch(&cluster, node, &room, 2).await, &mut known, 4).await;
        assert!(!resumed, "node {node} has the events and needs no snapshot");
        let list = cluster.rooms(node).list_rooms(ListRoomsRequest {}).await.expect("a list");
        assert_eq!(list.into_inner().rooms.len(), 1);
    }
    let skip = Command::Skip { entry: jam_proto::ids::EntryId(7) };
    let reply = session.once(&cluster, 2, &room, skip).await.expect("judged");
    assert_eq!(reply.rejection, Some(Rejection::NotCurrent { current: None }));
}

#[tokio::test]
async fn a_key_names_a_session_as_well_as_an_id_does() {
    let cluster = Cluster::start(3, &[]).await;
    let key = b"a key of a client's own, 0".to_vec();
    for node in cluster.up() {
        let open = || OpenSessionRequest {
            session: key.clone(),
            user: "ann".to_owned(),
            ..Default::default()
        };
        wait("a session", async || cluster.rooms(node).open_session(open()).await.ok()).await;
        // The same number and command at every node: applied once.
        let create = Command::Create { name: "a room".to_owned() };
        let submit = || SubmitRequest {
            session: key.clone(),
            number: 1,
            room: RoomCode::from_random(1).as_str().to_owned(),
            command: Some(create.to_wire()),
            deadline_ms: 0,
        };
        let taken = async || cluster.rooms(node).submit(submit()).await.ok();
        let reply = wait("an outcome", taken).await.into_inner();
        assert_eq!((reply.revision, reply.rejection), (1, None));
    }
    let short = OpenSessionRequest { session: key[..15].to_vec(), ..Default::default() };
    let status = cluster.rooms(1).open_session(short).await.expect_err("too short");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn refusals_say_which_and_why() {
    let cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 2, 1).await;
    let nowhere = RoomCode::from_random(99);
    for node in cluster.up() {
        let request = StatusRequest { room: nowhere.as_str().to_owned() };
        let status = cluster.rooms(node).status(request).await.expect_err("no room");
        assert_eq!(status.metadata().get("jam-error").expect("a code"), "room_unknown");
        let request = WatchRequest { room: nowhere.as_str().to_owned(), ..Default::default() };
        let status = cluster.rooms(node).watch(request).await.expect_err("no room");
        assert_eq!(status.metadata().get("jam-error").expect("a code"), "room_unknown");
    }
    let long = Command::Create { name: "x".repeat(257) };
    let status = session.once(&cluster, 1, &nowhere, long).await.expect_err("too long");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.metadata().get("jam-error").expect("a code"), "invalid");
    assert!(status.message().contains("256 bytes"), "{}", status.message());
}

#[tokio::test]
async fn operators_move_leadership_and_take_snapshots() {
    let cluster = Cluster::start(3, &[]).await;
    let (leader, _) = cluster.leader().await;
    let to = leader % 3 + 1;
    for asked in cluster.up() {
        let mut client = ClusterClient::new(cluster.channel(asked));
        let reply = client.transfer(TransferRequest { to: to as u64 }).await.expect("handed over");
        assert_eq!(reply.into_inner().leader, to as u64);
        wait("the new leader", async || (cluster.leader().await.0 == to).then_some(())).await;
        let snapshot = client.snapshot(SnapshotRequest {}).await.expect("a snapshot");
        assert!(snapshot.into_inner().index > 0);
    }
}
