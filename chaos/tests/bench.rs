//! What a load generator that only fills numbers into a fixed request needs: a room, sessions, and whom to kill.
#![allow(clippy::unwrap_used)] // a test may panic

use std::process::{Command, Output};

use jam_chaos::cluster::Cluster;
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::command::Kind;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use tonic::transport::Endpoint;

const ROOM: &str = "BENC-HBEN-CHBE";
const PREFIX: &str = "a-load-generator-";

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jam-chaos")).arg("bench").args(args).output().unwrap()
}

fn prepare(cluster: &Cluster, sessions: &str) {
    let servers = cluster.servers();
    let place = ["prepare", "--servers", &servers, "--room", ROOM];
    let done = bench(&[&place[..], &["--prefix", PREFIX, "--sessions", sessions]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Renames the room in the session of this number; what was refused, if it was.
#[tokio::main(flavor = "current_thread")]
async fn rename(address: String, session: u64) -> Option<String> {
    let channel =
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let rename = Kind::Rename(wire::RenameRoom { name: format!("room {session}") });
    let request = wire::SubmitRequest {
        session: format!("{PREFIX}{session}").into_bytes(),
        number: 1,
        room: ROOM.to_owned(),
        command: Some(wire::Command { kind: Some(rename) }),
        deadline_ms: 0,
    };
    let reply = RoomsClient::new(channel).submit(request).await.unwrap().into_inner();
    reply.rejection.map(|rejection| rejection.code)
}

#[test]
fn a_room_its_sessions_and_its_leader_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), 3).unwrap();
    prepare(&cluster, "0-99,1000");
    prepare(&cluster, "0-99,1000");
    let addresses = [1, 2, 3].map(|node| cluster.address(node));
    for session in [0, 99, 1000] {
        assert_eq!(rename(addresses[0].clone(), session), None);
    }
    assert_eq!(rename(addresses[0].clone(), 100).as_deref(), Some("session_expired"));

    let leader = cluster.wait_for_leader().unwrap();
    let all = ["leader", &addresses[0], &addresses[1], &addresses[2]];
    let said = String::from_utf8(bench(&all).stdout).unwrap();
    assert_eq!(said, format!("{}\n", leader - 1));

    cluster.kill(leader).unwrap();
    prepare(&cluster, "0-199");
    let status = cluster.jam(&["status", ROOM]).unwrap();
    assert_eq!(
        (status["revision"].as_u64(), status["name"].as_str()),
        (Some(4), Some("room 1000"))
    );
}
