//! Any node takes any request: what only the leader can do is done there.
//!
//! An attempt ends in one of three ways: done, surely not taken, or lost. What was not taken is tried
//! again until patience ends, and is then refused. What was lost is tried again until the deadline
//! (every proposal may be repeated: sessions number their commands, and the other operations say
//! the same thing twice), and is then *unknown*, never failed.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::command::Reply;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::LogEntry;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::peer::v1::forward_client::ForwardClient;
use jam_proto::wire::peer::v1::forward_server::Forward;
use jam_proto::wire::peer::v1::propose_reply::Outcome as WireOutcome;
use jam_proto::wire::peer::v1::{BarrierReply, BarrierRequest, ProposeReply, ProposeRequest};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::links::{Failed, Links, judge};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::shard::{Group, ProposeError, Standing};

/// How long a request waits for a leader. An election takes half of it; and without a quorum every
/// edit is to be refused within a second, a client's own look around for a leader included.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two attempts, if nothing else wakes.
const RETRY_EVERY: Duration = Duration::from_millis(25);
/// How long the leader's answer may travel after its own deadline.
const WAY_BACK: Duration = Duration::from_millis(100);
/// Between two looks at how far this node has come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Proposes and reads at the leader, wherever it is. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    group: Group,
    links: Arc<Links>,
    metrics: Arc<Metrics>,
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
    /// Behind this channel.
    There(Channel),
}

impl Forwarder {
    /// For the group of the cluster `cluster_id`.
    pub fn new(
        group: Group,
        links: Arc<Links>,
        metrics: Arc<Metrics>,
        cluster_id: Vec<u8>,
    ) -> Self {
        Self { group, links, metrics, cluster_id }
    }

    /// Channels to the other nodes.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Proposes `op` at the leader. An error other than [`Refusal::Unknown`] means that it was not
    /// and never will be applied.
    pub async fn propose(&self, op: Op, timeout: Duration) -> Result<Outcome, Refusal> {
        let deadline = Instant::now() + timeout;
        let outcome = self
            .at_leader(Kind::Edit, deadline, |leader| {
                let op = op.clone();
                async move {
                    match leader {
                        Leader::Here => self.propose_here(op, deadline).await,
                        Leader::There(channel) => self.propose_there(channel, op, deadline).await,
                    }
                }
            })
            .await;
        self.metrics.proposed(outcome.as_ref().map(|_| ()));
        outcome
    }

    async fn propose_here(&self, op: Op, deadline: Instant) -> Result<Outcome, Failed> {
        let began = Instant::now();
        let proposed = self.group.propose(op, deadline.saturating_duration_since(began)).await;
        if proposed.is_ok() {
            self.metrics.committed(began.elapsed());
        }
        proposed.map_err(|error| match error {
            ProposeError::Unknown => Failed::Lost,
            error => Failed::NotTaken(error.into()),
        })
    }

    async fn propose_there(
        &self,
        channel: Channel,
        op: Op,
        deadline: Instant,
    ) -> Result<Outcome, Failed> {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = self.links.request(ProposeRequest {
            cluster_id: self.cluster_id.clone().into(),
            timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
            entry: Some(LogEntry { op: Some(op), ..Default::default() }),
        });
        let mut client = ForwardClient::new(channel);
        match timeout_at(deadline + WAY_BACK, client.propose(request)).await {
            Ok(Ok(reply)) => outcome_from_wire(reply.into_inner()).ok_or(Failed::Lost),
            Ok(Err(status)) => Err(judge(&status)),
            Err(_) => Err(Failed::Lost),
        }
    }

    /// Returns when this node has applied all that was acknowledged anywhere before the call.
    pub async fn catch_up(&self, timeout: Duration) -> Result<(), Refusal> {
        let deadline = Instant::now() + timeout;
        let goal = self
            .at_leader(Kind::Read, deadline, |leader| async {
                match leader {
                    Leader::Here => self.barrier_here(deadline).await,
                    Leader::There(channel) => {
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

    /// Makes `attempt`s at the leader until one is done or refused, patience ends or the deadline
    /// is there. An attempt is given up as lost when its leader is not the leader any more.
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
        let patience = deadline.min(Instant::now() + PATIENCE);
        let mut standings = self.group.standing_changes();
        let mut lost = false;
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
                    return Err(if lost { Refusal::Unknown } else { refusal });
                }
                Err(Failed::NotTaken(refusal)) => refusal,
                Err(Failed::Lost) if kind == Kind::Read => {
                    Refusal::Unavailable("the leader did not answer in time; try again".to_owned())
                }
                Err(Failed::Lost) => {
                    lost = true;
                    Refusal::Unknown
                }
            };
            let until = if lost { deadline } else { patience };
            if Instant::now() >= until {
                return Err(match refusal {
                    _ if lost => Refusal::Unknown,
                    Refusal::NotLeader => Refusal::NoQuorum,
                    refusal => refusal,
                });
            }
            tokio::select! {
                Ok(()) = standings.changed() => {}
                () = sleep_until(until.min(Instant::now() + RETRY_EVERY)) => {}
            }
        }
    }

    fn leader(&self, standing: &Standing) -> Result<Leader, Refusal> {
        let leader = standing.leader.ok_or(Refusal::NoQuorum)?;
        if leader == standing.id {
            return Ok(Leader::Here);
        }
        let member = standing.members.iter().find(|member| member.id == leader);
        let address = &member.ok_or(Refusal::NoQuorum)?.address;
        self.links.to(address).map(Leader::There)
    }
}

async fn leader_changed(standings: &mut watch::Receiver<Standing>, leader: Option<u64>) {
    // An error means that the group has stopped: then nothing changes any more.
    if standings.wait_for(|standing| standing.leader != leader).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Takes the proposals that other nodes pass on.
pub struct ForwardService {
    forwarder: Forwarder,
}

impl ForwardService {
    /// Proposes through `forwarder`'s group.
    pub fn new(forwarder: Forwarder) -> Self {
        Self { forwarder }
    }
}

#[tonic::async_trait]
impl Forward for ForwardService {
    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeReply>, Status> {
        let request = request.into_inner();
        self.check(&request.cluster_id)?;
        let op = request.entry.and_then(|entry| entry.op);
        let op = op.ok_or_else(|| Refusal::Invalid("the operation is missing".to_owned()))?;
        let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.into());
        match self.forwarder.propose_here(op, deadline).await {
            Ok(outcome) => Ok(Response::new(outcome_to_wire(outcome))),
            Err(failed) => Err(failed.into()),
        }
    }

    async fn barrier(
        &self,
        request: Request<BarrierRequest>,
    ) -> Result<Response<BarrierReply>, Status> {
        self.check(&request.into_inner().cluster_id)?;
        let deadline = Instant::now() + PATIENCE;
        let applied = self.forwarder.barrier_here(deadline).await?;
        Ok(Response::new(BarrierReply { applied }))
    }
}

impl ForwardService {
    fn check(&self, cluster_id: &[u8]) -> Result<(), Refusal> {
        if cluster_id == self.forwarder.cluster_id { Ok(()) } else { Err(Refusal::OtherCluster) }
    }
}

fn outcome_to_wire(outcome: Outcome) -> ProposeReply {
    let outcome = match outcome {
        Outcome::SessionOpened => WireOutcome::SessionOpened(true),
        Outcome::Command(reply) => WireOutcome::Command(reply.to_wire()),
        Outcome::Track(track) => WireOutcome::Track(track),
        Outcome::TracksFull(limit) => WireOutcome::TracksFull(limit as u64),
        Outcome::Forgotten => WireOutcome::Forgotten(true),
        Outcome::Epoch => WireOutcome::Epoch(true),
        Outcome::Node(node) => WireOutcome::Node(node),
        Outcome::Nothing => WireOutcome::Nothing(true),
    };
    ProposeReply { outcome: Some(outcome) }
}

/// `None`: an answer that can't be read, so that the outcome is unknown.
fn outcome_from_wire(reply: ProposeReply) -> Option<Outcome> {
    Some(match reply.outcome? {
        WireOutcome::SessionOpened(_) => Outcome::SessionOpened,
        WireOutcome::Command(reply) => Outcome::Command(Reply::from_wire(&reply).ok()?),
        WireOutcome::Track(track) => Outcome::Track(track),
        WireOutcome::TracksFull(limit) => Outcome::TracksFull(usize::try_from(limit).ok()?),
        WireOutcome::Forgotten(_) => Outcome::Forgotten,
        WireOutcome::Epoch(_) => Outcome::Epoch,
        WireOutcome::Node(node) => Outcome::Node(node),
        WireOutcome::Nothing(_) => Outcome::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jam_proto::command::Rejection;
    use jam_proto::ids::{EntryId, Revision};
    use jam_proto::time::SharedTime;

    #[test]
    fn outcomes_come_back() {
        let reply = Reply {
            revision: Revision(7),
            effective_at: SharedTime(9),
            entry: Some(EntryId(3)),
            rejection: Some(Rejection::NoHistory),
        };
        for outcome in [
            Outcome::SessionOpened,
            Outcome::Command(reply),
            Outcome::Track(Default::default()),
            Outcome::TracksFull(3),
            Outcome::Forgotten,
            Outcome::Epoch,
            Outcome::Node(4),
            Outcome::Nothing,
        ] {
            assert_eq!(outcome_from_wire(outcome_to_wire(outcome.clone())), Some(outcome));
        }
        assert_eq!(outcome_from_wire(ProposeReply { outcome: None }), None);
    }
}
