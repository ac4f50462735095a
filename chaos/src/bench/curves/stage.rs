//! A cluster with clients at its leader, ready to be measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use jam_proto::ids::RoomCode;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::command::Kind;
use jam_proto::wire::v1::{
    ClusterStatusReply, ClusterStatusRequest, CreateRoom, Enqueue, SnapshotRequest,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::load::{Client, dial, share_out};
use crate::cluster::Cluster;

const NODES: usize = 3;
/// A node that is fewer log entries behind than this has caught up: more come in all the time.
const LEVEL_ENTRIES: u64 = 1000;
/// After everything was set up: what nodes do in the background comes to rest.
const SETTLE: Duration = Duration::from_secs(2);

/// Three nodes, a song, and clients.
pub struct Stage {
    /// The nodes. Before their folder, so that they end before it goes.
    pub cluster: Cluster,
    /// Where they keep their data.
    dir: TempDir,
    /// The node that led when the clients came.
    pub leader: usize,
    /// A song that can be queued.
    pub track: Vec<u8>,
    /// The clients, each with a session at the leader. Lent out for the time of a run.
    pub clients: Vec<Client>,
    term: u64,
    rooms: u64,
}

impl Stage {
    /// Starts three nodes with `flags` and opens the clients' sessions.
    pub async fn start(song: &Path, clients: usize, flags: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("can't make a temporary folder")?;
        let mut cluster = Cluster::start_with(dir.path(), NODES, flags)?;
        let leader = cluster.wait_for_leader()?;
        let room = cluster.jam(&["create", "Songs"])?;
        let room = room["room"].as_str().context("`jam create` names the room")?;
        let song = song.to_str().context("the song's path is not UTF-8")?;
        let added = cluster.jam(&["add", room, song])?;
        let track = parse_hex(added["track"].as_str().unwrap_or_default())
            .context("`jam add` names the track")?;
        let address = cluster.address(leader);
        let opened = (1..=clients).map(|id| Client::open(&address, id as u128));
        let clients = try_join_all(opened).await?;
        let mut stage = Self { cluster, dir, leader, track, clients, term: 0, rooms: 0 };
        stage.term = stage.standing().await?.term;
        Ok(stage)
    }

    /// Makes rooms that are paused and have one song each.
    pub async fn make_rooms(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        let first = self.rooms;
        self.rooms += count as u64;
        // An odd factor maps different numbers to different codes, far apart in the nodes' maps.
        let code = |number: u64| RoomCode::from_random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let rooms: Vec<String> =
            (first..self.rooms).map(|number| code(number).as_str().to_owned()).collect();
        let create = || Kind::Create(CreateRoom { name: "Bench".into() });
        let jobs: Vec<_> =
            rooms.iter().map(|room| (room.clone(), vec![create(), self.enqueue()])).collect();
        self.share_out(jobs).await?;
        Ok(rooms)
    }

    /// Queues songs until `room`, which has one, has `entries`.
    pub async fn fill(&mut self, room: &str, entries: usize) -> anyhow::Result<()> {
        let jobs: Vec<_> = (1..entries).map(|_| (room.to_owned(), vec![self.enqueue()])).collect();
        self.share_out(jobs).await
    }

    /// The clients do these commands, each of them its share.
    pub async fn share_out(&mut self, jobs: Vec<(String, Vec<Kind>)>) -> anyhow::Result<()> {
        self.clients = share_out(std::mem::take(&mut self.clients), jobs).await?;
        Ok(())
    }

    fn enqueue(&self) -> Kind {
        Kind::Enqueue(Enqueue { track: self.track.clone(), next: false })
    }

    /// Builds a snapshot on every node and lets them come to rest, so that memory can be compared. What they are
    /// building already ends first: a node that builds one hears no request for another.
    pub async fn settle(&self) -> anyhow::Result<()> {
        tokio::time::sleep(SETTLE).await;
        for node in self.cluster.running() {
            let mut cluster = ClusterClient::new(dial(&self.cluster.address(node)).await?);
            cluster.snapshot(SnapshotRequest {}).await.context("no snapshot")?;
        }
        tokio::time::sleep(SETTLE).await;
        Ok(())
    }

    /// What the node that led at first says of the cluster.
    pub async fn standing(&self) -> anyhow::Result<ClusterStatusReply> {
        let mut cluster = ClusterClient::new(dial(&self.cluster.address(self.leader)).await?);
        Ok(cluster.status(ClusterStatusRequest {}).await?.into_inner())
    }

    /// Leader changes, and elections that nobody won, since the start: terms that passed.
    pub async fn leader_changes(&self) -> anyhow::Result<u64> {
        let now = self.standing().await?.term;
        ensure!(now >= self.term, "the term went from {} to {now}", self.term);
        Ok(now - self.term)
    }

    /// Nodes, up or down.
    pub fn nodes(&self) -> usize {
        NODES
    }

    /// Whether a node is up and has applied nearly all that the leader has.
    pub async fn is_level(&self, node: usize) -> anyhow::Result<bool> {
        let (own, leads) = (self.applied(node).await?, self.applied(self.leader).await?);
        Ok(own.is_some_and(|own| own + LEVEL_ENTRIES >= leads.unwrap_or(u64::MAX)))
    }

    /// The last log index that a node has applied, if it is up.
    pub async fn applied(&self, node: usize) -> anyhow::Result<Option<u64>> {
        let standing = self.standing().await?;
        let found = standing.nodes.iter().find(|found| found.place == node as u64 && found.alive);
        Ok(found.map(|found| found.applied))
    }

    /// The last log index that the node which led at first can give others in a snapshot only.
    pub async fn purged(&self) -> anyhow::Result<u64> {
        let mut stream = TcpStream::connect(self.cluster.address(self.leader)).await?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            .await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        let figure = page.lines().find_map(|line| line.strip_prefix("jam_purged_index "));
        Ok(figure.context("/metrics lacks jam_purged_index")?.trim().parse()?)
    }

    /// Where a node keeps its data.
    pub fn data(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("node{node}"))
    }

    /// What a node has logged so far.
    pub fn log(&self, node: usize) -> anyhow::Result<String> {
        let path = self.dir.path().join(format!("node{node}.log"));
        std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    let bytes =
        pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<Vec<u8>>>()?;
    (!bytes.is_empty()).then_some(bytes)
}
