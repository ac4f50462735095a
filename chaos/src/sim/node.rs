//! A node of the simulation: the real one, on a simulated machine, looked at from the outside.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jam_cluster::config::{Access, Config};
use jam_cluster::raft::handle::Timing;
use jam_cluster::shard::{Group, Payload};
use jam_cluster::time::clock::NodeClock;
use jam_cluster::witness::Witness;
use jam_proto::level::FeatureLevel;
use jam_proto::shard::Shard;

use super::Pace;
use super::machine::Machine;
use super::plan::{NODES, Plan, node_name};
use crate::book::Book;
use crate::crowd::Orders;
use crate::history::{Digest, Entry, Hex, Stop, TimeSample, What};
use crate::seed::Stream;

/// What an operator has made on the disk of each node.
const FOLDER: &str = "/jam";
/// The data folder in it.
const DATA: &str = "data";
/// Where every node listens.
pub const PORT: u16 = 7400;
/// A node that ended is started again after so long, as a supervisor does.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// Between two looks at a node's clock.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Every so many entries, and at each snapshot, the whole state is compared.
const DIGEST_EVERY: u64 = 16;
/// Small, so that it is filled again and again.
const JOURNAL_BYTES: usize = 32 << 10;
/// How long the disk takes, as a rule.
pub const PACE: Pace = Pace { mean_us: 300, stall_one_in: 400, stall_ms_max: 25 };

/// The place of a node. Its processes come and go.
#[derive(Clone)]
pub struct Seat {
    place: u64,
    machine: Machine,
    book: Book,
    orders: Orders,
    timing: Timing,
    seed: u64,
    life: Arc<AtomicU32>,
    /// The id of the node that has the place.
    node: Arc<AtomicU64>,
    /// Data folders that were given up.
    given_up: Arc<AtomicU32>,
    /// What was applied last, and what came of it.
    state: Arc<Mutex<Option<(u64, Shard)>>>,
}

impl Seat {
    /// An empty one.
    pub fn new(place: u64, machine: Machine, book: Book, orders: Orders, plan: &Plan) -> Self {
        let timing = Timing {
            heartbeat_ms: plan.heartbeat_ms,
            election_ms_min: plan.election_ms.0,
            election_ms_max: plan.election_ms.1,
            snapshot_every: plan.snapshot_every,
            keep_entries: plan.keep_entries,
            journal_bytes: JOURNAL_BYTES,
        };
        machine.disk().install_folder(&PathBuf::from(FOLDER));
        machine.disk().set_pace(PACE);
        Self {
            place,
            machine,
            book,
            orders,
            timing,
            seed: plan.seed,
            life: Arc::default(),
            node: Arc::new(AtomicU64::new(place)),
            given_up: Arc::default(),
            state: Arc::default(),
        }
    }

    /// Its disk is lost, and it gets another one. No process may be running.
    pub fn wipe(&self) {
        self.machine.disk().wipe();
        self.machine.disk().install_folder(&PathBuf::from(FOLDER));
    }

    /// Draws of its own, for a purpose.
    pub(super) fn draws(&self, purpose: &str) -> Stream {
        Stream::new(self.seed, &format!("n{}: {purpose}", self.place))
    }

    /// Its machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Runs node after node until the host is crashed.
    pub async fn run(self) {
        loop {
            self.life.fetch_add(1, Ordering::Relaxed);
            let eyes = Arc::new(Eyes { seat: self.clone(), life: self.life() });
            let world = self.machine.world();
            let ended =
                jam_cluster::node::run(self.config(), world, eyes, None, std::future::pending())
                    .await;
            let why = ended.err().map_or_else(String::new, |error| format!("{error:#}"));
            tracing::info!(place = self.place, why, "the node ended");
            self.book.sometimes(&format!("a node stopped by itself: {}", kind(&why)));
            let how = if self.orders.read(self.place, &why) {
                self.given_up.fetch_add(1, Ordering::Relaxed);
                Stop::Wiped
            } else {
                Stop::Failed { why }
            };
            self.stopped(how);
            tokio::time::sleep(RESTART_AFTER).await;
        }
    }

    /// Notes what its state is.
    pub fn tell_state(&self) {
        if let Some((index, state)) = self.lock_state().as_ref() {
            let digest = Digest::of_shard(state);
            let (node, life, index) = (self.id(), self.life(), *index);
            self.book.note(What::Digest { node, life, index, digest });
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, Option<(u64, Shard)>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the process has ended.
    pub fn stopped(&self, how: Stop) {
        *self.lock_state() = None;
        self.book.note(What::Stopped { node: self.id(), life: self.life(), how });
    }

    fn life(&self) -> u32 {
        self.life.load(Ordering::Relaxed)
    }

    fn id(&self) -> u64 {
        self.node.load(Ordering::Relaxed)
    }

    /// Where the node keeps what it keeps. One that may use its folder no more gets another.
    fn data(&self) -> PathBuf {
        let folder = match self.given_up.load(Ordering::Relaxed) {
            0 => DATA.to_owned(),
            before => format!("{DATA}-{before}"),
        };
        PathBuf::from(FOLDER).join(folder)
    }

    fn config(&self) -> Config {
        Config {
            place: self.place,
            data: self.data(),
            listen: SocketAddr::from(([0, 0, 0, 0], PORT)),
            advertise: address(self.place),
            peer_listen: None,
            peer_advertise: address(self.place),
            peers: (1..=NODES).map(|place| (place, address(place))).collect(),
            access: access(),
            timing: self.timing,
            level_max: FeatureLevel::CURRENT,
            workers: 1,
            unheard_ms: 60_000,
            scrub_mb_per_s: 4,
            renditions: Vec::new(),
            packs_bytes: 1 << 30,
            hot_bytes: 1 << 20,
            forget_after: Duration::from_secs(7 * 24 * 3600),
            songs_store: None,
        }
    }
}

/// Its nodes listen on a network, so they have a peer token.
fn access() -> Access {
    let peer_tokens =
        "the-peer-token-of-all-simulations".parse().expect("a token of visible ASCII");
    Access { peer_tokens: Some(peer_tokens), ..Access::default() }
}

/// Where a node is reached.
pub fn address(place: u64) -> String {
    format!("{}:{PORT}", node_name(place))
}

/// The first words of a reason: what it is, without its numbers.
fn kind(why: &str) -> String {
    why.split([':', '(', ',', ';']).next().unwrap_or_default().trim().to_owned()
}

/// Sees what a process of a node does.
struct Eyes {
    seat: Seat,
    life: u32,
}

impl Witness for Eyes {
    fn belongs(&self, node: u64) {
        self.seat.node.store(node, Ordering::Relaxed);
        self.seat.book.note(What::Started { node, life: self.life });
    }

    fn started(&self, group: &Group, clock: &Arc<NodeClock>) {
        let look = Look {
            book: self.seat.book.clone(),
            life: self.life,
            group: group.clone(),
            clock: clock.clone(),
            led: 0,
        };
        tokio::spawn(look.run());
    }

    fn applied(&self, term: u64, index: u64, entry: Payload<'_>, state: &Shard) {
        let (node, life) = (self.seat.id(), self.life);
        *self.seat.lock_state() = Some((index, state.clone()));
        let entry = match entry {
            Payload::Blank => Entry::Blank,
            Payload::Members(text) => Entry::Membership(text),
            Payload::Batch(bytes) => Entry::Batch(Hex(bytes.to_vec())),
            Payload::Snapshot => {
                self.seat.book.note(What::Installed { node, life, index, term });
                let digest = Digest::of_shard(state);
                self.seat.book.note(What::Digest { node, life, index, digest });
                return;
            }
        };
        self.seat.book.note(What::Applied { node, life, index, term, entry });
        if index.is_multiple_of(DIGEST_EVERY) {
            let digest = Digest::of_shard(state);
            self.seat.book.note(What::Digest { node, life, index, digest });
        }
    }
}

/// Looks at a node's clock and its leadership.
struct Look {
    book: Book,
    life: u32,
    group: Group,
    clock: Arc<NodeClock>,
    /// The last term in which it was seen to lead.
    led: u64,
}

impl Look {
    async fn run(mut self) {
        while !self.group.is_stopped() {
            tokio::time::sleep(LOOK_EVERY).await;
            let standing = self.group.standing();
            let (node, life, term) = (standing.id, self.life, standing.term);
            let leads = standing.leads_with_lease && self.clock.leads_in() == Some(term);
            if leads && self.led < term {
                self.led = term;
                self.book.note(What::Leads { node, life, term });
            }
            self.book.note(What::Time(TimeSample {
                node,
                life,
                term,
                epoch: self.clock.epoch(),
                leads,
                shared: self.clock.now().0,
                bound_ns: self.clock.error_bound_ns(),
                bound_term: self.clock.bound_term(),
                asked_ns: self.book.now_ns(),
            }));
        }
    }
}
