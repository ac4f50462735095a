//! Nodes of one group, each with a runtime of its own.

use jam_cluster::formation::{GroupConfig, HoldsSongs, Local, StartError};
use jam_cluster::raft::addresses::Addresses;
use jam_cluster::raft::handle::{Levels, Timing};
use jam_cluster::raft::store::StoreError;
use jam_cluster::shard::{AppliedSink, Group, Stamper};
use jam_proto::event::Event;
use jam_proto::ids::{RoomCode, TrackId};
use jam_proto::level::FeatureLevel;
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{ClockEpoch, RegisterTrack};
use jam_proto::wire::v1::Track;
use jam_world::World;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Enough for a machine that does ten other things.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const TTL: Duration = Duration::from_secs(5);

pub struct Clock(AtomicU64);

impl Stamper for Clock {
    fn now(&self) -> SharedTime {
        SharedTime(self.0.fetch_add(1, Ordering::Relaxed) as i64)
    }
    fn lead(&self, _: Option<&RoomCode>) -> Flicks {
        Flicks::ZERO
    }
}

#[derive(Default)]
pub struct Sink {
    pub replaced: AtomicU64,
    pub applied: AtomicU64,
}

impl AppliedSink for Sink {
    fn applied(&self, index: u64, _: &[(RoomCode, Vec<Event>)], _: &Shard) {
        let before = self.applied.swap(index, Ordering::Relaxed);
        assert!(before < index, "entry {index} was applied after {before}");
    }
    fn replaced(&self, index: u64, _: &Shard) {
        self.applied.store(index, Ordering::Relaxed);
        self.replaced.fetch_add(1, Ordering::Relaxed);
    }
}

/// A node that runs.
pub struct Node {
    pub group: Group,
    pub sink: Arc<Sink>,
    pub runtime: Option<Runtime>,
}

impl Node {
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it runs").block_on(work)
    }

    pub fn leads(&self) -> bool {
        let standing = self.group.standing();
        let opened = self.group.read(|shard| shard.epoch().term == standing.term);
        standing.leads_with_lease && opened
    }

    /// The registration of a track that all voters hold, as the feature level in force has it.
    pub fn register(&self, number: u32) -> Op {
        let mut op = register(number);
        if let Op::RegisterTrack(registered) = &mut op
            && self.group.read(Shard::level) >= FeatureLevel::GUARDED
        {
            let members = self.group.standing().members;
            let voters = members.into_iter().filter(|member| member.voter);
            registered.holders = voters.map(|member| member.id).collect();
        }
        op
    }

    pub fn tracks(&self) -> usize {
        self.group.read(|shard| shard.tracks().count())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Places with their ports and folders, and the nodes that run.
pub struct Cluster {
    pub folder: tempfile::TempDir,
    pub peers: BTreeMap<u64, String>,
    pub nodes: BTreeMap<u64, Node>,
    /// Of the nodes that are started from here on.
    pub timing: Timing,
}

impl Cluster {
    pub fn new(places: u64) -> Self {
        // All bound at once, so that no two get the same port; free again when this returns.
        let bound: Vec<_> = (0..places)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"))
            .collect();
        let address = |listener: &std::net::TcpListener| {
            listener.local_addr().expect("an address").to_string()
        };
        let peers =
            bound.iter().enumerate().map(|(at, listener)| (at as u64 + 1, address(listener)));
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            peers: peers.collect(),
            nodes: BTreeMap::new(),
            timing: timing(),
        }
    }

    pub fn data(&self, place: u64) -> PathBuf {
        self.folder.path().join(format!("n{place}"))
    }

    /// Starts the nodes of `places` at the same time.
    pub fn start(&mut self, places: impl IntoIterator<Item = u64>) -> Result<(), StartError> {
        self.start_with(Levels::default(), places)
    }

    /// As `start`, with a build that knows these feature levels.
    pub fn start_with(
        &mut self,
        levels: Levels,
        places: impl IntoIterator<Item = u64>,
    ) -> Result<(), StartError> {
        let starting: Vec<_> = places
            .into_iter()
            .map(|place| {
                let (peers, data, timing) = (self.peers.clone(), self.data(place), self.timing);
                let options = Options { levels, timing, ..Options::default() };
                (place, std::thread::spawn(move || start_with(options, place, peers, &data)))
            })
            .collect();
        for (place, thread) in starting {
            let node = thread.join().expect("no panic")?;
            self.nodes.insert(place, node);
        }
        Ok(())
    }

    pub fn kill(&mut self, place: u64) {
        self.nodes.remove(&place).expect("it runs");
    }

    /// The place of the node that leads and takes proposals.
    pub fn leader(&self) -> u64 {
        let mut found = None;
        wait("a leader", || {
            found = self.nodes.iter().find(|(_, node)| node.leads()).map(|(&place, _)| place);
            found.is_some()
        });
        found.expect("waited for")
    }

    /// Registers tracks, each acknowledged, whoever leads. Refusals are tried again, as is what is unknown.
    pub fn register(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let began = Instant::now();
            loop {
                let leader = &self.nodes[&self.leader()];
                match leader.block_on(leader.group.propose(leader.register(number), TTL)) {
                    Ok(outcome) => {
                        assert!(matches!(outcome, Outcome::Track(_)), "{outcome:?}");
                        break;
                    }
                    Err(error) => assert!(began.elapsed() < PATIENCE, "track {number}: {error}"),
                }
            }
        }
    }

    /// Waits until all that run have this many tracks.
    pub fn all_have(&self, tracks: usize) {
        wait(&format!("{tracks} tracks on all nodes"), || {
            self.nodes.values().all(|node| node.tracks() == tracks)
        });
    }
}

pub fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn register(number: u32) -> Op {
    let id = TrackId(*blake3::hash(&number.to_le_bytes()).as_bytes());
    Op::RegisterTrack(RegisterTrack {
        track: Some(Track {
            id: id.0.to_vec(),
            title: format!("track {number}"),
            frames: 44_100,
            sample_rate: 44_100,
            channels: 2,
            bytes: 1000,
            ..Track::default()
        }),
        ..RegisterTrack::default()
    })
}

fn timing() -> Timing {
    Timing {
        heartbeat_ms: 50,
        election_ms_min: 200,
        election_ms_max: 400,
        snapshot_every: 100,
        keep_entries: 20,
        ..Timing::default()
    }
}

/// What may differ from node to node.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; `None`: where its peers look for it.
    pub listen: Option<String>,
    pub levels: Levels,
    pub timing: Timing,
    /// What it says of its songs when it joins.
    pub holds_songs: HoldsSongs,
}

impl Default for Options {
    fn default() -> Self {
        let holds_songs: HoldsSongs = Arc::new(|| Box::pin(async { Some(u64::MAX) }));
        Self { listen: None, levels: Levels::default(), timing: timing(), holds_songs }
    }
}

pub fn start(place: u64, peers: BTreeMap<u64, String>, data: &Path) -> Result<Node, StartError> {
    start_with(Options::default(), place, peers, data)
}

pub fn start_with(
    options: Options,
    place: u64,
    peers: BTreeMap<u64, String>,
    data: &Path,
) -> Result<Node, StartError> {
    let Options { listen, levels, timing, holds_songs } = options;
    let runtime =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let address = peers[&place].clone();
    let listen = listen.unwrap_or_else(|| address.clone());
    let config = GroupConfig {
        place,
        data: data.to_owned(),
        addresses: Addresses::one(address),
        peers,
        credential: Default::default(),
        timing,
        levels,
    };
    let sink = Arc::new(Sink::default());
    let started = runtime.block_on(async {
        let began = Instant::now();
        // Its predecessor, killed a moment ago, may still be letting go of the folder and the port.
        let local = loop {
            match Local::open(&World::real(), config.clone()) {
                Ok(local) => break local,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let listener = loop {
            match tokio::net::TcpListener::bind(&listen).await {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{listen}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(local.peer_service())
                .serve_with_incoming(incoming),
        );
        let clock = Arc::new(Clock(AtomicU64::new(1)));
        let group = loop {
            match local.start(clock.clone(), sink.clone(), holds_songs.clone()).await {
                // Of the predecessor again, as above.
                Err(StartError::Store(StoreError::Io { .. })) if began.elapsed() < PATIENCE => {}
                started => break started?,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        tokio::spawn(open_leaderships(group.clone()));
        Ok::<_, StartError>(group)
    });
    match started {
        Ok(group) => Ok(Node { group, sink, runtime: Some(runtime) }),
        Err(error) => {
            runtime.shutdown_background();
            Err(error)
        }
    }
}

/// As a node does: each leadership begins with an epoch.
pub async fn open_leaderships(group: Group) {
    let mut standings = group.standing_changes();
    loop {
        let standing = standings.borrow_and_update().clone();
        let opened = group.read(|shard| shard.epoch().term == standing.term);
        if standing.leader == Some(standing.id) && !opened {
            let epoch = ClockEpoch {
                epoch: 1,
                term: standing.term,
                node: standing.id,
                ..ClockEpoch::default()
            };
            if group.read_barrier(TTL).await.is_err()
                || group.propose_epoch(Op::ClockEpoch(epoch), TTL).await.is_err()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        }
        if standings.changed().await.is_err() {
            return;
        }
    }
}
