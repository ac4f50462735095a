//! What nodes log, and that a log that can't be written takes no node down and holds none up.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use jam_proto::command::Command as Edit;
use jam_proto::ids::EntryId;
use jam_proto::wire::v1::ClusterStatusRequest;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::cluster::{Cluster, Session, create, wait};

/// A cluster of one node.
struct Node {
    _folder: TempDir,
    address: String,
    process: Child,
}

impl Node {
    /// Its log goes to `stderr`, with all there is to log.
    fn start(stderr: Stdio) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let folder = tempfile::tempdir().expect("a folder");
        let process = Command::new(env!("CARGO_BIN_EXE_jamd"))
            .args(["--id=1", "--listen", &address, "--peers", &format!("1={address}")])
            .args(["--log", "trace", "--data"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("jamd starts");
        Self { _folder: folder, address, process }
    }

    /// It answers `rounds` times.
    async fn serves(&mut self, rounds: usize) {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("a URI");
        let mut client = ClusterClient::new(endpoint.connect_lazy());
        for _ in 0..rounds {
            let leader = async || {
                let status = client.clone().status(ClusterStatusRequest {}).await;
                status.ok().filter(|status| status.get_ref().leader == 1)
            };
            wait("an answer", leader).await;
        }
        client.status(ClusterStatusRequest {}).await.expect("it still answers");
        assert!(self.process.try_wait().expect("ours").is_none(), "it ended");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended, which is what a test would find.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_full_log_disk_ends_no_node() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full disk");
    Node::start(full.into()).serves(20).await;
}

#[tokio::test]
async fn a_reader_of_the_log_that_goes_ends_no_node() {
    let mut node = Node::start(Stdio::piped());
    let mut log = BufReader::new(node.process.stderr.take().expect("it is piped"));
    log.read_line(&mut String::new()).expect("a line");
    drop(log);
    node.serves(20).await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_no_node_up() {
    // Each answer logs several hundred bytes at this level, and the pipe holds 64 KiB.
    Node::start(Stdio::piped()).serves(500).await;
}

/// The lines of a log that are about a request.
fn lines_of<'a>(log: &'a str, request: &str) -> Vec<&'a str> {
    let id = format!("request={request} ");
    log.lines().filter(|line| line.contains(&id)).collect()
}

#[tokio::test]
async fn a_request_is_followed_through_the_nodes_and_names_nobody() {
    let cluster = Cluster::start(3, &["--log=jam_cluster=debug"]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let (leader, _) = cluster.leader().await;
    let other = leader % 3 + 1;
    let skip = Edit::Skip { entry: EntryId(7) };
    let reply = session.once(&cluster, other, &room, skip).await.expect("judged");
    assert!(reply.rejection.is_some());

    let rejected = wait("a line about what was rejected", async || {
        let log = cluster.log(other);
        let line = log.lines().find(|line| line.contains("rejected") && line.contains("INFO"))?;
        Some(line.to_owned())
    })
    .await;
    assert!(rejected.contains("what=\"skip\"") && rejected.contains("code=\"not_current\""));
    let request = rejected.split("request=").nth(1).and_then(|rest| rest.split(' ').next());
    let request = request.expect("an id");
    // Where it was asked for, and where it was done.
    wait("a line about the answer", async || {
        lines_of(&cluster.log(other), request)
            .iter()
            .any(|line| line.contains("answered"))
            .then_some(())
    })
    .await;
    wait("a line of the leader", async || {
        let log = cluster.log(leader);
        let applied = lines_of(&log, request);
        applied.iter().any(|line| line.contains("entry=") && line.contains("term=")).then_some(())
    })
    .await;

    for node in cluster.up() {
        let log = cluster.log(node);
        for secret in [room.as_str(), "a room", "user 1"] {
            assert!(!log.contains(secret), "node {node} logs {secret}");
        }
        let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
        for said in [version, "this node belongs to a cluster"] {
            assert!(log.contains(said), "node {node} says nothing of {said}");
        }
    }
}

#[tokio::test]
async fn wrong_peers_and_a_folder_of_another_cluster_leave_a_line() {
    let mut cluster = Cluster::start(3, &[]).await;
    assert!(cluster.stop(3), "it ends well");
    let peers = format!("--peers=1={},2=127.0.0.1:9,3={}", cluster.address(1), cluster.address(3));
    cluster.set_flags(3, &[&peers]);
    cluster.run(3);
    let told = format!(
        "--peers says that node 2 is at 127.0.0.1:9, and the cluster knows it at {}",
        cluster.address(2)
    );
    wait("a line about --peers", async || cluster.log(3).contains(&told).then_some(())).await;

    let mut other = Cluster::start(3, &[]).await;
    assert!(other.stop(3) && cluster.stop(3), "they end well");
    std::fs::rename(cluster.data(3), cluster.data(3).with_extension("away")).expect("moved away");
    std::fs::rename(other.data(3), cluster.data(3)).expect("moved here");
    cluster.run(3);
    let refuses = "this node belongs to another cluster";
    wait("a line about the folder", async || {
        let callers = [1, 2].iter().any(|node| cluster.log(*node).contains(refuses));
        (callers && cluster.log(3).contains(refuses)).then_some(())
    })
    .await;
}
