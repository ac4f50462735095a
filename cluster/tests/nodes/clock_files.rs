//! Saved clocks that are lost while all nodes are down.

use jam_cluster::time::saved::Files;
use jam_proto::command::Command;
use jam_proto::ids::RoomCode;
use jam_proto::wire::v1::{StatusReply, StatusRequest};

use crate::cluster::{Cluster, Session, create, wait};

async fn status(cluster: &Cluster, room: &RoomCode) -> StatusReply {
    wait("a status", async || {
        let request = StatusRequest { room: room.as_str().to_owned() };
        let (leader, _) = cluster.leader().await;
        Some(cluster.rooms(leader).status(request).await.ok()?.into_inner())
    })
    .await
}

/// Waits until a node has saved that it follows this epoch.
async fn has_saved(cluster: &Cluster, node: usize, epoch: u64) {
    let (files, world) = (Files::of(&cluster.data(node)), jam_world::World::real());
    wait("a saved clock", async || {
        let saved = files.load(world.disk.as_ref()).expect("it can be read")?;
        (saved.epoch == epoch).then_some(())
    })
    .await;
}

fn lose(cluster: &Cluster, nodes: &[usize]) {
    for node in nodes {
        for file in ["clock.json", "clock.synced.json"] {
            std::fs::remove_file(cluster.data(*node).join(file)).expect("it was there");
        }
    }
}

#[tokio::test]
async fn a_leader_without_its_clock_goes_on_with_another_nodes() {
    let mut cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    session.surely(&cluster, &room, Command::Play { entry: None }).await;
    cluster.in_step().await;
    let before = status(&cluster, &room).await;
    // Long after the last command: what the log knows of time is that old.
    has_saved(&cluster, 3, before.epoch).await;
    (1..=3).for_each(|node| cluster.kill(node));
    lose(&cluster, &[1, 2]);
    // The one that knows what time it is serves, and will not be the one that leads.
    cluster.run_with(3, "10000..12000");
    wait("a node", async || cluster.status(3).await.ok()).await;
    cluster.run(1);
    cluster.run(2);
    let (leader, _) = cluster.leader().await;
    assert_ne!(leader, 3);
    let after = status(&cluster, &room).await;
    assert_eq!(after.epoch, before.epoch, "time was continued");
    assert!(after.shared_time > before.shared_time);
}

/// A leader that waits for a voter which is down has passed its read barrier, and has no time of any epoch yet.
#[tokio::test]
async fn a_leader_that_has_not_opened_yet_tells_no_time() {
    let mut cluster = Cluster::start(3, &[]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let before = status(&cluster, &room).await;
    for node in [1, 2] {
        has_saved(&cluster, node, before.epoch).await;
    }
    (1..=3).for_each(|node| cluster.kill(node));
    lose(&cluster, &[1, 2]);
    cluster.run(1);
    cluster.run(2);
    let first = wait("a status", async || {
        for node in [1, 2] {
            let request = StatusRequest { room: room.as_str().to_owned() };
            if let Ok(reply) = cluster.rooms(node).status(request).await {
                return Some(reply.into_inner());
            }
        }
        None
    });
    assert_eq!(first.await.epoch, before.epoch + 1, "no clock is left to go on with");
}
