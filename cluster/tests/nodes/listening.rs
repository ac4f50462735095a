//! Shared time, listeners, and the token.

use jam_proto::command::Command;
use jam_proto::ids::RoomCode;
use jam_proto::wire::v1::time_client::TimeClient;
use jam_proto::wire::v1::{ListRoomsRequest, ListenerReport, StatusRequest, TimeProbe, TimeReply};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming};

use crate::cluster::{Cluster, Session, create, wait};

struct Listener {
    probes: mpsc::Sender<TimeProbe>,
    replies: Streaming<TimeReply>,
    room: RoomCode,
    seq: u64,
}

impl Listener {
    async fn join(cluster: &Cluster, node: usize, room: &RoomCode) -> Self {
        let (probes, outgoing) = mpsc::channel(1);
        let mut client = TimeClient::new(cluster.channel(node));
        let replies = client.sync(ReceiverStream::new(outgoing)).await.expect("a stream");
        Self { probes, replies: replies.into_inner(), room: room.clone(), seq: 0 }
    }

    async fn probe(&mut self) -> TimeReply {
        self.seq += 1;
        let report = Some(ListenerReport {
            room: self.room.as_str().to_owned(),
            user: "ann".to_owned(),
            device: "virtual".to_owned(),
            state: "playing".to_owned(),
            ..Default::default()
        });
        let probe = TimeProbe { seq: self.seq, immediate: self.seq > 1, report };
        self.probes.send(probe).await.expect("taken");
        let reply = self.replies.message().await.expect("answered").expect("a reply");
        assert_eq!(reply.seq, self.seq);
        assert!(reply.received <= reply.sent);
        assert_eq!(reply.leads, reply.commit_index > 0, "only a leader says what is committed");
        reply
    }
}

#[tokio::test]
async fn listeners_are_seen_and_a_room_that_nobody_hears_is_paused() {
    let cluster = Cluster::start(3, &["--unheard-ms", "300"]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let (leader, epoch) = cluster.leader().await;
    let follower = leader % 3 + 1;
    let status = async || {
        let request = StatusRequest { room: room.as_str().to_owned() };
        cluster.rooms(follower).status(request).await.ok().map(|status| status.into_inner())
    };

    let mut listener = Listener::join(&cluster, leader, &room).await;
    let (first, second) = (listener.probe().await, listener.probe().await);
    assert!(first.sent <= second.received, "time goes forward");
    assert_eq!((second.leads, second.epoch, second.error_bound_ns), (true, epoch, 0));
    session.surely(&cluster, &room, Command::Play { entry: None }).await;
    let seen = status().await.expect("a status");
    assert_eq!(seen.listeners.len(), 1);
    assert_eq!(seen.listeners[0].user, "ann");
    assert!(seen.listeners[0].rtt_ns > 0, "measured by the leader");
    assert!(seen.room.expect("the room").playing);

    drop(listener);
    wait("a pause", async || {
        let seen = status().await?;
        assert!(seen.listeners.is_empty());
        let last = seen.room?.last_action?;
        (last.what == "paused_nobody_listening").then_some(())
    })
    .await;
}

#[tokio::test]
async fn followers_keep_the_leaders_time() {
    let cluster = Cluster::start(3, &[]).await;
    let (leader, epoch) = cluster.leader().await;
    let nowhere = RoomCode::from_random(1);
    let mut reference = Listener::join(&cluster, leader, &nowhere).await;
    for node in cluster.up().into_iter().filter(|node| *node != leader) {
        let mut follower = Listener::join(&cluster, node, &nowhere).await;
        // Not a clock test: a loaded machine holds a process up for any time. Only order counts.
        let (before, between) = loop {
            let before = reference.probe().await;
            let between = follower.probe().await;
            if between.epoch == epoch {
                break (before, between);
            }
        };
        let after = reference.probe().await;
        let slack = jam_proto::time::Flicks::from_nanos(between.error_bound_ns).0;
        assert!(!between.leads);
        assert!(between.received + slack >= before.sent, "node {node} is behind");
        assert!(between.sent - slack <= after.received, "node {node} is ahead");
    }
}

#[tokio::test]
async fn a_token_keeps_strangers_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "open-sesame\n").expect("written");
    let flags = ["--token-file", file.to_str().expect("UTF-8")];
    let cluster = Cluster::start_without_waiting(1, &flags);
    let list = async |token: Option<&str>| {
        let mut request = Request::new(ListRoomsRequest {});
        if let Some(token) = token {
            let header = format!("Bearer {token}").parse().expect("a header");
            request.metadata_mut().insert("authorization", header);
        }
        cluster.rooms(1).list_rooms(request).await
    };
    wait("a cluster of one", async || list(Some("open-sesame")).await.ok()).await;
    for wrong in [None, Some("open"), Some("open-sesame-2")] {
        let status = list(wrong).await.expect_err("turned away");
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.metadata().get("jam-error").expect("a code"), "unauthenticated");
    }
    assert!(cluster.page(1, "/livez").starts_with("HTTP/1.1 200"));
    assert!(cluster.page(1, "/readyz?verbose").ends_with("\r\n\r\nready\n"));
    assert!(cluster.page(1, "/metrics").starts_with("HTTP/1.1 401"));
}
