//! Finding the node to talk to, and staying with the cluster when that node falls silent.
//!
//! A command knows several servers and needs one answer. [`Cluster::find`] asks them all, a little apart,
//! and settles on the node that leads, since every edit ends there; [`Cluster::ask`] and [`Cluster::edit`]
//! ask it, and when it falls silent the next, until the deadline.

mod address;
mod backoff;
mod door;
mod find;

use std::time::Duration;

use jam_proto::wire::v1::ClusterStatusReply;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Response, Status};

pub use self::address::{Address, Addresses};
pub use self::backoff::Backoff;
pub use self::door::{Bearer, Dialer, Door, NoAnswer};
use self::find::{NotFound, best_answer, majority_answers};
use crate::error::Failure;
use crate::refusal::Refusal;

/// One attempt at a call. A node answers within this or says `unknown` itself; a stopped process does neither.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);
/// What a node gets less than we wait, so that its own `unknown` comes before we give up on it.
const ANSWER_MARGIN: Duration = Duration::from_millis(200);

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
    ///
    /// # Errors
    /// If a node refuses us, if nothing listens at any of the addresses, or if no node has answered by then.
    pub async fn find(
        dialer: Dialer,
        servers: Vec<Address>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let deadline = Instant::now() + patience;
        let mut backoff = Backoff::default();
        loop {
            match best_answer(&dialer, &servers, deadline).await {
                Ok((door, standing)) => {
                    return Ok(Self { dialer, servers, deadline, door, standing });
                }
                Err(NotFound::Silent(tried))
                    if !tried.iter().all(|one| one.is_definite)
                        && backoff.pause_before(deadline).await => {}
                Err(not_found) => return Err(not_found.into()),
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

    /// Finds a node once more, before the deadline; keeps the one in use if none answers.
    pub async fn refind(&mut self) -> Result<(), Failure> {
        let found = best_answer(&self.dialer, &self.addresses(), self.deadline).await;
        (self.door, self.standing) = found.map_err(Failure::from)?;
        Ok(())
    }

    /// Whether a majority of the nodes answers this client: then a node that has no quorum will soon have one, or another
    /// has it. Takes a second at most.
    pub async fn is_majority_here(&self) -> bool {
        majority_answers(&self.dialer, &self.standing, self.deadline).await
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
            let code = match refusal {
                Refusal::NoQuorum(_) => "no_quorum",
                Refusal::NoLeader(_) => "no_leader",
                _ => "unavailable",
            };
            let last = match refusal {
                Refusal::Final { code, message } if !open => {
                    return Err(Failure::Refused { code, message });
                }
                // Where a majority is gone, no patience helps. Where it is there, it elects a leader in a moment.
                Refusal::NoQuorum(message) if !open && !self.is_majority_here().await => {
                    return Err(Failure::refused("no_quorum", message));
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
                return Err(gave_up(what, maybe_applied.as_deref().copied(), code, last));
            }
            // Whoever answers now; if nobody does, the next attempt at the old door says so.
            if let Err(failure @ Failure::Refused { .. }) = self.refind().await
                && !maybe_applied.as_deref().is_some_and(|maybe| *maybe)
            {
                return Err(failure);
            }
            if Instant::now() >= self.deadline {
                return Err(gave_up(what, maybe_applied.as_deref().copied(), code, last));
            }
        }
    }
}

/// The deadline is there. `maybe_applied` is `None` for what may be done any number of times.
fn gave_up(what: &str, maybe_applied: Option<bool>, code: &str, last: String) -> Failure {
    match maybe_applied {
        Some(true) => Failure::Unknown { what: what.to_owned(), last },
        Some(false) => Failure::refused(code, format!("no node took {what}: {last}; try again")),
        None => {
            Failure::refused("timeout", format!("no answer to {what} in time: {last}; try again"))
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
