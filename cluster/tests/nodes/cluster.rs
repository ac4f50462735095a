//! Starts, kills and asks real nodes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jam_proto::command::{Command as Edit, Reply, RoomCommand};
use jam_proto::ids::{RoomCode, SessionId};
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::{
    ClusterStatusReply, ClusterStatusRequest, OpenSessionRequest, RaiseLevelRequest,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Far more than anything here takes: it only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// `jamd` processes, numbered from 1. They are killed with it.
pub struct Cluster {
    folder: TempDir,
    ports: Vec<u16>,
    flags: Vec<String>,
    /// Of one node each, besides.
    own_flags: Vec<Vec<String>>,
    running: Vec<Option<Child>>,
}

impl Cluster {
    /// Starts `size` nodes and waits until they have a leader that takes edits.
    pub async fn start(size: usize, flags: &[&str]) -> Self {
        loop {
            let mut cluster = Self::start_without_waiting(size, flags);
            let formed = tokio::select! {
                _ = cluster.leader() => true,
                () = cluster.one_lost_its_port() => false,
            };
            if formed {
                return cluster;
            }
            cluster.up().into_iter().for_each(|node| cluster.kill(node));
        }
    }

    /// A port that the system gave out is not ours until the node listens on it.
    async fn one_lost_its_port(&self) {
        wait("a lost port", async || {
            let lost =
                self.up().into_iter().any(|node| self.log(node).contains("Address already in use"));
            lost.then_some(())
        })
        .await;
    }

    /// What a node has logged so far.
    pub fn log(&self, node: usize) -> String {
        let log = std::fs::read_to_string(self.folder.path().join(format!("n{node}.log")));
        log.unwrap_or_default()
    }

    pub fn start_without_waiting(size: usize, flags: &[&str]) -> Self {
        let mut cluster = Self::of_nodes(size, flags);
        (1..=size).for_each(|node| cluster.run(node));
        cluster
    }

    /// Nodes with their ports and folders, none of which runs yet.
    pub fn of_nodes(size: usize, flags: &[&str]) -> Self {
        let held: Vec<TcpListener> =
            (0..size).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        let cluster = Self {
            folder: tempfile::tempdir().expect("a folder"),
            ports: held.iter().map(port).collect(),
            flags: flags.iter().map(|flag| flag.to_string()).collect(),
            own_flags: vec![Vec::new(); size],
            running: (0..size).map(|_| None).collect(),
        };
        drop(held);
        cluster
    }

    /// What a node is started with from its next start on, besides the flags of all.
    pub fn set_flags(&mut self, node: usize, flags: &[&str]) {
        self.own_flags[node - 1] = flags.iter().map(|flag| flag.to_string()).collect();
    }

    pub fn run(&mut self, node: usize) {
        // Nodes that share two cores with other tests must not call each other dead.
        self.run_with(node, "300..600");
    }

    /// With another election timeout.
    pub fn run_with(&mut self, node: usize, election_ms: &str) {
        let peers = self.ports.iter().enumerate();
        let peers: Vec<String> =
            peers.map(|(index, port)| format!("{}=127.0.0.1:{port}", index + 1)).collect();
        let names_peers = self.own_flags[node - 1].iter().any(|flag| flag.starts_with("--peers="));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("n{node}.log")))
            .expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_jamd"))
            .args(["--id", &node.to_string(), "--listen", &self.address(node)])
            .arg("--data")
            .arg(self.data(node))
            .args(["--heartbeat-ms", "50", "--election-ms", election_ms])
            .args(&self.flags)
            .args(&self.own_flags[node - 1])
            .args((!names_peers).then(|| format!("--peers={}", peers.join(","))))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("jamd starts");
        self.running[node - 1] = Some(child);
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.running[node - 1].take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// SIGSTOP, SIGCONT, …
    pub fn signal(&self, node: usize, signal: Signal) {
        let child = self.running[node - 1].as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it runs");
    }

    /// SIGTERM; answers whether it ended well.
    pub fn stop(&mut self, node: usize) -> bool {
        self.signal(node, Signal::TERM);
        let mut child = self.running[node - 1].take().expect("it runs");
        child.wait().expect("it ends").success()
    }

    pub fn data(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("n{node}"))
    }

    pub fn address(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.ports[node - 1])
    }

    pub fn channel(&self, node: usize) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address(node)))
            .expect("a URI")
            .connect_lazy()
    }

    pub fn rooms(&self, node: usize) -> RoomsClient<Channel> {
        RoomsClient::new(self.channel(node))
    }

    pub fn up(&self) -> Vec<usize> {
        (1..=self.running.len()).filter(|node| self.running[node - 1].is_some()).collect()
    }

    /// `jam cluster raise`
    pub async fn raise(&self, node: usize, force: bool) -> Result<u32, Status> {
        let mut client = ClusterClient::new(self.channel(node));
        Ok(client.raise_level(RaiseLevelRequest { force }).await?.into_inner().level)
    }

    pub async fn status(&self, node: usize) -> Result<ClusterStatusReply, Status> {
        let mut client = ClusterClient::new(self.channel(node));
        Ok(client.status(ClusterStatusRequest {}).await?.into_inner())
    }

    /// Waits until a running node leads and its clock epoch is in force; answers which, and the epoch.
    pub async fn leader(&self) -> (usize, u64) {
        wait("a leader", async || {
            for node in self.up() {
                let Ok(status) = self.status(node).await else { continue };
                let leader = status.leader as usize;
                if status.epoch > 0 && self.up().contains(&leader) && self.ready(leader).await {
                    return Some((leader, status.epoch));
                }
            }
            None
        })
        .await
    }

    /// Waits until any running node could lead on without a jump of shared time.
    pub async fn in_step(&self) {
        wait("clocks in step", async || {
            let in_step = self.up().into_iter().all(|node| {
                let page = self.page(node, "/readyz?verbose");
                let bound =
                    page.split("clock_bound_ns ").nth(1).and_then(|rest| rest.lines().next());
                let bound_ns: i64 = bound.and_then(|bound| bound.parse().ok()).unwrap_or(i64::MAX);
                page.starts_with("HTTP/1.1 200") && bound_ns < 500_000
            });
            in_step.then_some(())
        })
        .await;
    }

    /// A page over plain HTTP/1.
    pub fn page(&self, node: usize, path: &str) -> String {
        self.http(node, &format!("GET {path}"), "Host: localhost\r\n", b"")
    }

    /// What comes back for a request of plain HTTP/1: its method and path, more headers, and a body.
    pub fn http(&self, node: usize, what: &str, headers: &str, body: &[u8]) -> String {
        let mut page = String::new();
        let Ok(mut stream) = TcpStream::connect(self.address(node)) else { return page };
        let length = body.len();
        let head = format!(
            "{what} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
        stream.read_to_string(&mut page).expect("a page");
        page
    }

    /// A linearizable read passes: the leadership is open.
    async fn ready(&self, node: usize) -> bool {
        self.rooms(node).list_rooms(jam_proto::wire::v1::ListRoomsRequest {}).await.is_ok()
    }

    pub async fn wait_until_ready(&self, node: usize) {
        wait("a node that serves", async || self.ready(node).await.then_some(())).await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let running: Vec<usize> = self.up();
        running.into_iter().for_each(|node| self.kill(node));
        if std::thread::panicking() {
            for node in 1..=self.ports.len() {
                eprintln!("--- node {node}\n{}", self.log(node));
            }
        }
    }
}

/// Looks until there is something.
pub async fn wait<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(LOOK_EVERY).await;
    }
}

/// A client's session: numbers its commands, and repeats one whose outcome is unknown.
pub struct Session {
    id: SessionId,
    number: u64,
}

impl Session {
    pub async fn open(cluster: &Cluster, node: usize, seed: u8) -> Self {
        let id = SessionId([seed; 16]);
        wait("a session", async || {
            let request = OpenSessionRequest {
                session: id.to_wire(),
                user: format!("user {seed}"),
                deadline_ms: 0,
            };
            cluster.rooms(node).open_session(request).await.ok()
        })
        .await;
        Self { id, number: 0 }
    }

    /// Sends the next command once.
    pub async fn once(
        &mut self,
        cluster: &Cluster,
        node: usize,
        room: &RoomCode,
        command: Edit,
    ) -> Result<Reply, Status> {
        self.number += 1;
        self.again(cluster, node, room, command).await
    }

    /// Takes the next number, without sending anything.
    pub fn advance(&mut self) {
        self.number += 1;
    }

    /// Sends the last number again.
    pub async fn again(
        &self,
        cluster: &Cluster,
        node: usize,
        room: &RoomCode,
        command: Edit,
    ) -> Result<Reply, Status> {
        self.within(cluster, node, room, command, 0).await
    }

    /// Sends the last number again, with a deadline; 0: the node's default.
    pub async fn within(
        &self,
        cluster: &Cluster,
        node: usize,
        room: &RoomCode,
        command: Edit,
        deadline_ms: u32,
    ) -> Result<Reply, Status> {
        let (session, number, room) = (self.id, self.number, room.clone());
        let request = RoomCommand { session, number, room, command }.to_request(deadline_ms);
        let reply = cluster.rooms(node).submit(request).await?.into_inner();
        Ok(Reply::from_wire(&reply).expect("a reply that can be read"))
    }

    /// Sends the next command, to any running node, until its outcome is known.
    pub async fn surely(&mut self, cluster: &Cluster, room: &RoomCode, command: Edit) -> Reply {
        self.number += 1;
        wait("an outcome", async || {
            for node in cluster.up() {
                if let Ok(reply) = self.again(cluster, node, room, command.clone()).await {
                    return Some(reply);
                }
            }
            None
        })
        .await
    }
}

/// Creates a room.
pub async fn create(cluster: &Cluster, session: &mut Session, bits: u64) -> RoomCode {
    let room = RoomCode::from_random(bits);
    let reply = session.surely(cluster, &room, Edit::Create { name: "a room".to_owned() }).await;
    assert_eq!(reply.rejection, None);
    room
}
