//! That one process alone runs as this node, and that the node is still a member.
//!
//! A node that was replaced may come back with its old disk, and a data folder may be copied: both look healthy, and both
//! may vote where they must not. So a process says to its peers that it runs, before its Raft starts and now and then
//! afterwards, and hears from them whether another node votes in its place, and whether another process of its data
//! folder runs. Of two, the one that began later ends ([`callers`] tells how that is made sure of, [`evidence`] what is
//! concluded).
//!
//! What can't be prevented: two processes of one folder that don't reach each other run for as long as no peer reaches
//! both. A peer that does not answer refuses nobody.

pub mod callers;
pub mod evidence;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use jam_proto::wire::peer::v1::{self as wire, Claim, FolderReport, HelloReply, HelloRequest};
use tokio::time::{Instant, sleep, timeout};

use crate::formation::GroupConfig;
use crate::identity::{Id, Identity, Stage};
use crate::raft::handle::Handle;
use crate::raft::link::{Lane, Links};
use callers::{Callers, PROCESSES_MAX, Process, Word};
use evidence::{Evidence, Unfit};

/// For the peers' answers before Raft starts. One that answers at all does so well within it.
const FIRST_TTL: Duration = Duration::from_millis(500);
/// For their answers later on.
const TTL: Duration = Duration::from_secs(2);
/// Between two rounds of asking.
const ROUND_EVERY: Duration = Duration::from_secs(10);
/// The same, while it is not settled whether another process of the folder lives.
const UNSETTLED_ROUND_EVERY: Duration = Duration::from_millis(2500);
/// So long after the start of a process: after that the other one would have asked, too, if it lived.
const UNSETTLED_FOR: Duration = Duration::from_secs(15);
/// The first round after Raft has started: two processes that started together meet here.
const FIRST_ROUND_AFTER: Duration = Duration::from_secs(1);
/// A process that is told that it stays over another one asks again at once, which tells the peer that it has read that.
const ASK_AGAIN_MAX: usize = 4;

/// What a process knows of itself and of others that run as members.
pub struct Unique {
    process: Id,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    callers: Callers,
    evidence: Evidence,
    unsettled: bool,
}

impl Unique {
    /// Of the process that starts now.
    pub fn begin() -> Self {
        Self { process: Id::random(), began: Instant::now(), state: Mutex::default() }
    }

    /// Puts into the answer to a `Hello` which process answers, and what it knows of the one that asks, if that is one of
    /// a member and this node's Raft runs.
    pub fn answer(&self, asks: &HelloRequest, raft: Option<&Arc<Handle>>, reply: &mut HelloReply) {
        reply.process = self.process.0.to_vec().into();
        let Some(handle) = raft else { return };
        let asked = asks.process.as_ref().and_then(|wire| {
            let id = Id::from_wire(&wire.id)?;
            let stays_over = wire.stays_over.iter().take(PROCESSES_MAX);
            let stays_over = stays_over.filter_map(|id| Id::from_wire(id)).collect();
            Some(Process { id, age_ms: wire.age_ms, stays_over })
        });
        let (Some(process), Some(folder)) = (asked, Id::from_wire(&asks.incarnation)) else {
            return;
        };
        // One that ends speaks for nobody any more.
        if process.id == self.process || handle.given_up.get().is_some() {
            return;
        }
        let own = handle.own.incarnation;
        let folders = handle.folders();
        let mut report = FolderReport::default();
        if folder == own || folders.contains(&folder.0) {
            let mut state = self.lock();
            state.callers.keep(|folder| folder == own || folders.contains(&folder.0));
            let mut word = state.callers.hear(folder, process.clone(), self.age_ms());
            if folder == own {
                self.hear_itself(&mut state, own);
                word = state.callers.hear(folder, process, self.age_ms());
            }
            let (other, claim) = match word {
                Word::Alone => (None, Claim::Unsettled),
                Word::Unsettled(other) => (Some(other), Claim::Unsettled),
                Word::Stays(other) => (Some(other), Claim::Stays),
                Word::Ends(other) => (Some(other), Claim::Ends),
            };
            report.other = other.map(|other| other.0.to_vec().into()).unwrap_or_default();
            report.set_claim(claim);
        } else {
            report.holder = handle.voter_at(asks.place).unwrap_or(0);
        }
        reply.folder = Some(report);
    }

    /// A process that meets another one of its own folder is a member to both: it hears itself as it hears that one.
    fn hear_itself(&self, state: &mut State, folder: Id) {
        for _ in 0..ASK_AGAIN_MAX {
            let stays_over = state.evidence.stays_over();
            let own = Process { id: self.process, age_ms: self.age_ms() as u64, stays_over };
            let word = state.callers.hear(folder, own, self.age_ms());
            state.evidence.told(word);
            if !matches!(word, Word::Stays(_)) {
                return;
            }
        }
    }

    /// Since this process started, which is also the clock that it goes by.
    fn age_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks on behalf of one process.
#[derive(Clone)]
pub struct Asker {
    /// What it knows.
    pub unique: Arc<Unique>,
    /// Its flags.
    pub config: GroupConfig,
    /// Its way to the peers.
    pub links: Links,
    /// Who it is.
    pub own: Identity,
}

impl Asker {
    /// Before Raft starts: asks everybody at the same time, and no longer than half a second.
    pub async fn ask_first(&self) -> Result<(), Unfit> {
        match self.own.stage {
            Stage::Member => self.round(self.addresses(None), FIRST_TTL).await.map_or(Ok(()), Err),
            // It has promised nothing yet.
            Stage::Empty | Stage::Forming | Stage::Joining => Ok(()),
        }
    }

    /// While Raft runs: asks again and again. Ends with Raft, which it stops if this node must not go on.
    pub async fn keep_asking(self, raft: Weak<Handle>) {
        let mut pause = FIRST_ROUND_AFTER;
        loop {
            // So that nodes that started together do not ask together.
            sleep(pause.mul_f64(rand::random_range(0.7..1.0))).await;
            let Some(addresses) = self.addresses_known_to(&raft) else { return };
            let concluded = self.round(addresses, TTL).await;
            let Some(handle) = raft.upgrade() else { return };
            if let Some(unfit) = concluded {
                tracing::error!(reason = %unfit, "this node ends");
                return handle.give_up(unfit.to_string()).await;
            }
            let unsettled = self.unique.lock().unsettled;
            let early = self.unique.began.elapsed() < UNSETTLED_FOR;
            pause = if unsettled && early { UNSETTLED_ROUND_EVERY } else { ROUND_EVERY };
        }
    }

    fn addresses_known_to(&self, raft: &Weak<Handle>) -> Option<BTreeSet<String>> {
        Some(self.addresses(Some(raft.upgrade()?.as_ref())))
    }

    /// Where members may be reached, and this node itself: another process that answers there runs as this node.
    fn addresses(&self, raft: Option<&Handle>) -> BTreeSet<String> {
        let mut addresses: BTreeSet<String> = self.config.peers.values().cloned().collect();
        addresses.insert(self.config.addresses.peers.clone());
        addresses.extend(raft.map(Handle::addresses).unwrap_or_default());
        addresses
    }

    /// Asks them all at the same time, and concludes from all that was heard until now.
    async fn round(&self, addresses: BTreeSet<String>, ttl: Duration) -> Option<Unfit> {
        self.unique.lock().unsettled = false;
        join_all(addresses.iter().map(|address| timeout(ttl, self.ask(address, ttl)))).await;
        let node = self.own.node.unwrap_or(self.own.place);
        self.unique.lock().evidence.conclude(self.unique.process, node, self.own.place)
    }

    async fn ask(&self, address: &str, ttl: Duration) {
        for _ in 0..ASK_AGAIN_MAX {
            let Ok(mut client) = self.links.client(address, Lane::Quick) else { return };
            let request = self.links.request(self.hello(), ttl);
            // Silence, or a refusal to answer, proves nothing.
            let Ok(reply) = client.hello(request).await else { return };
            if !self.heard(address, &reply.into_inner()) {
                return;
            }
        }
    }

    fn hello(&self) -> HelloRequest {
        let unique = &self.unique;
        let stays_over = unique.lock().evidence.stays_over();
        HelloRequest {
            place: self.own.place,
            incarnation: self.own.incarnation.0.to_vec().into(),
            process: Some(wire::Process {
                id: unique.process.0.to_vec().into(),
                age_ms: unique.age_ms() as u64,
                stays_over: stays_over.iter().map(|other| other.0.to_vec().into()).collect(),
            }),
        }
    }

    /// Notes an answer. True: it says that this process stays, and the one who gave it is to know that it was read.
    fn heard(&self, address: &str, reply: &HelloReply) -> bool {
        let Some(process) = Id::from_wire(&reply.process) else { return false };
        if process == self.unique.process
            || self.own.cluster.is_none()
            || Id::from_wire(&reply.cluster) != self.own.cluster
        {
            return false;
        }
        let mut state = self.unique.lock();
        if reply.incarnation[..] == self.own.incarnation.0[..] {
            state.evidence.met(process, address);
        }
        let Some(report) = &reply.folder else { return false };
        state.evidence.held_by(report.holder);
        let Some(other) = Id::from_wire(&report.other) else { return false };
        let word = match report.claim() {
            Claim::Unsettled => Word::Unsettled(other),
            Claim::Stays => Word::Stays(other),
            Claim::Ends => Word::Ends(other),
        };
        state.unsettled |= matches!(word, Word::Unsettled(_));
        state.evidence.told(word);
        matches!(word, Word::Stays(_))
    }
}
