//! One node: the only place that knows all the parts, and wires them together.
//!
//! It opens the data folder and its clock, serves its peers (that is how a cluster forms), joins
//! or founds the cluster, and then serves everybody.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::middleware::map_response;
use jam_proto::ids::RoomCode;
use jam_proto::limits::REQUEST_BYTES_MAX;
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::peer::v1::clocks_server::ClocksServer;
use jam_proto::wire::peer::v1::forward_server::ForwardServer;
use jam_proto::wire::v1::cluster_server::ClusterServer;
use jam_proto::wire::v1::rooms_server::RoomsServer;
use jam_proto::wire::v1::time_server::TimeServer;
use jam_world::{LostLines, World};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::service::Routes;

use crate::answers;
use crate::api::clocks::ClocksService;
use crate::api::cluster::ClusterService;
use crate::api::large::Kitchen;
use crate::api::reading::RELAYED_AT_ONCE;
use crate::api::rooms::RoomsService;
use crate::api::songs;
use crate::api::time::TimeService;
use crate::blobs::{self, Blobs, Outside, Pace, StoreUrl};
use crate::config::Config;
use crate::credential::{Credential, PeerTokens};
use crate::doors::{self, Doors};
use crate::forgetting::forget_unused;
use crate::formation::{GroupConfig, Local};
use crate::forward::{ForwardService, Forwarder};
use crate::http::{Pages, router, unknown_path};
use crate::lines::Lines;
use crate::links::Links;
use crate::lost::mark_lost_songs;
use crate::metrics::Metrics;
use crate::moves::Moves;
use crate::presence::Presence;
use crate::raft::addresses::Addresses;
use crate::raft::handle::Levels;
use crate::receipts::Receipts;
use crate::rendering::Rendering;
use crate::segments::{self, Segments, Shelf};
use crate::shard::{Group, Stamper};
use crate::slow::drop_slow;
use crate::songs::{Applied, SongCluster};
use crate::time::clock::NodeClock;
use crate::time::follow::Follower;
use crate::time::keep::Keeper;
use crate::time::leadership::open_leaderships;
use crate::time::leadership_log::log_leadership;
use crate::time::voters::Voters;
use crate::time_marks::mark_time;
use crate::unheard::pause_unheard;
use crate::watch::WatchHub;
use crate::witness::Witness;

/// What is under way when the node stops gets this long to end.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(1500);

/// Runs a node on a machine until `stop`, or until it can't go on: then the error says why. `lost_lines` counts what of its log
/// could not be written.
pub async fn run(
    config: Config,
    world: World,
    witness: Arc<dyn Witness>,
    lost_lines: Option<LostLines>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (machine, data) = (world.clone(), config.data.clone());
    let ended = run_until(config, world, witness, lost_lines, stop).await;
    ended.map_err(|error| match blobs::advice_if_full(&machine, &data) {
        Some(advice) => error.context(advice),
        None => error,
    })
}

async fn run_until(
    config: Config,
    world: World,
    witness: Arc<dyn Witness>,
    lost_lines: Option<LostLines>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let credential = credential(&config)?;
    blobs::make_room_to_start(&world, &config.data)
        .with_context(|| format!("can't look for room in {}", config.data.display()))?;
    let local = Arc::new(Local::open(&world, group_config(&config, credential.clone()))?);
    let keeper = Keeper::open(&world, &config.data).context("can't read the saved clock")?;
    let (stopping, stops) = watch::channel(false);
    let main = Arc::new(OnceLock::new());
    let lines = Arc::<Lines>::default();
    let mut doors = Doors::open(&world, &config, &local, &main, &lines, &stops).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        place = config.place,
        listen = %config.listen,
        peer_listen = ?config.peer_listen,
        advertise = config.advertise,
        data = %config.data.display(),
        "listening"
    );

    let mut parts = Parts::new(&config, credential, world, witness, keeper, lines, stops);
    parts.lost_lines = lost_lines;
    tokio::pin!(stop);
    let runtime = doors.runtime();
    let group = tokio::select! {
        started = parts.start(&runtime, local) => started?,
        () = &mut stop => return Ok(()),
        closed = doors.closed() => return Err(closed),
    };
    let (node, cluster) = (group.standing().id, group.cluster_id());
    tracing::info!(node, %cluster, "this node belongs to a cluster");
    let mut tasks = JoinSet::new();
    let outside = tokio::select! {
        claimed = parts.outside(&group) => claimed?,
        () = &mut stop => return Ok(()),
    };
    parts.open(&group, &mut tasks, &main, outside)?;

    let ended = tokio::select! {
        () = &mut stop => Ok(()),
        reason = group.failed() => Err(anyhow!(reason)),
        closed = doors.closed() => Err(closed),
        Some(task) = tasks.join_next() => Err(match (group.failure(), task) {
            // Its parts end with Raft.
            (Some(reason), _) => anyhow!(reason),
            (None, Ok(())) => anyhow!("a part of this node ended, which is a bug"),
            (None, Err(panic)) => anyhow!("a part of this node failed, which is a bug: {panic}"),
        }),
    };
    tracing::info!("stopping");
    // First another node leads, then clients are sent there, and then what is under way may end.
    group.hand_over().await;
    stopping.send_replace(true);
    doors.drain(DRAIN_TIMEOUT).await;
    tasks.shutdown().await;
    group.shutdown().await;
    if let Err(error) = parts.keeper.save_synced() {
        tracing::warn!(%error, "could not save the clock");
    }
    ended
}

/// Returns when the process is told to end.
pub async fn terminated() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "can't hear signals; only SIGKILL ends this node");
            std::future::pending().await
        }
    }
}

/// What a node is made of, but for its group.
struct Parts {
    world: World,
    witness: Arc<dyn Witness>,
    data: PathBuf,
    keeper: Keeper,
    clock: Arc<NodeClock>,
    hub: Arc<WatchHub>,
    applied: Arc<Applied>,
    presence: Arc<Presence>,
    metrics: Arc<Metrics>,
    moves: Arc<Moves>,
    links: Arc<Links>,
    lines: Arc<Lines>,
    peer_tokens: Option<PeerTokens>,
    stopping: watch::Receiver<bool>,
    unheard: Duration,
    scrub: Pace,
    ladder: Vec<u32>,
    packs_bytes: u64,
    hot_bytes: u64,
    forget_after: Duration,
    songs_store: Option<StoreUrl>,
    /// Of the log.
    lost_lines: Option<LostLines>,
}

impl Parts {
    fn new(
        config: &Config,
        credential: Credential,
        world: World,
        witness: Arc<dyn Witness>,
        keeper: Keeper,
        lines: Arc<Lines>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let hub = Arc::<WatchHub>::default();
        let metrics = Arc::<Metrics>::default();
        Self {
            data: config.data.clone(),
            clock: keeper.clock(),
            applied: Arc::new(Applied::new(
                keeper.clock(),
                hub.clone(),
                witness.clone(),
                metrics.clone(),
            )),
            keeper,
            witness,
            hub,
            presence: Arc::default(),
            metrics,
            moves: Arc::default(),
            links: Arc::new(Links::new(&world, credential)),
            peer_tokens: config.access.peer_tokens.clone(),
            world,
            lines,
            stopping,
            unheard: Duration::from_millis(config.unheard_ms),
            scrub: Pace::mb_per_s(config.scrub_mb_per_s),
            ladder: config.renditions.clone(),
            packs_bytes: config.packs_bytes,
            hot_bytes: config.hot_bytes,
            forget_after: config.forget_after,
            songs_store: config.songs_store.clone(),
            lost_lines: None,
        }
    }

    /// Joins or founds the cluster.
    async fn start(&self, runtime: &Handle, local: Arc<Local>) -> anyhow::Result<Group> {
        let stamper = LeaderStamps {
            clock: Arc::clone(&self.clock),
            presence: Arc::clone(&self.presence),
            metrics: Arc::clone(&self.metrics),
        };
        let applied = self.applied.clone();
        let holds_songs = Arc::new(move || applied.holds_songs());
        let sink = self.applied.clone();
        let starting = async move { local.start(Arc::new(stamper), sink, holds_songs).await };
        Ok(doors::run(runtime, starting).await?)
    }

    /// Finds out whether the songs' store can be used, if there is to be one.
    async fn outside(&self, group: &Group) -> anyhow::Result<Option<Outside>> {
        let Some(store) = &self.songs_store else { return Ok(None) };
        store.claim(&self.world, &self.data, &group.cluster_id().to_string()).await
    }

    /// Starts what runs besides the group, and opens the doors for clients.
    fn open(
        &self,
        group: &Group,
        tasks: &mut JoinSet<()>,
        main: &OnceLock<Router>,
        outside: Option<Outside>,
    ) -> anyhow::Result<()> {
        let cluster_id = group.cluster_id().0.to_vec();
        let (clock, presence) = (&self.clock, &self.presence);
        tasks.spawn(self.keeper.clone().run());
        tasks.spawn(drop_slow(self.hub.clone(), self.lines.clone(), self.metrics.clone()));
        let voters =
            Voters { group: group.clone(), links: self.links.clone(), clock: clock.clone() };
        tasks.spawn(open_leaderships(voters, presence.clone()));
        tasks.spawn(log_leadership(group.clone()));
        tasks.spawn(mark_time(group.clone(), clock.clone()));
        let (moves, moving) = (self.moves.clone(), group.clone());
        tasks.spawn(async move { moves.count(moving).await });
        tasks.spawn(pause_unheard(group.clone(), presence.clone(), clock.clone(), self.unheard));
        tasks.spawn(forget_unused(group.clone(), clock.clone(), self.forget_after));
        let follower = Follower {
            group: group.clone(),
            clock: clock.clone(),
            links: self.links.clone(),
            cluster_id: cluster_id.clone(),
        };
        tasks.spawn(follower.run());

        let (links, metrics) = (self.links.clone(), self.metrics.clone());
        let forwarder = Forwarder::new(group.clone(), links, metrics, cluster_id.clone());
        let cluster = SongCluster { group: group.clone(), forwarder: forwarder.clone() };
        let open = || -> std::io::Result<_> {
            let shelf = Shelf::open(&self.world, &self.data, self.packs_bytes)?;
            let cluster = Arc::new(cluster);
            let blobs =
                Blobs::open(&self.world, &self.data, cluster, shelf.clone(), self.scrub, outside)?;
            Ok((shelf, blobs))
        };
        let (shelf, blobs) =
            open().with_context(|| format!("can't open the songs in {}", self.data.display()))?;
        let segments = Segments::new(&self.world, blobs.clone(), shelf, self.hot_bytes);
        self.applied.connect(group, &blobs);
        tasks.spawn(blobs.clone().run());
        tasks.spawn(mark_lost_songs(group.clone(), blobs.clone()));
        let (world, ladder) = (self.world.clone(), self.ladder.clone());
        let rendering = Rendering { group: group.clone(), blobs: blobs.clone(), world, ladder };
        tasks.spawn(rendering.run());
        // Set once: `run` calls this once.
        let _ = main.set(self.routes(group, &forwarder, blobs, segments, cluster_id));
        self.witness.started(group, &self.clock);
        Ok(())
    }

    fn routes(
        &self,
        group: &Group,
        forwarder: &Forwarder,
        blobs: Arc<Blobs>,
        segments: Arc<Segments>,
        cluster_id: Vec<u8>,
    ) -> Router {
        let rooms = RoomsService {
            lines: self.lines.clone(),
            kitchen: Kitchen::new(&self.world),
            relaying: Arc::new(Semaphore::new(RELAYED_AT_ONCE)),
            group: group.clone(),
            forwarder: forwarder.clone(),
            hub: self.hub.clone(),
            presence: self.presence.clone(),
            clock: self.clock.clone(),
            rates: Arc::default(),
            cluster_id: cluster_id.clone(),
            stopping: self.stopping.clone(),
        };
        let receipts = Receipts::new(self.peer_tokens.as_ref(), &cluster_id);
        let receipt = {
            let (receipts, clock) = (receipts.clone(), self.clock.clone());
            Arc::new(move || receipts.issue(clock.now()))
        };
        let time = TimeService {
            clock: self.clock.clone(),
            group: group.clone(),
            presence: self.presence.clone(),
            receipts: receipts.clone(),
            metrics: self.metrics.clone(),
            cluster_id: cluster_id.clone(),
            stopping: self.stopping.clone(),
            next_stream: Arc::default(),
        };
        let clocks = ClocksService { group: group.clone(), clock: self.clock.clone() };
        let cluster = ClusterService {
            group: group.clone(),
            forwarder: forwarder.clone(),
            blobs: blobs.clone(),
            moves: self.moves.clone(),
            cluster_id,
        };
        let pages = Pages {
            group: group.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            presence: self.presence.clone(),
            hub: self.hub.clone(),
            blobs: blobs.clone(),
            segments: segments.clone(),
            stopping: self.stopping.clone(),
            lost_lines: self.lost_lines.clone(),
        };
        let limit = REQUEST_BYTES_MAX;
        let forward = ForwardService::new(forwarder.clone(), rooms.clone());
        Routes::new(RoomsServer::new(rooms).max_decoding_message_size(limit))
            .add_service(TimeServer::new(time).max_decoding_message_size(limit))
            .add_service(ClusterServer::new(cluster).max_decoding_message_size(limit))
            .add_service(ClocksServer::new(clocks).max_decoding_message_size(limit))
            .add_service(ForwardServer::new(forward))
            .add_service(blobs::peer_service(blobs.clone()))
            .add_service(songs::service(blobs))
            .add_service(segments::service(segments, receipt))
            .into_axum_router()
            .layer(map_response(answers::put_in_place))
            .merge(router(pages))
            .fallback(unknown_path)
    }
}

/// The leader's stamps: shared time, and how far ahead the room's listeners need to know.
struct LeaderStamps {
    clock: Arc<NodeClock>,
    presence: Arc<Presence>,
    metrics: Arc<Metrics>,
}

impl Stamper for LeaderStamps {
    fn now(&self) -> SharedTime {
        self.clock.now()
    }

    fn lead(&self, room: Option<&RoomCode>) -> Flicks {
        self.presence.lead(room, self.metrics.recent_commit_ns(), Instant::now())
    }
}

fn credential(config: &Config) -> anyhow::Result<Credential> {
    let access = &config.access;
    Credential::new(access.token.as_deref(), access.peer_tokens.as_ref())
        .map_err(|why| anyhow!(why))
}

fn group_config(config: &Config, credential: Credential) -> GroupConfig {
    GroupConfig {
        place: config.place,
        data: config.data.clone(),
        addresses: Addresses {
            clients: config.advertise.clone(),
            peers: config.peer_advertise.clone(),
        },
        peers: config.peers.clone(),
        credential,
        timing: config.timing,
        levels: Levels { allowed: config.level_max, ..Levels::default() },
    }
}
