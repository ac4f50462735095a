//! Proposals on their way to a leader elsewhere: what waits goes in one call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::LogEntry;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::peer::v1::forward_client::ForwardClient;
use jam_proto::wire::peer::v1::{Proposal, ProposeRequest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;

use super::{Way, answer};
use crate::batches::{Carrier, Limits, carry};
use crate::links::{Failed, Links, judge};
use crate::request::{self, RequestId};

/// How long the leader's answer may travel after its own deadline.
const WAY_BACK: Duration = Duration::from_millis(100);
/// Above the limit of a batch: an operation is at most as large as a request, and its fields come on top.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A proposal on its way.
struct Parcel {
    op: Op,
    request: Option<RequestId>,
    deadline: Instant,
    answer: oneshot::Sender<Result<Outcome, Failed>>,
}

/// One courier for each leader's address. They are kept: there are as many as nodes.
pub struct Couriers {
    links: Arc<Links>,
    cluster_id: Vec<u8>,
    queues: Mutex<BTreeMap<String, mpsc::UnboundedSender<Parcel>>>,
}

impl Couriers {
    pub fn new(links: Arc<Links>, cluster_id: Vec<u8>) -> Self {
        Self { links, cluster_id, queues: Mutex::default() }
    }

    /// Proposes at the leader there.
    pub async fn propose(&self, way: Way, op: Op, deadline: Instant) -> Result<Outcome, Failed> {
        let (answer, answered) = oneshot::channel();
        // The courier's end stays open as long as this one.
        let _ = self.queue(way).send(Parcel { op, request: request::current(), deadline, answer });
        match timeout_at(deadline + WAY_BACK, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Failed::Lost),
        }
    }

    fn queue(&self, way: Way) -> mpsc::UnboundedSender<Parcel> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            let (queue, parcels) = mpsc::unbounded_channel();
            let courier = Courier {
                links: self.links.clone(),
                cluster_id: self.cluster_id.clone(),
                channel: way.channel,
            };
            tokio::spawn(carry(courier, parcels));
            queue
        };
        queues.entry(way.address).or_insert_with(start).clone()
    }
}

struct Courier {
    links: Arc<Links>,
    cluster_id: Vec<u8>,
    channel: Channel,
}

impl Carrier for Courier {
    type Item = Parcel;
    /// Two: the leader's disk has one call's proposals while the next call is on its way.
    const LIMITS: Limits = Limits { in_flight: 2, items: 1024, bytes: 256 << 10 };

    fn size(parcel: &Parcel) -> usize {
        parcel.op.encoded_len()
    }

    async fn hand_over(&mut self, batch: Vec<Parcel>) -> BoxFuture<'static, ()> {
        let now = Instant::now();
        let mut last = now;
        let mut proposals = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        // Whoever gave up before it was sent is not bothered with it any more.
        for parcel in batch.into_iter().filter(|parcel| !parcel.answer.is_closed()) {
            let left = parcel.deadline.saturating_duration_since(now);
            last = last.max(parcel.deadline);
            proposals.push(Proposal {
                timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
                entry: Some(LogEntry { op: Some(parcel.op), ..Default::default() }),
                request: parcel.request.map_or_else(String::new, |id| id.to_string()),
            });
            answers.push(parcel.answer);
        }
        let cluster_id = self.cluster_id.clone().into();
        let request = self.links.request(ProposeRequest { cluster_id, proposals });
        let mut client = ForwardClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Box::pin(async move {
            if answers.is_empty() {
                return;
            }
            match timeout_at(last + WAY_BACK, client.propose(request)).await {
                Ok(Ok(reply)) => {
                    let replies = reply.into_inner().answers;
                    for (asked, answer) in answers.into_iter().zip(replies) {
                        let _ = asked.send(answer::from_wire(answer));
                    }
                }
                Ok(Err(status)) => {
                    for asked in answers {
                        let _ = asked.send(Err(judge(&status)));
                    }
                }
                // Nobody waits any more.
                Err(_) => {}
            }
        })
    }
}
