//! Songs between three nodes: real services on loopback, around a registry that stands for the log.
#![allow(clippy::disallowed_methods)]
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use jam_cluster::api::songs;
use jam_cluster::blobs::{Blobs, Cluster, Neighbour, peer_service};
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::songs_client::SongsClient;
use jam_proto::wire::v1::{FetchRequest, HaveReply, HaveRequest, Track, UploadChunk, UploadStart};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};

/// What the log would hold.
#[derive(Default)]
struct Registry {
    tracks: Mutex<BTreeMap<TrackId, Track>>,
    nodes: Mutex<Vec<Arc<Blobs>>>,
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
    async fn register(&self, track: Track) -> Result<Track, Status> {
        let id = TrackId::from_wire(&track.id).expect("a hash");
        let won = self.registry.tracks.lock().expect("no panic").entry(id).or_insert(track).clone();
        for blobs in self.registry.nodes.lock().expect("no panic").iter() {
            blobs.want(&won);
        }
        Ok(won)
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

struct Node {
    blobs: Arc<Blobs>,
    client: SongsClient<Channel>,
    tasks: Vec<JoinHandle<()>>,
    _data: TempDir,
}

struct Nodes {
    registry: Arc<Registry>,
    listeners: Vec<Option<TcpListener>>,
    members: Vec<Neighbour>,
}

impl Nodes {
    /// Three places. Nobody answers at one before its node is started.
    async fn three() -> Self {
        let mut listeners = Vec::new();
        let mut members = Vec::new();
        for id in 1..=3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address: SocketAddr = listener.local_addr().expect("its address");
            members.push(Neighbour { id, address: address.to_string(), voter: true });
            listeners.push(Some(listener));
        }
        Self { registry: Arc::default(), listeners, members }
    }

    fn close(&mut self, id: usize) {
        self.listeners[id - 1] = None;
    }

    async fn start(&mut self, id: usize) -> Node {
        let listener = match self.listeners[id - 1].take() {
            Some(listener) => listener,
            None => TcpListener::bind(&self.members[id - 1].address).await.expect("the port again"),
        };
        let data = tempfile::tempdir().expect("a folder");
        let cluster =
            Fake { id: id as u64, members: self.members.clone(), registry: self.registry.clone() };
        let blobs =
            Blobs::open(&jam_world::World::real(), data.path(), Arc::new(cluster)).expect("opens");
        self.registry.nodes.lock().expect("no panic").push(blobs.clone());
        let server = Server::builder()
            .add_service(songs::service(blobs.clone()))
            .add_service(peer_service(blobs.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let tasks = vec![
            tokio::spawn(async move { server.await.expect("serves") }),
            tokio::spawn(blobs.clone().run()),
        ];
        let channel = Channel::from_shared(format!("http://{}", self.members[id - 1].address))
            .expect("an address")
            .connect_lazy();
        Node { blobs, client: SongsClient::new(channel), tasks, _data: data }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    async fn have(&self, id: TrackId) -> HaveReply {
        let request = HaveRequest { id: id.to_wire() };
        self.client.clone().have(request).await.expect("answers").into_inner()
    }

    /// Sends a song from `offset` on, but no more than `limit` bytes of it.
    async fn send(&self, song: &[u8], offset: usize, limit: usize) -> Result<Track, Status> {
        self.send_as(id_of(song), song, offset, limit).await
    }

    async fn send_as(
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

    async fn fetch(&self, id: TrackId, offset: u64, length: u64) -> Result<Vec<u8>, Status> {
        let request = FetchRequest { id: id.to_wire(), offset, length };
        let mut chunks = self.client.clone().fetch(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            bytes.extend_from_slice(&chunk.data);
        }
        Ok(bytes)
    }

    async fn until_complete(&self, id: TrackId) {
        while !self.blobs.holds_every([&id]) {
            tokio::task::yield_now().await;
        }
    }
}

fn id_of(song: &[u8]) -> TrackId {
    TrackId(*blake3::hash(song).as_bytes())
}

/// Four seconds of a saw tooth, 16-bit stereo.
fn song(seed: u32) -> Vec<u8> {
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

fn error_of(status: &Status) -> Option<&str> {
    status.metadata().get("jam-error").and_then(|code| code.to_str().ok())
}

#[tokio::test]
async fn a_song_reaches_every_node() {
    let mut nodes = Nodes::three().await;
    let (one, two, three) = (nodes.start(1).await, nodes.start(2).await, nodes.start(3).await);
    let song = song(1);
    let id = id_of(&song);
    assert_eq!(one.have(id).await, HaveReply { track: None, offset: 0 });

    let track = one.send(&song, 0, usize::MAX).await.expect("taken");
    assert_eq!((track.frames, track.sample_rate, track.channels), (4 * 44_100, 44_100, 2));
    assert_eq!(
        (track.title.as_str(), track.codec.as_str(), track.bytes),
        ("A Song", "pcm", song.len() as u64)
    );
    let copies = [&one, &two, &three].iter().filter(|node| node.blobs.holds_every([&id])).count();
    assert!(copies >= 2, "acknowledged with {copies} copies");

    for node in [&one, &two, &three] {
        assert_eq!(node.have(id).await.track.as_ref(), Some(&track));
        assert_eq!(node.fetch(id, 0, 0).await.expect("bytes"), song);
        assert_eq!(node.fetch(id, 1000, 5000).await.expect("bytes"), song[1000..6000]);
        node.until_complete(id).await;
        assert!(node.blobs.holds_every([&id]));
    }
    // Sent once more, it is there without a byte.
    assert_eq!(two.send(&song, 0, 0).await.expect("known"), track);
    let past_end = one.fetch(id, song.len() as u64 + 1, 0).await.expect_err("past the end");
    assert_eq!(error_of(&past_end), Some("invalid"));
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stopped() {
    let mut nodes = Nodes::three().await;
    let (one, two) = (nodes.start(1).await, nodes.start(2).await);
    nodes.close(3);
    let song = song(2);
    let id = id_of(&song);

    let cut = one.send(&song, 0, 200_000).await.expect_err("incomplete");
    assert_eq!((cut.code(), error_of(&cut)), (Code::Aborted, Some("incomplete")));
    let held = one.have(id).await;
    assert_eq!(held, HaveReply { track: None, offset: 200_000 });
    assert_eq!(two.have(id).await.offset, 0, "only that node has it");
    let gone = one.fetch(id, 0, 0).await.expect_err("visible to nobody");
    assert_eq!(error_of(&gone), Some("track_gone"));

    let wrong = one.send(&song, 300_000, usize::MAX).await.expect_err("a hole");
    assert_eq!(error_of(&wrong), Some("wrong_offset"));
    // Overlaps with what is there.
    one.send(&song, 150_000, usize::MAX).await.expect("whole");
    assert_eq!(two.fetch(id, 0, 0).await.expect("bytes"), song);
}

#[tokio::test]
async fn without_a_majority_nothing_is_visible_and_the_bytes_stay() {
    let mut nodes = Nodes::three().await;
    let one = nodes.start(1).await;
    nodes.close(2);
    nodes.close(3);
    let song = song(3);
    let id = id_of(&song);

    let refused = one.send(&song, 0, usize::MAX).await.expect_err("alone");
    assert_eq!((refused.code(), error_of(&refused)), (Code::Unavailable, Some("no_quorum")));
    assert_eq!(one.have(id).await, HaveReply { track: None, offset: song.len() as u64 });
    assert_eq!(
        error_of(&one.fetch(id, 0, 0).await.expect_err("not committed")),
        Some("track_gone")
    );

    let two = nodes.start(2).await;
    one.send(&song, song.len(), 0).await.expect("no byte is sent again");
    assert_eq!(two.fetch(id, 0, 0).await.expect("bytes"), song);
}

#[tokio::test]
async fn many_at_once_send_the_same_song() {
    let mut nodes = Nodes::three().await;
    let (one, two, three) = (nodes.start(1).await, nodes.start(2).await, nodes.start(3).await);
    let song = song(4);
    let sent = futures_util::future::join_all(
        [&one, &two, &one, &three, &two, &one].map(|node| node.send(&song, 0, usize::MAX)),
    )
    .await;
    let first = sent[0].as_ref().expect("taken");
    for track in &sent {
        assert_eq!(track.as_ref().expect("taken"), first);
    }
    for node in [&one, &two, &three] {
        node.until_complete(id_of(&song)).await;
        assert_eq!(node.fetch(id_of(&song), 0, 0).await.expect("bytes"), song);
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let mut nodes = Nodes::three().await;
    let (one, _two) = (nodes.start(1).await, nodes.start(2).await);
    let song = song(5);
    let id = id_of(&song);

    let mut bent = song.clone();
    bent[100_000] ^= 1;
    let wrong = one.send_as(id, &bent, 0, usize::MAX).await.expect_err("another hash");
    assert_eq!(error_of(&wrong), Some("hash_mismatch"));
    assert_eq!(one.have(id).await.offset, 0, "of no use");
    one.send(&song, 0, usize::MAX).await.expect("the right bytes");

    let text = b"no song ".repeat(1000);
    let refused = one.send(&text, 0, usize::MAX).await.expect_err("text");
    assert_eq!(
        (refused.code(), error_of(&refused)),
        (Code::InvalidArgument, Some("unsupported_song"))
    );
    assert_eq!(
        refused.metadata().get("jam-song-error").and_then(|code| code.to_str().ok()),
        Some("not_audio")
    );
    assert_eq!(one.have(id_of(&text)).await.offset, 0, "not kept");
    assert_eq!(error_of(&one.send(b"", 0, 0).await.expect_err("empty")), Some("unsupported_song"));

    let cut = &song[..song.len() / 2];
    let refused = one.send(cut, 0, usize::MAX).await.expect_err("cut off");
    assert_eq!(
        refused.metadata().get("jam-song-error").and_then(|code| code.to_str().ok()),
        Some("truncated")
    );
}

#[tokio::test]
async fn a_node_that_comes_late_serves_from_its_peers_and_catches_up() {
    let mut nodes = Nodes::three().await;
    let (one, _two) = (nodes.start(1).await, nodes.start(2).await);
    nodes.close(3);
    let song = song(6);
    let id = id_of(&song);
    let track = one.send(&song, 0, usize::MAX).await.expect("taken");

    let three = nodes.start(3).await;
    assert!(!three.blobs.holds_every([&id]));
    assert_eq!(three.fetch(id, 70_000, 100_000).await.expect("from a peer"), song[70_000..170_000]);
    three.blobs.want(&track);
    three.until_complete(id).await;
    while !three.blobs.missing().is_empty() {
        tokio::task::yield_now().await;
    }
}
