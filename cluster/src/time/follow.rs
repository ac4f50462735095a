//! Brings a follower's map to the leader's: a burst of clock probes each second, on a connection of
//! its own, through the same filter that listeners use.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use jam_proto::sync::{ClockFilter, Probe};
use jam_proto::wire::v1::time_client::TimeClient;
use jam_proto::wire::v1::{TimeProbe, TimeReply};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::burst::{Burst, Reign};
use super::clock::NodeClock;
use crate::links::Links;
use crate::refusal::Refusal;
use crate::shard::{Group, Standing};

/// The first bursts come quickly, so that a node that just started may soon lead.
const QUICK_ROUNDS: u32 = 4;
const QUICK_EVERY: Duration = Duration::from_millis(150);
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// Until the leader has opened its leadership, which it does right after its election.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// A reply that takes longer is worth nothing, and the connection neither.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Who follows, and what with.
pub struct Follower {
    /// Says who leads.
    pub group: Group,
    /// Is brought to the leader's.
    pub clock: Arc<NodeClock>,
    /// For the token.
    pub links: Arc<Links>,
    /// Of this cluster.
    pub cluster_id: Vec<u8>,
}

/// What is known of one leader's time. It outlives a lost connection, but not the leadership: a node that leads again
/// may have followed another one in between.
#[derive(Default)]
struct Known {
    /// How often the machine had slept: what was measured before is worth nothing.
    sleeps: u64,
    leader: u64,
    reign: Reign,
    filter: ClockFilter,
    rounds: u32,
}

impl Follower {
    /// Runs for as long as the node does.
    pub async fn run(self) {
        let mut standings = self.group.standing_changes();
        let mut known = Known::default();
        // An error means that the group has stopped.
        while standings.has_changed().is_ok() {
            let standing = standings.borrow_and_update().clone();
            let Some((leader, address)) = other_leader(&standing) else {
                let _ = standings.changed().await;
                continue;
            };
            let followed = self.follow(leader, address, &mut known);
            let failed = tokio::select! {
                failed = followed => failed,
                _ = standings.wait_for(|now| now.leader != standing.leader) => continue,
            };
            if let Err(status) = failed {
                self.links.credential().log_refusal(address, &status);
                tracing::debug!(leader, %status, "the leader's time is out of reach");
            }
            sleep(QUICK_EVERY).await;
        }
    }

    async fn follow(&self, leader: u64, address: &str, known: &mut Known) -> Result<(), Status> {
        let (probes, outbox) = mpsc::channel(1);
        let sent_ns = Arc::new(AtomicI64::new(0));
        let (stamp, machine) = (Arc::clone(&sent_ns), self.clock.clone());
        // Stamped as the connection takes it, not as we hand it over.
        let outgoing = ReceiverStream::new(outbox).map(move |probe: TimeProbe| {
            stamp.store(machine.raw_ns(), Relaxed);
            probe
        });
        let mut client = TimeClient::new(self.links.own(address)?);
        let replies = client.sync(self.links.request(outgoing)).await?.into_inner();
        let clock = self.clock.clone();
        let mut exchange = Exchange { clock, probes, replies, sent_ns, seq: 0 };
        loop {
            let Some((burst, reign)) = self.burst(leader, &mut exchange).await? else {
                sleep(ASK_EVERY).await;
                continue;
            };
            // In the middle of this burst, or since the one before.
            self.clock.notices_sleep();
            let sleeps = *self.clock.broken().borrow();
            if known.sleeps != sleeps {
                *known = Known { sleeps, ..Known::default() };
                continue;
            }
            if (known.leader, known.reign) != (leader, reign) {
                *known = Known { sleeps, leader, reign, ..Known::default() };
            }
            let against = self.clock.contradictions(&burst, reign.1);
            if against.is_empty() {
                self.learn(&burst, known);
            } else {
                tracing::warn!(leader, "clocks stood still, here or there: measuring anew");
                *known = Known { sleeps, leader, reign, ..Known::default() };
                self.learn(&against, known);
            }
            let quick = known.rounds < QUICK_ROUNDS;
            sleep(if quick { QUICK_EVERY } else { ROUND_EVERY }).await;
        }
    }

    /// `None`: that node is not the reference (yet).
    async fn burst(
        &self,
        leader: u64,
        exchange: &mut Exchange,
    ) -> Result<Option<(Vec<Probe>, Reign)>, Status> {
        let mut burst = Burst::default();
        loop {
            let (probe, reply) = exchange.probe().await?;
            if reply.cluster_id != self.cluster_id || reply.node != leader {
                return Err(Refusal::OtherCluster.into());
            }
            if !burst.take(probe, &reply) {
                return Ok(burst.measured());
            }
        }
    }

    fn learn(&self, burst: &[Probe], known: &mut Known) {
        known.filter.observe(burst);
        known.rounds = known.rounds.saturating_add(1);
        let now_ns = self.clock.raw_ns();
        let Some(estimate) = known.filter.estimate(now_ns) else { return };
        if let Some(off_ns) = self.clock.discipline(&estimate, known.rounds, known.reign, now_ns) {
            tracing::trace!(
                off_ns,
                sigma_ns = estimate.sigma_ns,
                rtt_ns = estimate.rtt_min_ns,
                "time"
            );
        }
    }
}

struct Exchange {
    clock: Arc<NodeClock>,
    probes: mpsc::Sender<TimeProbe>,
    replies: Streaming<TimeReply>,
    sent_ns: Arc<AtomicI64>,
    seq: u64,
}

impl Exchange {
    async fn probe(&mut self) -> Result<(Probe, TimeReply), Status> {
        let closed = || Status::unavailable("the stream of clock probes was closed");
        self.seq += 1;
        let probe = TimeProbe { seq: self.seq, immediate: true, report: None };
        self.probes.send(probe).await.map_err(|_| closed())?;
        let reply = timeout(REPLY_TIMEOUT, self.replies.message()).await;
        let back_ns = self.clock.raw_ns();
        let reply = reply.map_err(|_| closed())??.ok_or_else(closed)?;
        if reply.seq != self.seq {
            return Err(closed());
        }
        let probe = Probe::answered(self.sent_ns.load(Relaxed), &reply, back_ns)
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok((probe, reply))
    }
}

fn other_leader(standing: &Standing) -> Option<(u64, &str)> {
    let leader = standing.leader.filter(|leader| *leader != standing.id)?;
    let member = standing.members.iter().find(|member| member.id == leader)?;
    Some((leader, &member.addresses.peers))
}
