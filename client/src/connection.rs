//! Finding the node to talk to, and staying with the cluster when that node falls silent.
//!
//! A command knows several servers and needs one answer. [`Cluster::find`] asks them all, a little apart,
//! and settles on the node that leads, since every edit ends there; [`Cluster::ask`] and [`Cluster::edit`]
//! ask it, and when it falls silent the next, until the deadline.

mod backoff;
mod door;

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jam_proto::wire::v1::{ClusterStatusReply, ClusterStatusRequest};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Response, Status};

pub use self::backoff::Backoff;
pub use self::door::{Address, Bearer, Dialer, Door};
use crate::error::Failure;
use crate::refusal::Refusal;

/// How long a node may take to say where the cluster stands: it needs nobody else for that, but may be far away.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// The servers are asked this far apart, so that a healthy first one spares the others the work.
const PROBE_STAGGER: Duration = Duration::from_millis(40);
/// How long answers that name no leader wait for one that does.
const LEADERLESS_PATIENCE: Duration = Duration::from_millis(200);
/// One attempt at a call. A node answers within this or says `unknown` itself; a stopped process does neither.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);
/// What a node gets less than we wait, so that its own `unknown` comes before we give up on it.
const ANSWER_MARGIN: Duration = Duration::from_millis(200);

impl Dialer {
    /// Dials a node and asks it where the cluster stands.
    async fn probe(&self, address: &Address) -> Result<(Door, ClusterStatusReply), ProbeError> {
        let door = self.dial(address).await.map_err(ProbeError::Silent)?;
        match timeout(STATUS_TIMEOUT, door.cluster().status(ClusterStatusRequest {})).await {
            Ok(Ok(reply)) => Ok((door, reply.into_inner())),
            Ok(Err(status)) => match Refusal::of(&status) {
                Refusal::Final { code, message } => {
                    Err(ProbeError::Refused(Failure::refused(code, message)))
                }
                other => Err(ProbeError::Silent(format!("{address}: {}", other.message()))),
            },
            Err(_) => Err(ProbeError::Silent(format!("{address}: no answer"))),
        }
    }
}

enum ProbeError {
    Silent(String),
    /// It speaks, and will not have us: a wrong token, another program.
    Refused(Failure),
}

/// The node that commands go to, and how to find another.
pub struct Cluster {
    dialer: Dialer,
    servers: Vec<Address>,
    deadline: Instant,
    door: Door,
    standing: ClusterStatusReply,
}

impl Cluster {
    /// Finds a node to talk to, the leader if there is one, before `patience` has passed. All the calls
    /// that follow share the same deadline.
    pub async fn find(
        dialer: Dialer,
        servers: Vec<Address>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let deadline = Instant::now() + patience;
        let mut backoff = Backoff::default();
        loop {
            match best_answer(&dialer, &servers).await {
                Ok((door, standing)) => {
                    return Ok(Self { dialer, servers, deadline, door, standing });
                }
                Err(ProbeError::Refused(failure)) => return Err(failure),
                Err(ProbeError::Silent(last)) => {
                    if !backoff.pause_before(deadline).await {
                        return Err(Failure::Unreachable { servers: list(&servers), last });
                    }
                }
            }
        }
    }

    /// Gives the next piece of work the same patience again: a long upload is many calls.
    pub fn extend(&mut self, patience: Duration) {
        self.deadline = Instant::now() + patience;
    }

    /// The connection in use.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// What the node in use said of the cluster when it was found.
    pub fn standing(&self) -> &ClusterStatusReply {
        &self.standing
    }

    /// The cluster's id.
    pub fn id(&self) -> &[u8] {
        &self.standing.cluster_id
    }

    /// How connections are opened.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Every known address: the servers given, then what the nodes advertise.
    pub fn addresses(&self) -> Vec<Address> {
        known_addresses(&self.servers, &self.standing)
    }

    /// Finds a node once more; keeps the one in use if none answers.
    pub async fn refind(&mut self) -> Result<(), Failure> {
        match best_answer(&self.dialer, &self.addresses()).await {
            Ok((door, standing)) => {
                self.door = door;
                self.standing = standing;
                Ok(())
            }
            Err(ProbeError::Refused(failure)) => Err(failure),
            Err(ProbeError::Silent(last)) => {
                Err(Failure::Unreachable { servers: list(&self.servers), last })
            }
        }
    }

    /// Asks until there is an answer or the deadline passes. `op` gets a connection and how long the node
    /// may take. For questions, and for what may be done any number of times.
    pub async fn ask<T, F>(&mut self, what: &str, op: F) -> Result<T, Failure>
    where
        F: AsyncFn(Door, Duration) -> Result<Response<T>, Status>,
    {
        self.attempt(what, None, op).await
    }

    /// As [`Self::ask`], for an edit. `maybe_applied` says whether an earlier attempt, also one of a process before
    /// this, may have been applied; it is set when the outcome of one of ours stays unknown.
    pub async fn edit<T, F>(
        &mut self,
        what: &str,
        maybe_applied: &mut bool,
        op: F,
    ) -> Result<T, Failure>
    where
        F: AsyncFn(Door, Duration) -> Result<Response<T>, Status>,
    {
        self.attempt(what, Some(maybe_applied), op).await
    }

    async fn attempt<T, F>(
        &mut self,
        what: &str,
        mut maybe_applied: Option<&mut bool>,
        op: F,
    ) -> Result<T, Failure>
    where
        F: AsyncFn(Door, Duration) -> Result<Response<T>, Status>,
    {
        let mut backoff = Backoff::default();
        let mut asked_another_leader = false;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let wait = ATTEMPT_TIMEOUT.min(left);
            let give = wait.saturating_sub(ANSWER_MARGIN).max(wait / 2);
            let refusal = match timeout(wait, op(self.door(), give)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => Refusal::of(&status),
                Err(_) => Refusal::Unknown("the node did not answer in time".to_owned()),
            };
            // While an earlier attempt may still be on its way, no refusal of a later one is the last word.
            let open = maybe_applied.as_deref().is_some_and(|maybe| *maybe);
            let last = match refusal {
                Refusal::Final { code, message } if !open => {
                    return Err(Failure::Refused { code, message });
                }
                Refusal::NoQuorum(message) if !open => {
                    // The node may be cut off alone; if another knows a leader, that one gets one chance.
                    let refused_by = self.standing.answered_by;
                    let found = !asked_another_leader && self.refind().await.is_ok();
                    if !found
                        || self.standing.leader == 0
                        || self.standing.answered_by == refused_by
                    {
                        return Err(Failure::refused("no_quorum", message));
                    }
                    asked_another_leader = true;
                    continue;
                }
                Refusal::Later { wait, .. } if Instant::now() + wait < self.deadline => {
                    sleep(wait).await;
                    continue;
                }
                Refusal::Unknown(message) => {
                    if let Some(maybe) = maybe_applied.as_deref_mut() {
                        *maybe = true;
                    }
                    message
                }
                other => other.message().to_owned(),
            };
            if !backoff.pause_before(self.deadline).await {
                return Err(match maybe_applied {
                    Some(true) => Failure::Unknown { what: what.to_owned(), last },
                    Some(false) => Failure::refused(
                        "unavailable",
                        format!("no node took {what}: {last}; try again"),
                    ),
                    None => Failure::refused(
                        "timeout",
                        format!("no answer to {what} in time: {last}; try again"),
                    ),
                });
            }
            // Whoever answers now; if nobody does, the next attempt at the old door says so.
            if let Err(failure @ Failure::Refused { .. }) = self.refind().await
                && !maybe_applied.as_deref().is_some_and(|maybe| *maybe)
            {
                return Err(failure);
            }
        }
    }
}

/// The servers given, then what the nodes advertise, each once.
pub fn known_addresses(servers: &[Address], standing: &ClusterStatusReply) -> Vec<Address> {
    let mut all = servers.to_vec();
    for node in &standing.nodes {
        if let Ok(address) = Address::parse(&node.address)
            && !all.contains(&address)
        {
            all.push(address);
        }
    }
    all
}

/// Asks all servers, a little apart. The first that knows a leader wins; answers without one wait a moment for
/// better. Goes on to the leader itself if it can be reached.
async fn best_answer(
    dialer: &Dialer,
    servers: &[Address],
) -> Result<(Door, ClusterStatusReply), ProbeError> {
    let mut asking: FuturesUnordered<_> = (0u32..)
        .zip(servers)
        .map(|(place, server)| async move {
            sleep(PROBE_STAGGER * place).await;
            dialer.probe(server).await
        })
        .collect();
    let mut leaderless: Option<(Door, ClusterStatusReply)> = None;
    let mut give_up: Option<Instant> = None;
    let mut silent = Vec::new();
    let mut refused = None;
    loop {
        let next = async {
            match give_up {
                Some(at) => tokio::select! {
                    answer = asking.next() => answer,
                    () = sleep_until(at) => None,
                },
                None => asking.next().await,
            }
        };
        match next.await {
            Some(Ok((door, standing))) if standing.leader != 0 => {
                return Ok(to_leader(dialer, door, standing).await);
            }
            Some(Ok(answer)) => {
                leaderless = Some(answer);
                give_up.get_or_insert(Instant::now() + LEADERLESS_PATIENCE);
            }
            Some(Err(ProbeError::Silent(why))) => silent.push(why),
            Some(Err(ProbeError::Refused(failure))) => refused = Some(failure),
            None => break,
        }
    }
    match (leaderless, refused) {
        (Some(answer), _) => Ok(answer),
        (None, Some(failure)) => Err(ProbeError::Refused(failure)),
        (None, None) => Err(ProbeError::Silent(silent.join("; "))),
    }
}

/// The leader's own connection, or `door` where it can't be had: any node forwards.
async fn to_leader(
    dialer: &Dialer,
    door: Door,
    standing: ClusterStatusReply,
) -> (Door, ClusterStatusReply) {
    if standing.leader == standing.answered_by {
        return (door, standing);
    }
    let address = standing
        .nodes
        .iter()
        .find(|node| node.id == standing.leader)
        .map(|node| Address::parse(&node.address));
    if let Some(Ok(address)) = address
        && let Ok((leader, newer)) = dialer.probe(&address).await
        && newer.cluster_id == standing.cluster_id
        && newer.leader == newer.answered_by
    {
        return (leader, newer);
    }
    (door, standing)
}

fn list(servers: &[Address]) -> String {
    servers.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
}
