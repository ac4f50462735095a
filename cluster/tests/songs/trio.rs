//! Three nodes: real services on loopback, around a registry that stands for the log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use jam_cluster::api::songs;
use jam_cluster::blobs::{Blobs, Cluster, Depot, Neighbour, Outside, Pace, Rhythm, peer_service};
use jam_cluster::metrics::Page;
use jam_cluster::refusal::Refusal;
use jam_cluster::segments::{self, Segments, Shelf};
use jam_cluster::shard::TooFewCopies;
use jam_media::{Manifest, SegmentDecoder};
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::segments_client::SegmentsClient;
use jam_proto::wire::v1::songs_client::SongsClient;
use jam_proto::wire::v1::{
    DoubtRequest, FetchRequest, HaveReply, HaveRequest, ManifestsRequest, SegmentRequest, Track,
    UploadChunk, UploadStart,
};
use jam_world::World;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Server};

/// The id of their cluster.
pub const CLUSTER: &str = "three of a kind";
/// What goes with the last bytes of a segment.
const RECEIPT: &[u8] = b"sound was fetched";

/// What the log would hold.
#[derive(Default)]
pub struct Registry {
    pub tracks: Mutex<BTreeMap<TrackId, Track>>,
    pub nodes: Mutex<Vec<Arc<Blobs>>>,
    /// Who leads, in the term of the same number: each leads once.
    pub leader: AtomicU64,
    /// Tracks are committed without what was made of them: then a test counts songs alone.
    pub is_bare: AtomicBool,
    /// Tracks that are marked as lost.
    pub lost: Mutex<BTreeSet<TrackId>>,
    /// The voters that the leader knows; empty: all nodes.
    pub voters: Mutex<BTreeSet<u64>>,
    /// Times that the leader counted too few of them.
    pub refused: AtomicU64,
}

impl Registry {
    /// As the leader counts who holds a song.
    fn count(&self, holders: &[u64]) -> Result<(), Status> {
        let voters = self.voters.lock().expect("no panic");
        let copies = voters.iter().filter(|voter| holders.contains(*voter)).count();
        let needed = voters.len() / 2 + 1;
        if voters.is_empty() || copies >= needed {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(Refusal::TooFewCopies(TooFewCopies { copies, needed }).into())
    }
}

struct Fake {
    id: u64,
    members: Vec<Neighbour>,
    registry: Arc<Registry>,
}

#[tonic::async_trait]
impl Cluster for Fake {
    fn own_id(&self) -> u64 {
        self.id
    }
    fn members(&self) -> Vec<Neighbour> {
        self.members.clone()
    }
    fn track(&self, id: &TrackId) -> Option<Track> {
        self.registry.tracks.lock().expect("no panic").get(id).cloned()
    }
    fn blobs(&self) -> Vec<(TrackId, u64)> {
        let tracks = self.registry.tracks.lock().expect("no panic");
        let derived = tracks.values().flat_map(|track| &track.derived);
        let derived = derived.map(|one| (TrackId::from_wire(&one.id).expect("an id"), one.bytes));
        tracks.iter().map(|(id, track)| (*id, track.bytes)).chain(derived).collect()
    }
    fn leads_in(&self) -> Option<u64> {
        Some(self.id).filter(|id| *id == self.registry.leader.load(Ordering::Relaxed))
    }
    fn is_lost(&self, id: &TrackId) -> bool {
        self.registry.lost.lock().expect("no panic").contains(id)
    }
    async fn register(&self, mut track: Track, holders: Vec<u64>) -> Result<Track, Status> {
        self.registry.count(&holders)?;
        if self.registry.is_bare.load(Ordering::Relaxed) {
            track.derived.clear();
        }
        let id = TrackId::from_wire(&track.id).expect("a hash");
        self.registry.lost.lock().expect("no panic").remove(&id);
        let won = self.registry.tracks.lock().expect("no panic").entry(id).or_insert(track).clone();
        for blobs in self.registry.nodes.lock().expect("no panic").iter() {
            blobs.want_all(&won);
        }
        Ok(won)
    }
    fn blob(&self, id: &TrackId) -> Option<u64> {
        let tracks = self.registry.tracks.lock().expect("no panic");
        let derived = || tracks.values().flat_map(|track| &track.derived);
        let made = || derived().find(|one| one.id == id.to_wire()).map(|one| one.bytes);
        tracks.get(id).map(|track| track.bytes).or_else(made)
    }
    async fn catch_up(&self) -> Result<(), Status> {
        Ok(())
    }
    fn sign(&self, _node: u64, metadata: &mut MetadataMap) -> Result<(), Status> {
        metadata.insert("who", MetadataValue::from(self.id));
        Ok(())
    }
    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        metadata.get("who").map(|_| ()).ok_or_else(|| Status::unauthenticated("who calls?"))
    }
}

pub struct Node {
    pub blobs: Arc<Blobs>,
    pub client: SongsClient<Channel>,
    segments_client: SegmentsClient<Channel>,
    tasks: Vec<JoinHandle<()>>,
    pub data: TempDir,
}

/// Their places.
pub struct Nodes {
    pub registry: Arc<Registry>,
    /// How they look after their songs.
    pub pace: Pace,
    /// Where they keep songs besides, if anywhere.
    pub depot: Option<Arc<dyn Depot>>,
    /// How they use that.
    pub rhythm: Rhythm,
    listeners: Vec<Option<TcpListener>>,
    members: Vec<Neighbour>,
}

impl Nodes {
    /// Three places. Nobody answers at one before its node is started.
    pub async fn three() -> Self {
        let mut listeners = Vec::new();
        let mut members = Vec::new();
        for id in 1..=3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address: SocketAddr = listener.local_addr().expect("its address");
            members.push(Neighbour {
                id,
                address: address.to_string(),
                voter: true,
                is_replaced: false,
            });
            listeners.push(Some(listener));
        }
        // As good as never again: most tests are about the first pass, or none.
        let pace = Pace { bytes_per_s: 1 << 30, pause: Duration::from_secs(3600) };
        let rhythm = Rhythm {
            look_every: Duration::from_millis(5),
            pause_min: Duration::from_millis(5),
            pause_max: Duration::from_millis(5),
            slowest_bytes_per_s: 1 << 30,
            ..Rhythm::default()
        };
        Self { registry: Arc::default(), pace, depot: None, rhythm, listeners, members }
    }

    /// The log gives a node's place to another one, as far as those know that are started from here on.
    pub fn replace(&mut self, id: usize) {
        self.members[id - 1].is_replaced = true;
    }

    pub fn close(&mut self, id: usize) {
        self.listeners[id - 1] = None;
    }

    pub async fn start(&mut self, id: usize) -> Node {
        self.start_in(id, World::real()).await
    }

    /// All three, at once.
    pub async fn start_all(&mut self) -> [Node; 3] {
        [self.start(1).await, self.start(2).await, self.start(3).await]
    }

    /// Its process ends.
    pub async fn stop(&mut self, node: &mut Node) {
        for task in node.tasks.drain(..) {
            task.abort();
            assert!(task.await.is_err_and(|ended| ended.is_cancelled()), "it ran until now");
        }
        let gone = node.blobs.clone();
        self.registry.nodes.lock().expect("no panic").retain(|blobs| !Arc::ptr_eq(blobs, &gone));
    }

    /// Another process goes on with a node's folder.
    pub async fn restart(&mut self, id: usize, node: &mut Node) {
        self.stop(node).await;
        let empty = tempfile::tempdir().expect("a folder");
        let data = std::mem::replace(&mut node.data, empty);
        *node = self.start_with(id, World::real(), data).await;
    }

    /// On a machine of its own.
    pub async fn start_in(&mut self, id: usize, world: World) -> Node {
        self.start_with(id, world, tempfile::tempdir().expect("a folder")).await
    }

    async fn start_with(&mut self, id: usize, world: World, data: TempDir) -> Node {
        let listener = match self.listeners[id - 1].take() {
            Some(listener) => listener,
            None => TcpListener::bind(&self.members[id - 1].address).await.expect("the port again"),
        };
        let cluster =
            Fake { id: id as u64, members: self.members.clone(), registry: self.registry.clone() };
        let shelf = Shelf::open(&world, data.path(), 1 << 30).expect("opens");
        let outside = self.depot.clone().map(|depot| Outside::new(depot, CLUSTER, self.rhythm));
        let cluster = Arc::new(cluster);
        let blobs = Blobs::open(&world, data.path(), cluster, shelf.clone(), self.pace, outside);
        let blobs = blobs.expect("opens");
        let segments = Segments::new(&world, blobs.clone(), shelf, 1 << 20);
        self.registry.nodes.lock().expect("no panic").push(blobs.clone());
        let server = Server::builder()
            .add_service(songs::service(blobs.clone()))
            .add_service(peer_service(blobs.clone()))
            .add_service(segments::service(segments, Arc::new(|| RECEIPT.to_vec())))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let tasks = vec![
            tokio::spawn(async move { server.await.expect("serves") }),
            tokio::spawn(blobs.clone().run()),
        ];
        let channel = Channel::from_shared(format!("http://{}", self.members[id - 1].address))
            .expect("an address")
            .connect_lazy();
        let segments_client = SegmentsClient::new(channel.clone());
        let client = SongsClient::new(channel);
        Node { blobs, client, segments_client, tasks, data }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    pub async fn have(&self, id: TrackId) -> HaveReply {
        let request = HaveRequest { id: id.to_wire() };
        self.client.clone().have(request).await.expect("answers").into_inner()
    }

    /// Sends a song from `offset` on, but no more than `limit` bytes of it.
    pub async fn send(&self, song: &[u8], offset: usize, limit: usize) -> Result<Track, Status> {
        self.send_as(id_of(song), song, offset, limit).await
    }

    pub async fn send_as(
        &self,
        id: TrackId,
        song: &[u8],
        offset: usize,
        limit: usize,
    ) -> Result<Track, Status> {
        let start = UploadStart {
            id: id.to_wire(),
            bytes: song.len() as u64,
            offset: offset as u64,
            file_name: "A Song.wav".to_owned(),
        };
        let mut messages = vec![UploadChunk { start: Some(start), data: Bytes::new() }];
        let end = song.len().min(offset.saturating_add(limit));
        for chunk in song[offset..end].chunks(64 << 10) {
            messages.push(UploadChunk { start: None, data: Bytes::copy_from_slice(chunk) });
        }
        let reply = self.client.clone().upload(stream::iter(messages)).await?;
        Ok(reply.into_inner().track.expect("a track"))
    }

    pub async fn fetch(&self, id: TrackId, offset: u64, length: u64) -> Result<Vec<u8>, Status> {
        let request = FetchRequest { id: id.to_wire(), offset, length };
        let mut chunks = self.client.clone().fetch(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            bytes.extend_from_slice(&chunk.data);
        }
        Ok(bytes)
    }

    /// What a song is cut into.
    pub async fn manifest(&self, id: TrackId) -> Result<Manifest, Status> {
        let request = ManifestsRequest { track: id.to_wire(), kbps: vec![0] };
        let reply = self.segments_client.clone().manifests(request).await?.into_inner();
        Ok(Manifest::decode(&reply.renditions[0].manifest).expect("a manifest"))
    }

    /// A segment's bytes, from an offset on.
    pub async fn segment(
        &self,
        id: TrackId,
        index: usize,
        hash: &[u8; 32],
        offset: u32,
    ) -> Result<Vec<u8>, Status> {
        let request = SegmentRequest {
            track: id.to_wire(),
            kbps: 0,
            index: index as u32,
            hash: hash.to_vec(),
            offset,
        };
        let mut chunks = self.segments_client.clone().segment(request).await?.into_inner();
        let (mut bytes, mut receipts) = (Vec::new(), Vec::new());
        while let Some(chunk) = chunks.message().await? {
            bytes.extend_from_slice(&chunk.data);
            receipts.push(chunk.receipt);
        }
        let with_the_last = receipts.pop();
        assert!(with_the_last.is_none_or(|receipt| receipt == RECEIPT));
        assert!(receipts.iter().all(|receipt| receipt.is_empty()), "before all of it was given");
        Ok(bytes)
    }

    /// The song's samples, from its segments.
    pub async fn play(&self, id: TrackId) -> Result<Vec<f32>, Status> {
        let manifest = Arc::new(self.manifest(id).await?);
        let mut decoder = SegmentDecoder::new(manifest.clone()).expect("a decoder");
        let mut samples = vec![0.0; manifest.frames() as usize * 2];
        let mut done = 0;
        for (index, info) in manifest.segments().iter().enumerate() {
            let bytes = self.segment(id, index, &info.hash, 0).await?;
            decoder.take(index, bytes).expect("that segment");
            done += decoder.read(&mut samples[done * 2..]);
        }
        assert_eq!(done as u64, manifest.frames());
        Ok(samples)
    }

    /// Where its copy of a song is.
    pub fn file(&self, id: TrackId) -> PathBuf {
        let name = id.to_string();
        self.data.path().join("songs").join(&name[..2]).join(name)
    }

    /// A figure of its metrics.
    pub fn figure(&self, name: &str) -> u64 {
        let mut page = Page::default();
        self.blobs.tell(&mut page);
        let found = page.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.expect("there is such a figure").parse().expect("a number")
    }

    /// Returns once a figure is what it should be.
    pub async fn until(&self, name: &str, value: u64) {
        while self.figure(name) != value {
            tokio::task::yield_now().await;
        }
    }

    pub async fn doubt(&self, id: TrackId) {
        let request = DoubtRequest { id: id.to_wire() };
        self.client.clone().doubt(request).await.expect("answers");
    }

    pub async fn until_complete(&self, id: TrackId) {
        while !self.blobs.holds_every([&id]) {
            tokio::task::yield_now().await;
        }
    }
}

pub fn id_of(song: &[u8]) -> TrackId {
    TrackId(*blake3::hash(song).as_bytes())
}

/// Four seconds of a saw tooth, 16-bit stereo.
pub fn song(seed: u32) -> Vec<u8> {
    let frames = 4 * 44_100u32;
    let mut wav =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x10\0data"
            .to_vec();
    wav[4..8].copy_from_slice(&(36 + frames * 4).to_le_bytes());
    wav.extend_from_slice(&(frames * 4).to_le_bytes());
    for n in 0..frames * 2 {
        wav.extend_from_slice(&((n * (101 + seed)) as u16).to_le_bytes());
    }
    wav
}

pub fn error_of(status: &Status) -> Option<&str> {
    status.metadata().get("jam-error").and_then(|code| code.to_str().ok())
}
