//! How a node finds its cluster, or founds one.
//!
//! A new cluster forms only when **all** the given peers say that their folders are empty; the one
//! of the lowest place founds it. It first writes down the new cluster's id, then has each peer
//! write it down too (*adopts* it), and only when all have done so begins the log. Whoever crashes
//! on the way goes on from what is written down.
//!
//! An empty folder where a cluster exists is a lost disk: such a node votes again only as a new
//! one, once an operator has said so (`jam cluster replace`).

mod contradicts;
mod join;
mod moved;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use jam_proto::wire::peer::v1::peer_server::PeerServer;
use jam_proto::wire::peer::v1::{AdoptRequest, HelloReply, HelloRequest, Stage as WireStage};
use jam_world::World;
use tonic::{Code, Status};

use crate::api::peer::PeerService;
use crate::credential::Credential;
use crate::identity::{Folder, FolderError, Id, Identity, Stage, Step};
use crate::raft::addresses::Addresses;
use crate::raft::handle::{Handle, Levels, Timing};
use crate::raft::incoming_snapshot::IncomingSnapshots;
use crate::raft::link::{Lane, Links, MESSAGE_BYTES_MAX};
use crate::raft::store::{Store, StoreError};
use crate::raft::types::PeerNode;
use crate::raft::unfinished::finish_changes;
use crate::shard::{AppliedSink, Group, Stamper, raise_when_allowed};
use crate::unique::evidence::Unfit;
use crate::unique::{Asker, Unique};
use join::Entry;
use moved::Teller;

/// Between two rounds of asking the peers.
const ROUND_EVERY: Duration = Duration::from_millis(250);
/// For one answer.
const ASK_TTL: Duration = Duration::from_secs(1);
/// Rounds in which members say that a place is not to be replaced before that is believed: one
/// that lags may not have heard of it yet.
const REFUSED_ROUNDS: u32 = 8;
/// Rounds between two lines in the log about what is waited for.
const TELL_EVERY_ROUNDS: u32 = 20;

/// The first such line comes after a second: whoever starts nodes by hand takes longer for the next one.
const TELL_FIRST_ROUND: u32 = 4;

/// Where in the data folder snapshots are that have not come whole.
const INCOMING_SNAPSHOTS: &str = "incoming-snapshots";

/// What a group is started with.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// This node's `--id`.
    pub place: u64,
    /// Its data folder.
    pub data: PathBuf,
    /// Where it is reached.
    pub addresses: Addresses,
    /// All places and where nodes reach them, this one included.
    pub peers: BTreeMap<u64, String>,
    /// What calls to the peers carry.
    pub credential: Credential,
    /// Raft's numbers.
    pub timing: Timing,
    /// The feature levels of this node.
    pub levels: Levels,
}

/// Answers the log index of a state of which this node holds every song that it must; `None`: it lacks one. Asked before it
/// may vote.
pub type HoldsSongs = Arc<dyn Fn() -> BoxFuture<'static, Option<u64>> + Send + Sync>;

/// Why a node can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The flags don't fit.
    #[error("{0}")]
    Usage(String),
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The log in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder is empty, and the cluster has begun.
    #[error(
        "the cluster exists and node {place} is a member of it, but the data folder is empty: its disk was lost. Run \
         `jam --servers {servers} cluster replace {place}`, then start this again"
    )]
    Replaced {
        /// The `--id` of this node.
        place: u64,
        /// The other nodes.
        servers: String,
    },
    /// The cluster has begun without this place.
    #[error("the cluster exists and has no node {place}; check --id and --peers")]
    NotInCluster {
        /// The `--id` of this node.
        place: u64,
    },
    /// Another node, or another process, is what this one was.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A peer will never be part of this cluster.
    #[error("the cluster can't form: {0}")]
    CantForm(String),
    /// Raft did not start.
    #[error("{0}")]
    Raft(String),
}

/// A node's own part: its folder, and its way to the peers. Open before anything is served.
pub struct Local {
    world: World,
    config: GroupConfig,
    folder: Arc<Folder>,
    links: Links,
    running: Arc<OnceLock<Arc<Handle>>>,
    unique: Arc<Unique>,
}

impl Local {
    /// Opens the data folder. Blocks for a moment.
    pub fn open(world: &World, config: GroupConfig) -> Result<Self, StartError> {
        if !config.peers.contains_key(&config.place) {
            return Err(StartError::Usage(format!("--peers does not name node {}", config.place)));
        }
        let links = Links::new(world, config.credential.clone());
        let folder = Arc::new(Folder::open(world, &config.data, config.place)?);
        let (running, unique) = (Arc::default(), Arc::new(Unique::begin()));
        Ok(Self { world: world.clone(), config, folder, links, running, unique })
    }

    /// The service for the peers. It must be served before `start` is awaited: peers ask.
    pub fn peer_service(&self) -> PeerServer<PeerService> {
        let founder = self.config.peers.keys().next().copied().unwrap_or(self.config.place);
        let (running, unique) = (self.running.clone(), self.unique.clone());
        let clients = self.config.addresses.clients.clone();
        let service = PeerService::new(self.folder.clone(), founder, running, unique, clients);
        PeerServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Finds or founds the cluster and starts Raft. Returns once this node belongs to a cluster,
    /// which may have no leader yet.
    pub async fn start(
        &self,
        stamper: Arc<dyn Stamper>,
        sink: Arc<dyn AppliedSink>,
        holds_songs: HoldsSongs,
    ) -> Result<Group, StartError> {
        if self.folder.identity().stage == Stage::Empty {
            self.discover().await?;
        }
        let own = self.folder.identity();
        let asker = self.asker(&own);
        asker.ask_first().await?;
        let journal_bytes = self.config.timing.journal_bytes;
        let raft = self.folder.raft_path();
        let store = Store::open(&self.world, &raft, own.place, journal_bytes).await?;
        if own.stage == Stage::Member && store.is_pristine() {
            let why = "its log was there before and is not now".to_owned();
            return Err(StoreError::Untrusted { place: own.place, why }.into());
        }
        let pristine = store.is_pristine();
        sink.belongs(own.node.unwrap_or(own.place));
        let links = self.links.clone();
        let GroupConfig { timing, levels, .. } = self.config;
        let incoming = self.incoming_snapshots().await?;
        let started =
            Handle::start(own.clone(), store.clone(), links, timing, levels, sink, incoming).await;
        let handle = match started {
            Ok(handle) => Arc::new(handle),
            Err(error) => {
                // The reason to report is the first one, not that the store could not be closed either.
                drop(store.close().await);
                return Err(StartError::Raft(error));
            }
        };
        if self.running.set(handle.clone()).is_err() {
            return Err(StartError::Raft("this node was started twice".to_owned()));
        }
        let group = Group::new(handle.clone(), self.folder.clone(), stamper);
        if own.stage == Stage::Forming && pristine {
            let founded = self.found(&own, &handle).await;
            if let Err(error) = founded {
                group.shutdown().await;
                return Err(error);
            }
        }
        tokio::spawn(Self::log_contradictions(self.config.clone(), group.clone()));
        tokio::spawn(raise_when_allowed(group.clone()));
        tokio::spawn(finish_changes(Arc::downgrade(&handle)));
        tokio::spawn(asker.keep_asking(Arc::downgrade(&handle)));
        let teller =
            Teller { config: self.config.clone(), own: own.clone(), links: self.links.clone() };
        tokio::spawn(teller.run(Arc::downgrade(&handle)));
        if own.node != Some(own.place) {
            let (config, links, group) = (self.config.clone(), self.links.clone(), group.clone());
            tokio::spawn(async move {
                if let Some(reason) = join::join(config, own, links, group, holds_songs).await {
                    tracing::error!(reason, "this node ends");
                    handle.give_up(reason).await;
                }
            });
        }
        Ok(group)
    }

    fn asker(&self, own: &Identity) -> Asker {
        let (unique, config, links) =
            (self.unique.clone(), self.config.clone(), self.links.clone());
        Asker { unique, config, links, own: own.clone() }
    }

    async fn incoming_snapshots(&self) -> Result<IncomingSnapshots, StoreError> {
        let (world, folder) = (self.world.clone(), self.config.data.join(INCOMING_SNAPSHOTS));
        let path = folder.clone();
        let opening = move || IncomingSnapshots::open(&world, &path);
        let opened = self.world.try_blocking(opening).await;
        opened.map_err(|source| StoreError::Io { folder, source })
    }

    /// Asks the peers until this folder belongs to a cluster.
    async fn discover(&self) -> Result<(), StartError> {
        let (mut refused, mut unknown) = (0, 0);
        let mut adopted = self.folder.stage_changes();
        for round in 0_u32.. {
            let answers = self.ask_all().await;
            if self.folder.identity().stage != Stage::Empty {
                return Ok(());
            }
            // A peer that lags may name an id that was given before the latest one.
            let waiting = answers.values().flatten().filter_map(waiting_id);
            let waiting = waiting.max_by_key(|(_, node)| *node);
            if let Some((cluster, node)) = waiting {
                match self.enter(cluster, node).await {
                    Entry::Open => return Ok(self.step(Stage::Joining, cluster, node).await?),
                    Entry::Refused => refused += 1,
                    Entry::Unknown => {}
                }
            }
            let (mut begun, mut taken) = (false, false);
            for answer in answers.values().flatten() {
                let is_member = answer.stage() == WireStage::Member;
                begun |= is_member;
                taken |= is_member && answer.place_is_taken;
            }
            if waiting.is_none() && begun {
                *(if taken { &mut refused } else { &mut unknown }) += 1;
                if unknown >= REFUSED_ROUNDS * 5 {
                    return Err(StartError::NotInCluster { place: self.config.place });
                }
            }
            if refused >= REFUSED_ROUNDS {
                return Err(StartError::Replaced {
                    place: self.config.place,
                    servers: self.servers(),
                });
            }
            let lowest = self.config.peers.keys().next() == Some(&self.config.place);
            let empty = |answer: &Option<HelloReply>| {
                answer.as_ref().is_some_and(|answer| answer.stage() == WireStage::Empty)
            };
            if lowest && answers.values().all(empty) {
                return Ok(self.step(Stage::Forming, Id::random(), self.config.place).await?);
            }
            if round % TELL_EVERY_ROUNDS == TELL_FIRST_ROUND {
                self.log_silent(&answers);
            }
            // An error means that the folder is gone, and with it this.
            drop(tokio::time::timeout(ROUND_EVERY, adopted.changed()).await);
        }
        unreachable!("the rounds have no end")
    }

    async fn step(&self, stage: Stage, cluster: Id, node: u64) -> Result<(), FolderError> {
        let into = move |own: &Identity| {
            (own.stage == Stage::Empty).then_some(Step::Into { stage, cluster, node })
        };
        self.folder.take_step(into).await.map(drop)
    }

    /// What each peer says of itself; `None` if it does not answer, or is another than it should be.
    async fn ask_all(&self) -> BTreeMap<u64, Option<HelloReply>> {
        let own = self.folder.identity();
        let asking = self.others().map(|(place, address)| async move {
            let incarnation = own.incarnation.0.to_vec().into();
            let hello = HelloRequest { place: own.place, incarnation, ..HelloRequest::default() };
            let answer = self.ask(address, hello).await.ok();
            if let Some(answer) = &answer
                && answer.place != place
            {
                tracing::warn!(
                    address,
                    expected = place,
                    found = answer.place,
                    "another node answers; check --peers"
                );
            }
            (place, answer.filter(|answer| answer.place == place))
        });
        join_all(asking).await.into_iter().collect()
    }

    async fn ask(&self, address: &str, hello: HelloRequest) -> Result<HelloReply, Status> {
        let mut client = self.links.client(address, Lane::Quick)?;
        let asked =
            tokio::time::timeout(ASK_TTL, client.hello(self.links.request(hello, ASK_TTL))).await;
        let asked = asked.map_err(|_| Status::deadline_exceeded("no answer"))?;
        Ok(asked.inspect_err(|status| self.links.log_refusal(address, status))?.into_inner())
    }

    /// Adopts the peers, all of them, and begins the log.
    async fn found(&self, own: &Identity, handle: &Handle) -> Result<(), StartError> {
        let mut members = BTreeMap::new();
        let own_addresses = self.config.addresses.clone();
        members.insert(own.place, (Some(own_addresses), own.incarnation));
        for (place, address) in self.others() {
            let (incarnation, clients) = self.adopt(own, place, address).await?;
            // A build that has one door does not say where clients reach it.
            let addresses = (!clients.is_empty()).then(|| Addresses::told(&clients, address));
            members.insert(place, (addresses, incarnation));
        }
        // Nor does it know the record of two.
        let all_know_it = members.values().all(|(addresses, _)| addresses.is_some());
        let members = members.into_iter().map(|(place, (addresses, incarnation))| {
            let addresses = addresses.filter(|_| all_know_it);
            let addresses =
                addresses.unwrap_or_else(|| Addresses::one(self.config.peers[&place].clone()));
            (place, PeerNode { addresses, place, incarnation: incarnation.0 })
        });
        let members = members.collect();
        handle.found(members).await.map_err(StartError::Raft)?;
        tracing::info!(cluster = ?own.cluster.map(String::from), "formed a new cluster");
        Ok(())
    }

    /// Answers its incarnation, and where clients reach it.
    async fn adopt(
        &self,
        own: &Identity,
        place: u64,
        address: &str,
    ) -> Result<(Id, String), StartError> {
        let cluster = own.cluster.map(|id| id.0.to_vec().into()).unwrap_or_default();
        let request = AdoptRequest { cluster, place, founder: own.place };
        loop {
            let attempt = async {
                let mut client = self.links.client(address, Lane::Quick)?;
                client.adopt(self.links.request(request.clone(), ASK_TTL)).await
            };
            match tokio::time::timeout(ASK_TTL, attempt).await {
                Ok(Ok(reply)) => {
                    let reply = reply.into_inner();
                    let incarnation = Id::from_wire(&reply.incarnation).ok_or_else(|| {
                        StartError::CantForm(format!("node {place} has no incarnation"))
                    })?;
                    return Ok((incarnation, reply.client_address));
                }
                Ok(Err(status)) if status.code() == Code::FailedPrecondition => {
                    return Err(StartError::CantForm(format!(
                        "node {place} refuses: {}",
                        status.message()
                    )));
                }
                Ok(Err(status)) => tracing::info!(
                    place,
                    reason = status.message(),
                    "waiting for a peer, to form a cluster"
                ),
                Err(_) => tracing::info!(place, "waiting for a peer, to form a cluster"),
            }
            tokio::time::sleep(ROUND_EVERY).await;
        }
    }

    fn others(&self) -> impl Iterator<Item = (u64, &str)> {
        let others = self.config.peers.iter().filter(|(place, _)| **place != self.config.place);
        others.map(|(place, address)| (*place, address.as_str()))
    }

    fn servers(&self) -> String {
        self.others().map(|(_, address)| address).collect::<Vec<_>>().join(",")
    }
}

/// The cluster and the node id that wait for whoever asked.
fn waiting_id(answer: &HelloReply) -> Option<(Id, u64)> {
    let waits = answer.stage() == WireStage::Member && answer.replacement != 0;
    waits
        .then(|| Id::from_wire(&answer.cluster))
        .flatten()
        .map(|cluster| (cluster, answer.replacement))
}
