//! Three nodes in one process, over real loopback sockets and real stores: forming, leader change,
//! restarts, snapshots to a node that lags, and the replacement of a node.
//!
//! Each node has a runtime of its own, and is killed by dropping it: nothing is said or flushed.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jam_cluster::formation::{GroupConfig, Local, StartError};
use jam_cluster::identity::{Folder, Id, Stage, Step};
use jam_cluster::raft::handle::Timing;
use jam_cluster::raft::store::StoreError;
use jam_cluster::shard::{AppliedSink, Group, ProposeError, Stamper};
use jam_proto::event::Event;
use jam_proto::ids::{RoomCode, TrackId};
use jam_proto::shard::{Outcome, Shard};
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{ClockEpoch, RegisterTrack, ReplaceNode};
use jam_proto::wire::v1::Track;
use jam_world::World;
use tokio::runtime::{Builder, Runtime};

/// Enough for a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(5);

struct Clock(AtomicU64);

impl Stamper for Clock {
    fn now(&self) -> SharedTime {
        SharedTime(self.0.fetch_add(1, Ordering::Relaxed) as i64)
    }
    fn lead(&self, _: Option<&RoomCode>) -> Flicks {
        Flicks::ZERO
    }
}

#[derive(Default)]
struct Sink {
    replaced: AtomicU64,
    applied: AtomicU64,
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
struct Node {
    group: Group,
    sink: Arc<Sink>,
    runtime: Option<Runtime>,
}

impl Node {
    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it runs").block_on(work)
    }

    fn leads(&self) -> bool {
        let standing = self.group.standing();
        let opened = self.group.read(|shard| shard.epoch().term == standing.term);
        standing.leads_with_lease && opened
    }

    fn tracks(&self) -> usize {
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
struct Cluster {
    folder: tempfile::TempDir,
    peers: BTreeMap<u64, String>,
    nodes: BTreeMap<u64, Node>,
}

impl Cluster {
    fn new(places: u64) -> Self {
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
        }
    }

    fn data(&self, place: u64) -> PathBuf {
        self.folder.path().join(format!("n{place}"))
    }

    /// Starts the nodes of `places` at the same time.
    fn start(&mut self, places: impl IntoIterator<Item = u64>) -> Result<(), StartError> {
        let starting: Vec<_> = places
            .into_iter()
            .map(|place| {
                let (peers, data) = (self.peers.clone(), self.data(place));
                (place, std::thread::spawn(move || start(place, peers, &data)))
            })
            .collect();
        for (place, thread) in starting {
            let node = thread.join().expect("no panic")?;
            self.nodes.insert(place, node);
        }
        Ok(())
    }

    fn kill(&mut self, place: u64) {
        self.nodes.remove(&place).expect("it runs");
    }

    /// The place of the node that leads and takes proposals.
    fn leader(&self) -> u64 {
        let mut found = None;
        wait("a leader", || {
            found = self.nodes.iter().find(|(_, node)| node.leads()).map(|(&place, _)| place);
            found.is_some()
        });
        found.expect("waited for")
    }

    /// Registers tracks, each acknowledged, whoever leads. Refusals are tried again, as is what is unknown.
    fn register(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let began = Instant::now();
            loop {
                let leader = &self.nodes[&self.leader()];
                match leader.block_on(leader.group.propose(register(number), TTL)) {
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
    fn all_have(&self, tracks: usize) {
        wait(&format!("{tracks} tracks on all nodes"), || {
            self.nodes.values().all(|node| node.tracks() == tracks)
        });
    }
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn register(number: u32) -> Op {
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
    })
}

fn start(place: u64, peers: BTreeMap<u64, String>, data: &Path) -> Result<Node, StartError> {
    let runtime =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let address = peers[&place].clone();
    let timing = Timing {
        heartbeat_ms: 50,
        election_ms_min: 200,
        election_ms_max: 400,
        snapshot_every: 100,
        keep_entries: 20,
        ..Timing::default()
    };
    let config = GroupConfig {
        place,
        data: data.to_owned(),
        address: address.clone(),
        peers,
        token: None,
        timing,
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
            match tokio::net::TcpListener::bind(&address).await {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{address}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(local.peer_service())
                .serve_with_incoming(incoming),
        );
        let holds_songs: jam_cluster::formation::HoldsSongs = Arc::new(|| Box::pin(async { true }));
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
async fn open_leaderships(group: Group) {
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

#[test]
fn three_nodes_survive_their_leader_and_themselves() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..20);
    cluster.all_have(20);
    let ids: Vec<_> = cluster.nodes.values().map(|node| node.group.cluster_id()).collect();
    assert!(ids.iter().all(|id| id == &ids[0]));

    // Leadership is handed over on request.
    let first = cluster.leader();
    let to = 1 + first % 3;
    let leader = &cluster.nodes[&first];
    leader.block_on(leader.group.transfer(to, PATIENCE)).expect("it hands over");
    cluster.register(20..30);

    // The leader is killed: another leads in a higher term, and nothing is lost.
    let killed = cluster.leader();
    let term = cluster.nodes[&killed].group.standing().term;
    cluster.kill(killed);
    cluster.register(30..40);
    let next = &cluster.nodes[&cluster.leader()];
    assert!(next.group.standing().term > term);
    next.block_on(next.group.read_barrier(TTL)).expect("a leader with a majority");
    cluster.all_have(40);

    // Without a majority every proposal is refused, and none of them ever shows up.
    let left = cluster.leader();
    let other = *cluster.nodes.keys().find(|&&place| place != left).expect("two run");
    cluster.kill(other);
    let alone = &cluster.nodes[&left];
    wait("the lease to run out", || !alone.group.standing().leads_with_lease);
    let mut refused = 0;
    wait("refusals", || {
        match alone.block_on(alone.group.propose(register(1000), TTL)) {
            Err(ProposeError::NoQuorum | ProposeError::NotLeader { .. }) => refused += 1,
            // Taken just before the refusals began, and never committed: the next leader drops it, or keeps it.
            Err(ProposeError::Unknown) => {}
            other => panic!("{other:?}"),
        }
        refused == 10
    });
    assert!(alone.block_on(alone.group.read_barrier(TTL)).is_err());

    // All are killed, all come back.
    cluster.kill(left);
    cluster.start(1..=3).expect("they resume");
    cluster.register(40..50);
    let tracks = cluster.nodes[&cluster.leader()].tracks();
    assert!((50..=51).contains(&tracks), "{tracks}");
    cluster.all_have(tracks);

    // One that shuts down says so first; the others go on.
    let leader = cluster.leader();
    let node = cluster.nodes.remove(&leader).expect("it runs");
    node.block_on(node.group.shutdown());
    assert!(matches!(
        node.block_on(node.group.propose(register(2000), TTL)),
        Err(ProposeError::Stopped(_))
    ));
    drop(node);
    cluster.register(50..51);
}

#[test]
fn a_node_that_lags_gets_a_snapshot_and_a_lost_one_is_replaced() {
    let mut cluster = Cluster::new(3);
    cluster.start(1..=3).expect("they form");
    cluster.register(0..5);
    cluster.kill(3);
    cluster.register(5..250);
    cluster.start([3]).expect("it resumes");
    cluster.all_have(250);
    assert!(cluster.nodes[&3].sink.replaced.load(Ordering::Relaxed) > 0, "no snapshot came");

    // Its disk is lost.
    cluster.kill(3);
    wait("the folder", || {
        std::fs::remove_dir_all(cluster.data(3)).is_ok() || !cluster.data(3).exists()
    });
    let refusal = cluster.start([3]).expect_err("an empty folder is no member");
    assert!(matches!(refusal, StartError::Replaced { place: 3, .. }), "{refusal}");
    assert!(refusal.to_string().contains("cluster replace 3"), "{refusal}");

    let leader = &cluster.nodes[&cluster.leader()];
    let replace = Op::ReplaceNode(ReplaceNode { node: 3, holder: 3 });
    let outcome = leader.block_on(leader.group.propose(replace, PATIENCE));
    let Ok(Outcome::Node(replacement)) = outcome else { panic!("{outcome:?}") };
    assert!(replacement > 3);
    cluster.start([3]).expect("it is waited for");
    wait("the new node to vote", || {
        let members = cluster.nodes[&cluster.leader()].group.standing().members;
        let voters: Vec<_> =
            members.iter().filter(|member| member.voter).map(|member| member.id).collect();
        voters == [1, 2, replacement] && members.len() == 3
    });
    cluster.all_have(250);

    // Its vote counts, and it is still itself after a restart.
    cluster.kill(1);
    cluster.register(250..255);
    cluster.kill(3);
    cluster.start([3]).expect("it resumes");
    cluster.register(255..260);
    cluster.all_have(260);
    assert_eq!(cluster.nodes[&3].group.standing().id, replacement);
}

#[test]
fn a_cluster_forms_only_when_all_are_there() {
    let mut cluster = Cluster::new(3);
    let waiting = [1, 2].map(|place| {
        let (peers, data) = (cluster.peers.clone(), cluster.data(place));
        std::thread::spawn(move || start(place, peers, &data))
    });
    wait("the folders", || {
        [1, 2].iter().all(|&place| cluster.data(place).join("identity.json").exists())
    });
    assert!(waiting.iter().all(|thread| !thread.is_finished()));
    cluster.start([3]).expect("now they form");
    for (place, thread) in (1..).zip(waiting) {
        cluster.nodes.insert(place, thread.join().expect("no panic").expect("it forms"));
    }
    cluster.register(0..3);
    cluster.all_have(3);
}

#[test]
fn a_founder_that_crashed_goes_on_forming() {
    let mut cluster = Cluster::new(3);
    let id = Id::random();
    // What a crash leaves after one of the two peers was adopted.
    for (place, stage) in [(1, Stage::Forming), (2, Stage::Joining)] {
        let folder = Folder::open(&World::real(), &cluster.data(place), place).expect("a folder");
        folder.step(|_| Some(Step::Into { stage, cluster: id, node: place })).expect("a step");
    }
    cluster.start(1..=3).expect("they form");
    cluster.register(0..3);
    cluster.all_have(3);
    assert!(cluster.nodes.values().all(|node| node.group.cluster_id() == id));
    wait("all to be members", || {
        cluster.nodes.values().all(|node| node.group.stage() == Stage::Member)
    });

    // Another folder's node is not taken for the one that was lost: it is told what to do.
    cluster.kill(2);
    let lost = cluster.folder.path().join("elsewhere");
    wait("the folder", || std::fs::rename(cluster.data(2), &lost).is_ok());
    let refusal = cluster.start([2]).expect_err("it was a member");
    assert!(matches!(refusal, StartError::Replaced { place: 2, .. }), "{refusal}");
}

#[test]
fn one_node_is_a_cluster_too() {
    let mut cluster = Cluster::new(1);
    cluster.start([1]).expect("it forms");
    cluster.register(0..150);
    let node = &cluster.nodes[&1];
    let snapshot = node.block_on(node.group.snapshot()).expect("a snapshot");
    assert!(snapshot >= 150);
    // The second one is asked for while the first one is built, and the first one lacks what came in between.
    cluster.register(150..151);
    let (first, second) = node.block_on(async {
        tokio::join!(node.group.snapshot(), async {
            node.group.propose(register(151), PATIENCE).await.expect("it is committed");
            node.group.snapshot().await
        })
    });
    assert!(first.expect("a snapshot") < second.expect("a newer one"));
    cluster.kill(1);
    cluster.start([1]).expect("it resumes");
    cluster.register(152..153);
    cluster.all_have(153);
}
