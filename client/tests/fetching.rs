//! Songs on their way to a listener: in segments, from nodes that break, fall silent or lie, into a cache that goes bad.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use jam_client::audio::{SongSource, Sound};
use jam_client::connection::{Address, Bearer, Dialer};
use jam_client::news::{News, Reporter};
use jam_client::nodes::Nodes;
use jam_client::songs::cache::SongCache;
use jam_client::songs::disk::DiskCache;
use jam_client::songs::plan::Wish;
use jam_client::songs::quality::Quality;
use jam_media::{Decoder, Manifest, Refusal};
use jam_proto::event::{self, Entry};
use jam_proto::ids::{EntryId, TrackId};
use jam_proto::loudness::Gain;
use jam_proto::wire::v1 as wire;
use jam_world::World;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use wire::segments_server::{Segments, SegmentsServer};

const RATE: u32 = 44_100;
const FRAMES: u64 = 12 * RATE as u64 + 345;

/// What a node gives with the last bytes of a segment.
const RECEIPT: &[u8] = b"sound was fetched";

/// A song, whole and in segments.
struct Song {
    whole: Vec<u8>,
    manifest: Manifest,
    segments: Vec<Vec<u8>>,
}

impl Song {
    fn new() -> Arc<Self> {
        let mut whole = std::io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut whole, spec).expect("a cursor takes all");
        for frame in 0..FRAMES as i64 {
            writer.write_sample((frame * 7 % 30_011) as i16).expect("a cursor takes all");
            writer.write_sample((frame * 13 % 20_011) as i16).expect("a cursor takes all");
        }
        writer.finalize().expect("a cursor takes all");
        let whole = whole.into_inner();
        let source = jam_media::source(std::io::Cursor::new(whole.clone()), whole.len() as u64);
        let mut segments = Vec::new();
        let manifest = jam_media::cut(source, FRAMES, RATE, |_, bytes| {
            segments.push(bytes);
            Ok::<_, Refusal>(())
        });
        Arc::new(Self { whole, manifest: manifest.expect("a song"), segments })
    }

    fn track(&self) -> TrackId {
        TrackId(*blake3::hash(&self.whole).as_bytes())
    }

    fn wish(&self, frame: u64) -> Wish {
        Wish { track: self.track(), frame, frames: FRAMES, rate: RATE }
    }

    fn entry(&self) -> Entry {
        Entry {
            id: EntryId(1),
            song: Arc::new(event::Song {
                track: self.track(),
                title: "song".into(),
                artist: String::new(),
                album: String::new(),
                frames: FRAMES,
                sample_rate: RATE,
                own_gain: None,
            }),
            added_by: "ann".into(),
            gain: Gain(0),
        }
    }

    fn samples(&self, from: u64) -> Vec<f32> {
        let whole = std::io::Cursor::new(self.whole.clone());
        let source = jam_media::source(whole, self.whole.len() as u64);
        let mut decoder = Decoder::open(source, FRAMES, RATE).expect("a song");
        decoder.seek(from);
        read_all(|out| decoder.read(out))
    }
}

fn read_all(mut read: impl FnMut(&mut [f32]) -> usize) -> Vec<f32> {
    let (mut all, mut some) = (Vec::new(), [0.0; 2 * 1000]);
    loop {
        let count = read(&mut some);
        if count == 0 {
            return all;
        }
        all.extend_from_slice(&some[..count * 2]);
    }
}

/// What a node does when it is asked for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// The connection breaks in the middle.
    Breaks,
    /// Some bytes come, and no more.
    Stalls,
    /// Other bytes come.
    Lies,
}

#[derive(Clone)]
struct Node {
    song: Arc<Song>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
}

impl Node {
    async fn start(song: &Arc<Song>, mood: Mood) -> (Self, Address) {
        let node =
            Self { song: song.clone(), mood: Arc::new(Mutex::new(mood)), asked: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = tonic::transport::Server::builder()
            .add_service(SegmentsServer::new(node.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (node, Address::parse(&address).expect("an address"))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

type Chunks = Pin<Box<dyn Stream<Item = Result<wire::SegmentChunk, Status>> + Send>>;

#[tonic::async_trait]
impl Segments for Node {
    type SegmentStream = Chunks;

    async fn manifests(
        &self,
        request: Request<wire::ManifestsRequest>,
    ) -> Result<Response<wire::ManifestsReply>, Status> {
        if request.get_ref().track != self.song.track().to_wire() {
            let mut gone = Status::not_found("there is no such song");
            gone.metadata_mut().insert("jam-error", "song_not_found".parse().expect("ascii"));
            return Err(gone);
        }
        let manifest = self.song.manifest.encode();
        let rendition = wire::Rendition {
            kbps: 0,
            hash: blake3::hash(&manifest).as_bytes().to_vec(),
            bytes: self.song.whole.len() as u64,
            manifest: manifest.into(),
        };
        Ok(Response::new(wire::ManifestsReply { renditions: vec![rendition] }))
    }

    async fn segment(
        &self,
        request: Request<wire::SegmentRequest>,
    ) -> Result<Response<Chunks>, Status> {
        let request = request.get_ref();
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut bytes = self.song.segments[request.index as usize].clone();
        let mood = *self.mood.lock().expect("held shortly");
        if mood == Mood::Lies {
            bytes[1000] ^= 1;
        }
        let half = if matches!(mood, Mood::Breaks | Mood::Stalls) { 20_000 } else { bytes.len() };
        let chunks: Vec<_> = bytes[..half]
            .chunks(10_000)
            .map(|data| {
                let is_last = data.as_ptr_range().end == bytes.as_ptr_range().end;
                let receipt = if is_last { RECEIPT } else { b"" };
                Ok(wire::SegmentChunk {
                    data: data.to_vec().into(),
                    receipt: Bytes::from_static(receipt),
                })
            })
            .collect();
        let chunks = stream::iter(chunks);
        Ok(Response::new(match mood {
            Mood::Well | Mood::Lies => Box::pin(chunks),
            Mood::Breaks => {
                Box::pin(chunks.chain(stream::iter([Err(Status::unavailable("it broke"))])))
            }
            Mood::Stalls => Box::pin(chunks.chain(stream::pending())),
        }))
    }
}

/// A listener's cache in a folder, and what it tells.
struct Listening {
    cache: Arc<SongCache>,
    news: mpsc::Receiver<News>,
    wishes: watch::Sender<Vec<Wish>>,
    running: tokio::task::JoinHandle<()>,
}

impl Listening {
    fn start(folder: &std::path::Path, nodes: Vec<Address>, wishes: Vec<Wish>) -> Self {
        let nodes = Nodes::new(Dialer::new(World::real(), Bearer::default()), nodes);
        let (reporter, news) = Reporter::new();
        let disk = DiskCache::open(&World::real(), folder.to_owned(), 1 << 30).expect("opens");
        let cache = SongCache::new(disk, nodes, Quality::Original, reporter);
        let (wishes, wanted) = watch::channel(wishes);
        let running = tokio::spawn(cache.clone().run(wanted));
        Self { cache, news, wishes, running }
    }

    async fn until_here(&self, track: &TrackId, from: u64, to: u64) {
        while !self.cache.has(track, from, to) {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn sound_of(cache: &SongCache, song: &Song) -> Box<dyn Sound> {
    cache.open(&song.entry()).expect("known").expect("playable")
}

#[tokio::test]
async fn a_song_is_played_from_its_segments_and_again_without_a_node() {
    let song = Song::new();
    let (node, address) = Node::start(&song, Mood::Well).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut listening = Listening::start(folder.path(), vec![address], vec![song.wish(0)]);
    assert_eq!(listening.cache.receipt(), b"", "nothing was fetched yet");
    while !matches!(listening.news.recv().await, Some(News::SongReady(ready)) if ready == song.track())
    {
    }
    listening.until_here(&song.track(), 0, FRAMES).await;
    let mut sound = sound_of(&listening.cache, &song);
    assert_eq!(read_all(|out| sound.read(out)), song.samples(0));
    assert_eq!(sound.failure(), None);
    // From a place in a later segment, and back to one before.
    for from in [300_001, 7, FRAMES - 1, 220_500, 220_499] {
        sound.seek(from);
        assert!(read_all(|out| sound.read(out)) == song.samples(from), "from {from}");
    }
    assert_eq!(node.asked(), song.segments.len());
    assert_eq!(listening.cache.receipt(), RECEIPT, "for the reports");
    assert_eq!(listening.cache.here_until(&song.track(), 1000), FRAMES);
    // Wanted no more: not promised either, since it may be evicted.
    listening.wishes.send_replace(Vec::new());
    while listening.cache.has(&song.track(), 0, 1) {
        tokio::task::yield_now().await;
    }
    drop(listening);

    let nobody = Address::parse("127.0.0.1:1").expect("an address");
    let again = Listening::start(folder.path(), vec![nobody], vec![song.wish(0)]);
    again.until_here(&song.track(), 0, FRAMES).await;
    let mut sound = sound_of(&again.cache, &song);
    assert_eq!(read_all(|out| sound.read(out)), song.samples(0));
}

#[tokio::test]
async fn what_was_opened_before_the_song_was_left_out_for_a_while_is_played_when_it_is_wanted_again()
 {
    let song = Song::new();
    let (_node, address) = Node::start(&song, Mood::Well).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let from = FRAMES - 1000;
    let listening = Listening::start(folder.path(), vec![address], vec![song.wish(from)]);
    listening.until_here(&song.track(), from, FRAMES).await;
    let mut sound = sound_of(&listening.cache, &song);
    // Left out, as when another song is skipped to, and wanted again, as when somebody goes back.
    listening.wishes.send_replace(Vec::new());
    while listening.cache.has(&song.track(), from, FRAMES) {
        tokio::task::yield_now().await;
    }
    // What was kept is away: all comes anew.
    for file in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
        std::fs::remove_file(file.path()).expect("removed");
    }
    listening.wishes.send_replace(vec![song.wish(0)]);
    listening.until_here(&song.track(), 0, FRAMES).await;
    assert!(read_all(|out| sound.read(out)) == song.samples(0));
    assert_eq!(sound.failure(), None);
}

#[tokio::test]
async fn what_sounds_first_comes_first() {
    let song = Song::new();
    let (_node, address) = Node::start(&song, Mood::Well).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let from = FRAMES - 1000;
    let mut listening = Listening::start(folder.path(), vec![address], vec![song.wish(from)]);
    while !matches!(listening.news.recv().await, Some(News::SongReady(_))) {}
    assert!(listening.cache.has(&song.track(), from, FRAMES));
    let mut sound = sound_of(&listening.cache, &song);
    sound.seek(from);
    assert_eq!(read_all(|out| sound.read(out)), song.samples(from));
    // What has sounded comes in the end.
    listening.until_here(&song.track(), 0, FRAMES).await;
}

#[tokio::test]
async fn songs_that_are_gone_keep_no_other_song_waiting() {
    let song = Song::new();
    let (_node, address) = Node::start(&song, Mood::Well).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gone = |number| Wish { track: TrackId([number; 32]), ..song.wish(0) };
    let wishes = (0..12).map(gone).chain([song.wish(0)]).collect();
    let mut listening = Listening::start(folder.path(), vec![address], wishes);
    listening.until_here(&song.track(), 0, FRAMES).await;
    // Each is told of once.
    let mut told = 0;
    while let Ok(news) = listening.news.try_recv() {
        told += usize::from(matches!(news, News::Trouble(_)));
    }
    assert!((1..=12).contains(&told), "{told}");
}

#[tokio::test]
async fn another_node_helps_out_when_one_breaks_stalls_or_lies() {
    for mood in [Mood::Breaks, Mood::Stalls, Mood::Lies] {
        let song = Song::new();
        let (bad, first) = Node::start(&song, mood).await;
        let (good, second) = Node::start(&song, Mood::Well).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wishes = vec![song.wish(0)];
        let listening = Listening::start(folder.path(), vec![first, second], wishes);
        listening.until_here(&song.track(), 0, FRAMES).await;
        let mut sound = sound_of(&listening.cache, &song);
        assert!(read_all(|out| sound.read(out)) == song.samples(0), "{mood:?}");
        // The bad one is asked first by some, and not once for each segment.
        assert!(good.asked() >= song.segments.len(), "{mood:?}");
        assert!(bad.asked() <= 3, "{mood:?}: {}", bad.asked());
    }
}

#[tokio::test]
async fn what_goes_bad_in_the_cache_is_fetched_again_and_never_heard() {
    let song = Song::new();
    let (node, address) = Node::start(&song, Mood::Well).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listening = Listening::start(folder.path(), vec![address], vec![song.wish(0)]);
    listening.until_here(&song.track(), 0, FRAMES).await;
    let mut sound = sound_of(&listening.cache, &song);
    let mut start = vec![0.0; 2 * 1000];
    sound.read(&mut start);

    // The one after the two that it has loaded.
    let third = blake3::Hash::from(song.manifest.segments()[2].hash).to_string();
    let path = folder.path().join(&third);
    let mut rotten = std::fs::read(&path).expect("readable");
    rotten[5000] ^= 1;
    std::fs::write(&path, rotten).expect("written");
    let asked = node.asked();
    let mut rest = vec![0.0; 2 * 300_000];
    // Into the second, which looks at the third.
    sound.read(&mut rest);
    while node.asked() == asked {
        tokio::task::yield_now().await;
    }
    listening.until_here(&song.track(), 0, FRAMES).await;
    let mut heard = [start, rest].concat();
    heard.extend(read_all(|out| sound.read(out)));
    assert!(heard == song.samples(0));
    assert_eq!(sound.failure(), None);
}

#[tokio::test]
async fn a_hole_is_silence_and_said_so() {
    let song = Song::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_node, address) = Node::start(&song, Mood::Well).await;
    let listening = Listening::start(folder.path(), vec![address], vec![song.wish(0)]);
    listening.until_here(&song.track(), 0, FRAMES).await;
    drop(listening);
    let second = blake3::Hash::from(song.manifest.segments()[1].hash).to_string();
    std::fs::remove_file(folder.path().join(second)).expect("removed");

    let nobody = Address::parse("127.0.0.1:1").expect("an address");
    let again = Listening::start(folder.path(), vec![nobody], vec![song.wish(0)]);
    let (first, third) = (song.manifest.segments()[0], song.manifest.segments()[2]);
    again.until_here(&song.track(), 0, first.end()).await;
    again.until_here(&song.track(), third.first_frame, FRAMES).await;
    assert!(!again.cache.has(&song.track(), 0, first.end() + 1));
    assert_eq!(again.cache.here_until(&song.track(), 5), first.end());
    let mut sound = sound_of(&again.cache, &song);
    let heard = read_all(|out| sound.read(out));
    let whole = song.samples(0);
    let (hole, end) = (first.end() as usize * 2, third.first_frame as usize * 2);
    assert!(heard[..hole] == whole[..hole]);
    assert!(heard[hole..end].iter().all(|sample| *sample == 0.0));
    assert!(sound.failure().is_some());
}

#[tokio::test]
async fn a_cache_that_can_t_be_written_is_told_once_and_all_is_played() {
    let song = Song::new();
    let (_node, address) = Node::start(&song, Mood::Well).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("cache");
    let mut listening = Listening::start(&cache, vec![address], vec![song.wish(0)]);
    // A file where the folder was: nobody can write in there, root neither.
    std::fs::remove_dir_all(&cache).expect("removed");
    std::fs::write(&cache, "no folder").expect("written");
    listening.until_here(&song.track(), 0, FRAMES).await;
    let mut sound = sound_of(&listening.cache, &song);
    assert_eq!(read_all(|out| sound.read(out)), song.samples(0));
    let mut troubles = 0;
    while let Ok(news) = listening.news.try_recv() {
        troubles += usize::from(matches!(news, News::Trouble(why) if why.contains("song cache")));
    }
    assert!(song.segments.len() > 2 && troubles == 1, "{troubles}");
}
