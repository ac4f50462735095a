//! A data folder of the release before opens, says the same of its rooms, and rises to this build's feature level.

use std::path::Path;
use std::process::Command;

use jam_proto::level::FeatureLevel;
use jam_proto::wire::v1::{Entry, ListRoomsRequest, StatusRequest};
use serde_json::{Value, json};

use crate::cluster::{Cluster, wait};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/data-of-0.1.tar.gz");

#[tokio::test]
async fn a_folder_of_the_release_before_gives_the_same_rooms() {
    let mut cluster = Cluster::of_nodes(1, &["--renditions", "none"]);
    let data = cluster.data(1);
    unpack(&data);
    cluster.run(1);
    cluster.leader().await;
    let before = std::fs::read(data.join("rooms.json")).expect("what the release said");
    let before: Value = serde_json::from_slice(&before).expect("JSON");
    assert_eq!(rooms(&cluster).await, before);

    wait("the feature level to rise", async || {
        let level = cluster.status(1).await.ok()?.level;
        (level == FeatureLevel::CURRENT.0).then_some(())
    })
    .await;
    // And from a snapshot and a log that hold both levels.
    cluster.kill(1);
    cluster.run(1);
    cluster.leader().await;
    assert_eq!(rooms(&cluster).await, before);
    assert_eq!(cluster.status(1).await.expect("it runs").level, FeatureLevel::CURRENT.0);
}

#[tokio::test]
async fn an_operator_holds_the_level_back() {
    let mut cluster = Cluster::of_nodes(1, &["--level-max", "0"]);
    cluster.run(1);
    cluster.leader().await;
    let refusal = cluster.raise(1, false).await.expect_err("it is held back");
    assert!(refusal.message().contains("feature level 0"), "{refusal}");
    assert_eq!(cluster.status(1).await.expect("it runs").level, 0);
}

fn unpack(data: &Path) {
    std::fs::create_dir(data).expect("a new folder");
    let unpacked = Command::new("tar").arg("-xzf").arg(FIXTURE).arg("-C").arg(data).status();
    assert!(unpacked.expect("tar runs").success());
}

/// As `rooms.json` has them.
async fn rooms(cluster: &Cluster) -> Value {
    let mut client = cluster.rooms(1);
    let listed = client.list_rooms(ListRoomsRequest {}).await.expect("a list").into_inner();
    let mut rooms = Vec::new();
    for summary in listed.rooms {
        let request = StatusRequest { room: summary.code };
        let room = client.status(request).await.expect("a room").into_inner().room.expect("it");
        let entry = |entry: &Entry| json!([entry.id, entry.title, entry.artist, entry.added_by]);
        let queue: Vec<Value> = room.current.iter().chain(&room.upcoming).map(entry).collect();
        rooms.push(json!({
            "room": room.code,
            "name": room.name,
            "revision": room.revision,
            "playing": room.playing,
            "entry": room.current.map(|current| current.id),
            "queue": queue,
        }));
    }
    // The release listed them in the order in which they were made.
    rooms.sort_by_key(|room| std::cmp::Reverse(room["revision"].as_u64()));
    Value::Array(rooms)
}
