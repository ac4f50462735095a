//! A log that can't be written takes no node down, and holds none up.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use jam_proto::wire::v1::ClusterStatusRequest;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::cluster::wait;

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
