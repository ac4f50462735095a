//! Clock probes, and what listeners say of themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::{Stream, stream};
use jam_proto::ids::{RoomCode, check_text, check_user_name};
use jam_proto::limits::USER_NAME_BYTES_MAX;
use jam_proto::wire::v1::time_server::Time;
use jam_proto::wire::v1::{ListenerReport, TimeProbe, TimeReply};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::origin;
use crate::metrics::Metrics;
use crate::presence::{Measured, Presence, StreamId};
use crate::receipts::Receipts;
use crate::refusal::Refusal;
use crate::shard::Group;
use crate::time::clock::NodeClock;

/// More probes than this in a second are no clock client's. A first sound needs 32.
const PROBES_PER_SECOND_MAX: u32 = 256;
/// A round trip above this says that somebody stood still, not how far away they are.
const RTT_NS_MAX: i64 = 10_000_000_000;

/// The `Time` service.
#[derive(Clone)]
pub struct TimeService {
    /// What is served.
    pub clock: Arc<NodeClock>,
    /// Says who leads.
    pub group: Group,
    /// Where reports go.
    pub presence: Arc<Presence>,
    /// Shows who has fetched sound.
    pub receipts: Receipts,
    /// Counts probes.
    pub metrics: Arc<Metrics>,
    /// Of this cluster.
    pub cluster_id: Vec<u8>,
    /// True once the node stops.
    pub stopping: watch::Receiver<bool>,
    /// The number of the next stream.
    pub next_stream: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl Time for TimeService {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<TimeReply, Status>> + Send>>;

    async fn sync(
        &self,
        request: Request<Streaming<TimeProbe>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let origin = origin::of_stream(&request, &self.cluster_id);
        let exchange = Exchange {
            service: self.clone(),
            probes: request.into_inner(),
            listener: Listening {
                id: StreamId(self.next_stream.fetch_add(1, Relaxed)),
                presence: Arc::clone(&self.presence),
            },
            last_sent_ns: None,
            measured: Measured { origin, ..Measured::default() },
            second: Instant::now(),
            probes_in_second: 0,
        };
        // Polled by the connection itself: no task lies between a probe and its stamps.
        let replies = stream::unfold(Some(exchange), |exchange| async {
            let mut exchange = exchange?;
            match exchange.reply().await {
                Ok(Some(reply)) => Some((Ok(reply), Some(exchange))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

/// One client's stream.
struct Exchange {
    service: TimeService,
    probes: Streaming<TimeProbe>,
    listener: Listening,
    last_sent_ns: Option<i64>,
    measured: Measured,
    second: Instant,
    probes_in_second: u32,
}

impl Exchange {
    async fn reply(&mut self) -> Result<Option<TimeReply>, Status> {
        let probe = tokio::select! {
            biased;
            probe = self.probes.message() => probe?,
            _ = self.service.stopping.wait_for(|stopping| *stopping) => {
                let stopping = "this node is stopping; another one will lead".to_owned();
                return Err(Refusal::Unavailable(stopping).into());
            }
        };
        let received_ns = self.service.clock.raw_ns();
        let Some(probe) = probe else { return Ok(None) };
        self.limit_rate()?;
        if probe.immediate
            && let Some(sent_ns) = self.last_sent_ns
        {
            self.round_trip((received_ns - sent_ns).clamp(0, RTT_NS_MAX));
        }
        if let Some(report) = &probe.report {
            self.report(report)?;
        }
        Ok(Some(self.stamped(probe.seq, received_ns)))
    }

    fn stamped(&mut self, seq: u64, received_ns: i64) -> TimeReply {
        let service = &self.service;
        let standing = service.group.standing();
        let leader = standing.leader.unwrap_or(0);
        let member = standing.members.iter().find(|member| member.id == leader);
        let clock = &service.clock;
        service.metrics.probes.fetch_add(1, Relaxed);
        let leads = standing.leads_with_lease && clock.leads_in() == Some(standing.term);
        let mut reply = TimeReply {
            seq,
            received: 0,
            sent: 0,
            cluster_id: service.cluster_id.clone(),
            node: standing.id,
            term: standing.term,
            epoch: clock.epoch(),
            error_bound_ns: clock.error_bound_ns(),
            leads,
            leader,
            leader_address: member
                .map(|member| member.addresses.clients.clone())
                .unwrap_or_default(),
            commit_index: if leads { standing.committed } else { 0 },
            set_raw_ns: clock.set_raw_ns(),
        };
        // Both by the map of one instant, and the last thing that is done.
        let sent_ns = clock.raw_ns();
        (reply.received, reply.sent) = clock.span(received_ns, sent_ns);
        self.last_sent_ns = Some(sent_ns);
        reply
    }

    /// Smoothed as TCP smooths its own (RFC 6298): one slow probe is no slow listener.
    fn round_trip(&mut self, rtt_ns: i64) {
        self.measured.rtt_ns = match self.measured.rtt_ns {
            0 => rtt_ns,
            smoothed => smoothed + (rtt_ns - smoothed) / 8,
        };
    }

    fn report(&mut self, report: &ListenerReport) -> Result<(), Refusal> {
        let room = RoomCode::parse(&report.room)?;
        check_user_name(&report.user)?;
        check_text("a device's name", USER_NAME_BYTES_MAX, &report.device)?;
        check_text("a listener's state", USER_NAME_BYTES_MAX, &report.state)?;
        let service = &self.service;
        self.measured.has_sound |= service.receipts.is_good(&report.receipt, service.clock.now());
        // A node that is behind may not know the room yet; the next report comes in a second.
        if self.service.group.read(|shard| shard.room(&room).is_some()) {
            let Listening { id, presence } = &self.listener;
            presence.report(*id, &room, report, self.measured, Instant::now());
        }
        Ok(())
    }

    fn limit_rate(&mut self) -> Result<(), Refusal> {
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.second = Instant::now();
            self.probes_in_second = 0;
        }
        self.probes_in_second += 1;
        if self.probes_in_second > PROBES_PER_SECOND_MAX {
            return Err(Refusal::Limit(format!(
                "more than {PROBES_PER_SECOND_MAX} clock probes in a second on one stream"
            )));
        }
        Ok(())
    }
}

/// A stream's listener leaves when the stream ends, however that comes.
struct Listening {
    id: StreamId,
    presence: Arc<Presence>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.presence.end(self.id, Instant::now());
    }
}
