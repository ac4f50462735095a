//! Leaders that die, nodes that come back, and a cluster without its majority.

use jam_proto::command::Command;
use jam_proto::wire::v1::StatusRequest;
use rustix::process::Signal;
use tonic::Code;

use crate::cluster::{Cluster, Session, create, wait};
use crate::rooms::{read, watch};

#[tokio::test]
async fn a_killed_leader_loses_nothing_and_time_goes_on() {
    let mut cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let (leader, epoch) = cluster.leader().await;
    let other = leader % 3 + 1;
    let mut known = 0;
    let mut stream = watch(&cluster, other, &room, 0).await;
    let before = session.surely(&cluster, &room, Command::Play { entry: None }).await;
    cluster.in_step().await;

    cluster.kill(leader);
    let after = session.surely(&cluster, &room, Command::Pause { entry: None }).await;
    assert_eq!(after.revision.0, before.revision.0 + 1, "applied once");
    assert!(after.effective_at >= before.effective_at);
    let (next, next_epoch) = cluster.leader().await;
    assert_ne!(next, leader);
    assert_eq!(next_epoch, epoch, "the new leader continues shared time");
    read(&mut stream, &mut known, after.revision.0).await;

    cluster.run(leader);
    cluster.wait_until_ready(leader).await;
    let mut resumed = watch(&cluster, leader, &room, known).await;
    let reply = session.surely(&cluster, &room, Command::Play { entry: None }).await;
    read(&mut resumed, &mut known, reply.revision.0).await;
}

#[tokio::test]
async fn a_frozen_leader_is_passed_by_and_does_not_lie_when_it_thaws() {
    let cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    cluster.in_step().await;
    let (leader, epoch) = cluster.leader().await;
    let other = leader % 3 + 1;
    cluster.signal(leader, Signal::STOP);
    // Passed on to the frozen one, lost there, and done by the next leader: all in one call.
    let reply = session.once(&cluster, other, &room, Command::Play { entry: None }).await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(_) => {
            wait("an outcome", async || {
                session.again(&cluster, other, &room, Command::Play { entry: None }).await.ok()
            })
            .await
        }
    };
    assert_eq!((reply.revision.0, reply.rejection), (2, None));
    cluster.signal(leader, Signal::CONT);
    let request = StatusRequest { room: room.as_str().to_owned() };
    let thawed =
        wait("an answer", async || cluster.rooms(leader).status(request.clone()).await.ok());
    let thawed = thawed.await.into_inner();
    assert_eq!(thawed.room.expect("the room").revision, 2, "nothing older than what is known");
    assert_eq!(cluster.leader().await.1, epoch);
}

#[tokio::test]
async fn without_a_majority_edits_are_refused_and_status_answers() {
    let mut cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let (leader, _) = cluster.leader().await;
    let left = leader % 3 + 1;
    for gone in cluster.up().into_iter().filter(|node| *node != left) {
        cluster.kill(gone);
    }
    // What was on its way when the leader died is unknown; soon after, everything is refused.
    wait("a refusal", async || {
        let play = Command::Play { entry: None };
        let status = session.again(&cluster, left, &room, play).await.err()?;
        assert!(matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded), "{status:?}");
        (status.metadata().get("jam-error")? == "no_quorum").then_some(())
    })
    .await;
    let request = StatusRequest { room: room.as_str().to_owned() };
    let status = cluster.rooms(left).status(request).await.expect_err("no current read");
    assert_eq!(status.metadata().get("jam-error").expect("a code"), "no_quorum");
    let status = cluster.status(left).await.expect("it says what it knows");
    assert_eq!((status.leader, status.nodes.iter().filter(|node| node.alive).count()), (0, 1));
    let mut known = 0;
    read(&mut watch(&cluster, left, &room, 0).await, &mut known, 1).await;

    let gone = leader;
    cluster.run(gone);
    let reply = session.surely(&cluster, &room, Command::Play { entry: None }).await;
    assert_eq!((reply.revision.0, reply.rejection), (2, None), "what was refused was not applied");
}

#[tokio::test]
async fn an_edit_during_an_election_is_done_by_the_next_leader() {
    let mut cluster = Cluster::of_nodes(3, &[]);
    // Long enough for an edit to come in the middle of it.
    (1..=3).for_each(|node| cluster.run_with(node, "1500..2000"));
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let (leader, _) = cluster.leader().await;
    let left = leader % 3 + 1;
    cluster.kill(leader);
    session.advance();
    let play = || Command::Play { entry: None };
    let hurried = async || {
        let refused = session.within(&cluster, left, &room, play(), 100).await.err()?;
        (refused.metadata().get("jam-error")? == "no_leader").then_some(())
    };
    wait("a refusal since nobody leads yet", hurried).await;
    let reply = session.again(&cluster, left, &room, play()).await.expect("a leader takes it");
    assert_eq!((reply.revision.0, reply.rejection), (2, None));
}

#[tokio::test]
async fn a_whole_cluster_comes_back_with_its_rooms() {
    let mut cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let before = session.surely(&cluster, &room, Command::Play { entry: None }).await;
    cluster.in_step().await;
    let (_, epoch) = cluster.leader().await;
    for node in cluster.up() {
        assert!(cluster.stop(node), "SIGTERM ends node {node} well");
    }
    (1..=3).for_each(|node| cluster.run(node));
    let after = session.surely(&cluster, &room, Command::Pause { entry: None }).await;
    assert_eq!(after.revision.0, before.revision.0 + 1);
    assert_eq!(cluster.leader().await.1, epoch, "in one boot, time runs on");
}
