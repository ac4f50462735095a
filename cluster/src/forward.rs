//! Any node takes any request: what only the leader can do is done there.
//!
//! An attempt ends in one of three ways: done, surely not taken, or lost. What was not taken is tried
//! again until the deadline, and is then refused; it is refused at once when the majority is known to be gone. What was lost is tried again until the deadline
//! (every proposal may be repeated: sessions number their commands, and the other operations say
//! the same thing twice), and is then *unknown*, never failed. So is what a later attempt is told of itself alone: the
//! session that it does not find may have been closed since the lost attempt was applied in it.

mod allowed;
pub mod answer;
mod courier;
mod replacing;
mod service;

use std::sync::Arc;
use std::time::Duration;

use courier::Couriers;
use jam_proto::command::Rejection;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::peer::v1::BarrierRequest;
use jam_proto::wire::peer::v1::forward_client::ForwardClient;
pub use replacing::Asked;
pub use service::ForwardService;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tonic::transport::Channel;
use tracing::field::display;

use crate::about::About;
use crate::links::{Failed, Links, judge};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::request;
use crate::shard::{Group, ProposeError, Standing};

/// As long as a client may ask for; a node that passes its request on asks for no more.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// How long a request is tried at a leader that can't take it for another reason than an election: another node may do
/// better.
const UNAVAILABLE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a leader may take to confirm that it still leads, for a node that reads.
const BARRIER_TIMEOUT: Duration = Duration::from_millis(500);
/// Between two attempts, if nothing else wakes.
const RETRY_EVERY: Duration = Duration::from_millis(5);
/// Between two looks at how far this node has come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Proposes and reads at the leader, wherever it is. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    group: Group,
    links: Arc<Links>,
    metrics: Arc<Metrics>,
    couriers: Arc<Couriers>,
    cluster_id: Vec<u8>,
}

/// What an attempt that was lost may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It may have changed something.
    Edit,
    /// Nothing.
    Read,
}

/// Where the leader is.
pub enum Leader {
    /// Here.
    Here,
    /// There.
    There(Way),
}

/// The way to a leader elsewhere.
pub struct Way {
    /// Its address.
    pub address: String,
    /// The shared channel to it.
    pub channel: Channel,
}

impl Forwarder {
    /// For the group of the cluster `cluster_id`.
    pub fn new(
        group: Group,
        links: Arc<Links>,
        metrics: Arc<Metrics>,
        cluster_id: Vec<u8>,
    ) -> Self {
        let couriers = Arc::new(Couriers::new(links.clone(), cluster_id.clone()));
        Self { group, links, metrics, couriers, cluster_id }
    }

    /// Channels to the other nodes.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Proposes `op` at the leader. An error other than [`Refusal::Unknown`] means that it was not
    /// and never will be applied.
    pub async fn propose(&self, op: Op, timeout: Duration) -> Result<Outcome, Refusal> {
        let (began, about) = (Instant::now(), About::op(&op));
        let deadline = began + timeout;
        let mut lost = false;
        let outcome = self
            .attempt(Kind::Edit, deadline, &mut lost, |leader| {
                let op = op.clone();
                async move {
                    match leader {
                        Leader::Here => self.propose_here(op, deadline).await,
                        Leader::There(way) => self.couriers.propose(way, op, deadline).await,
                    }
                }
            })
            .await;
        let outcome = with_earlier(outcome, lost);
        self.metrics.proposed(outcome.as_ref().map(|_| ()));
        log_outcome(about, &outcome, began.elapsed());
        outcome
    }

    async fn propose_here(&self, op: Op, deadline: Instant) -> Result<Outcome, Failed> {
        if let Op::ReplaceNode(replace) = &op {
            self.check_replaceable(replace).await?;
        }
        let began = Instant::now();
        let proposed = self.group.propose(op, deadline.saturating_duration_since(began)).await;
        if proposed.is_ok() {
            self.metrics.committed(began.elapsed());
        }
        proposed.map_err(|error| match error {
            ProposeError::Unknown => Failed::Lost,
            // To ask again says the same: its bytes must be copied further first.
            ProposeError::TooFewCopies(few) => Failed::Refused(few.into()),
            error => Failed::NotTaken(error.into()),
        })
    }

    /// Returns when this node has applied all that was acknowledged anywhere before the call.
    pub async fn catch_up(&self, timeout: Duration) -> Result<(), Refusal> {
        let deadline = Instant::now() + timeout;
        let goal = self
            .at_leader(Kind::Read, deadline, |leader| async {
                match leader {
                    Leader::Here => self.barrier_here(deadline).await,
                    Leader::There(Way { channel, .. }) => {
                        let cluster_id = self.cluster_id.clone().into();
                        let request = self.links.request(BarrierRequest { cluster_id });
                        let mut client = ForwardClient::new(channel);
                        match timeout_at(deadline, client.barrier(request)).await {
                            Ok(Ok(reply)) => Ok(reply.into_inner().applied),
                            Ok(Err(status)) => Err(judge(&status)),
                            Err(_) => Err(Failed::Lost),
                        }
                    }
                }
            })
            .await?;
        while self.group.standing().applied < goal {
            if Instant::now() >= deadline {
                let behind = "this node has not caught up with the leader; try another node";
                return Err(Refusal::Unavailable(behind.to_owned()));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn barrier_here(&self, deadline: Instant) -> Result<u64, Failed> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.group.read_barrier(left).await {
            Ok(()) => Ok(self.group.standing().applied),
            Err(error) => Err(Failed::NotTaken(error.into())),
        }
    }

    /// Makes `attempt`s at the leader until one is done or refused, the majority is known to be gone or the deadline is
    /// there. An attempt is given up as lost when its leader is not the leader any more.
    pub async fn at_leader<T, F, Fut>(
        &self,
        kind: Kind,
        deadline: Instant,
        attempt: F,
    ) -> Result<T, Refusal>
    where
        F: Fn(Leader) -> Fut,
        Fut: Future<Output = Result<T, Failed>>,
    {
        self.attempt(kind, deadline, &mut false, attempt).await
    }

    /// As [`Self::at_leader`]; `lost` says afterwards whether one of the attempts was lost.
    async fn attempt<T, F, Fut>(
        &self,
        kind: Kind,
        deadline: Instant,
        lost: &mut bool,
        attempt: F,
    ) -> Result<T, Refusal>
    where
        F: Fn(Leader) -> Fut,
        Fut: Future<Output = Result<T, Failed>>,
    {
        let unavailable_until = deadline.min(Instant::now() + UNAVAILABLE_TIMEOUT);
        let mut standings = self.group.standing_changes();
        loop {
            let standing = standings.borrow_and_update().clone();
            let tried = match self.leader(&standing) {
                Err(refusal) => Err(Failed::NotTaken(refusal)),
                Ok(here @ Leader::Here) => attempt(here).await,
                Ok(there) => tokio::select! {
                    biased;
                    tried = attempt(there) => tried,
                    () = leader_changed(&mut standings, standing.leader) => Err(Failed::Lost),
                },
            };
            let refusal = match tried {
                Ok(done) => return Ok(done),
                // What refuses it now did not see an attempt that was lost before.
                Err(Failed::Refused(refusal)) => {
                    return Err(if *lost { Refusal::Unknown } else { refusal });
                }
                Err(Failed::NotTaken(refusal)) => refusal,
                Err(Failed::Lost) if kind == Kind::Read => {
                    Refusal::Unavailable("the leader did not answer in time; try again".to_owned())
                }
                Err(Failed::Lost) => {
                    *lost = true;
                    Refusal::Unknown
                }
            };
            let now = Instant::now();
            let is_over = match &refusal {
                Refusal::Unavailable(_) if !*lost => now >= unavailable_until,
                _ => now >= deadline,
            };
            if let Some(refusal) = self.last_word(refusal, *lost, is_over) {
                return Err(refusal);
            }
            tokio::select! {
                Ok(()) = standings.changed() => {}
                () = sleep_until(deadline.min(now + RETRY_EVERY)) => {}
            }
        }
    }

    /// The answer, if there is to be no further attempt after one that ended in `refusal`. `lost`: an attempt was lost.
    /// `is_over`: there is no time for a further one.
    fn last_word(&self, refusal: Refusal, lost: bool, is_over: bool) -> Option<Refusal> {
        if lost {
            return is_over.then_some(Refusal::Unknown);
        }
        match refusal {
            Refusal::NoQuorum | Refusal::NotLeader | Refusal::NoLeader => {
                if self.group.lacks_majority() {
                    return Some(Refusal::NoQuorum);
                }
                is_over.then_some(Refusal::NoLeader)
            }
            refusal => is_over.then_some(refusal),
        }
    }

    fn leader(&self, standing: &Standing) -> Result<Leader, Refusal> {
        let leader = standing.leader.ok_or(Refusal::NoQuorum)?;
        if leader == standing.id {
            return Ok(Leader::Here);
        }
        let member = standing.members.iter().find(|member| member.id == leader);
        let address = &member.ok_or(Refusal::NoQuorum)?.addresses.peers;
        let channel = self.links.to(address)?;
        Ok(Leader::There(Way { address: address.clone(), channel }))
    }
}

/// What a room or the state has rejected is a line at `info`, and all else one at `debug`: what was refused is told at `info` by
/// whoever answers the client.
fn log_outcome(about: About, outcome: &Result<Outcome, Refusal>, took: Duration) {
    let About { what, session, room } = about;
    let (session, room) = (session.map(display), room.map(display));
    let (request, took_ms) = (request::current().map(display), took.as_millis() as u64);
    let rejection = match outcome {
        Ok(Outcome::Command(reply)) => reply.rejection.as_ref().map(Rejection::code),
        Ok(Outcome::SessionsFull(_)) => Some("sessions_full"),
        Ok(Outcome::TracksFull(_)) => Some("tracks_full"),
        Ok(_) => None,
        Err(refusal) => Some(refusal.code()),
    };
    match (rejection, outcome) {
        (None, _) => tracing::debug!(request, what, session, room, took_ms, "done"),
        (Some(code), Ok(_)) => {
            tracing::info!(request, what, session, room, code, took_ms, "rejected");
        }
        (Some(code), Err(_)) => {
            tracing::debug!(request, what, session, room, code, took_ms, "not done");
        }
    }
}

async fn leader_changed(standings: &mut watch::Receiver<Standing>, leader: Option<u64>) {
    // An error means that the group has stopped: then nothing changes any more.
    if standings.wait_for(|standing| standing.leader != leader).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The outcome of several attempts, from that of the last one and whether an earlier one was lost.
fn with_earlier(outcome: Result<Outcome, Refusal>, lost: bool) -> Result<Outcome, Refusal> {
    match outcome {
        Ok(outcome) if lost && !outcome.settles_earlier_attempts() => Err(Refusal::Unknown),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jam_proto::command::Reply;
    use jam_proto::ids::Revision;
    use jam_proto::time::SharedTime;

    fn rejected(rejection: Rejection) -> Outcome {
        Outcome::Command(Reply {
            revision: Revision(0),
            effective_at: SharedTime(0),
            entry: None,
            rejection: Some(rejection),
        })
    }

    #[test]
    fn a_session_that_is_gone_says_nothing_of_a_lost_attempt() {
        let unknown_after_a_loss = [
            rejected(Rejection::SessionExpired),
            rejected(Rejection::Stale { number: 1, last: 2 }),
            rejected(Rejection::NumberReused(1)),
            Outcome::SessionsFull(3),
            Outcome::TracksFull(3),
        ];
        for outcome in unknown_after_a_loss {
            assert_eq!(with_earlier(Ok(outcome.clone()), false), Ok(outcome.clone()));
            assert_eq!(
                with_earlier(Ok(outcome.clone()), true),
                Err(Refusal::Unknown),
                "{outcome:?}"
            );
        }
        // The session keeps what the room said, so it holds for each attempt.
        let judged = rejected(Rejection::NoHistory);
        assert_eq!(with_earlier(Ok(judged.clone()), true), Ok(judged));
        let opened = Outcome::SessionOpened { existed: Some(true) };
        assert_eq!(with_earlier(Ok(opened.clone()), true), Ok(opened));
    }
}
