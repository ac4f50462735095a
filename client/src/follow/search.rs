//! Finds a node that sends a room's events: the first of several that is up to date.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::watch_message::Kind;
use jam_world::ATTEMPT_DELAY;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Streaming;

use super::freshness::{Freshness, Outdated};
use crate::clock::Commits;
use crate::connection::Address;
use crate::error::Failure;
use crate::nodes::Nodes;
use crate::refusal::Refusal;

/// Once a node has answered that is not up to date, the others get so long to be better.
const BETTER_WITHIN: Duration = Duration::from_secs(1);
/// A node may wait this long for a room that was made a moment ago elsewhere.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(8);

/// A node's stream of a room's events, once it has greeted.
pub(super) struct Watch {
    pub address: Address,
    pub node: u64,
    pub cluster: Vec<u8>,
    pub freshness: Freshness,
    pub stream: Streaming<wire::WatchMessage>,
}

/// Why there is no stream, or no more.
pub(super) enum Ended {
    /// Try another node.
    Lost(String),
    /// There is no such room, or we are not wanted.
    Refused(Failure),
}

/// What is looked for.
pub(super) struct Search {
    pub nodes: Arc<Nodes>,
    pub commits: Arc<Commits>,
    /// What every node is asked.
    pub request: wire::WatchRequest,
}

impl Search {
    /// The first node that is up to date. If none is: one that answers at all.
    pub async fn any(self) -> Result<Watch, Ended> {
        let (found, rest) = self.among(self.nodes.in_turn(), BETTER_WITHIN).await;
        match (found, rest) {
            (Some(watch), _) => Ok(watch),
            (None, Rest { outdated: Some(watch), .. }) => Ok(watch),
            (None, Rest { refused: Some(failure), .. }) => Err(Ended::Refused(failure)),
            (None, Rest { lost, .. }) => {
                Err(Ended::Lost(lost.unwrap_or_else(|| "no node is known".to_owned())))
            }
        }
    }

    /// The first node other than `current` that is up to date.
    pub async fn better_than(self, current: Address) -> Option<Watch> {
        let mut order = self.nodes.in_turn();
        order.retain(|address| *address != current);
        self.among(order, FIRST_ANSWER_MAX).await.0
    }

    /// Asks them one after the other, a little apart. Ends `patience` after the first one that is not up to date.
    async fn among(&self, order: Vec<Address>, patience: Duration) -> (Option<Watch>, Rest) {
        let mut rest = Rest::default();
        let mut until: Option<Instant> = None;
        let mut waiting = order.into_iter();
        let mut asking = FuturesUnordered::new();
        loop {
            if let Some(address) = waiting.next() {
                asking.push(self.ask(address));
            }
            let next = async {
                match until {
                    Some(until) => timeout_at(until, asking.next()).await.ok().flatten(),
                    None => asking.next().await,
                }
            };
            let answer = tokio::select! {
                biased;
                answer = next => answer,
                () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 => continue,
            };
            let Some(answer) = answer else { return (None, rest) };
            match answer {
                Ok(watch) => match watch.freshness.outdated(self.commits.due(Instant::now())) {
                    None => return (Some(watch), rest),
                    Some(why) => {
                        until.get_or_insert(Instant::now() + patience);
                        rest.put_aside(watch, why, &self.nodes);
                    }
                },
                Err(Ended::Lost(why)) => rest.lost = Some(why),
                Err(Ended::Refused(failure)) => rest.refused = Some(failure),
            }
        }
    }

    async fn ask(&self, address: Address) -> Result<Watch, Ended> {
        let dialed = self.nodes.dialer().dial(&address).await;
        let door = dialed.map_err(|no_answer| Ended::Lost(no_answer.to_string()))?;
        let greeted = async {
            let mut stream = door.rooms().watch(self.request.clone()).await?.into_inner();
            let first = stream.message().await?;
            Ok::<_, tonic::Status>((first, stream))
        };
        let (first, stream) = match timeout(FIRST_ANSWER_MAX, greeted).await {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(status)) => return Err(ended(&status)),
            Err(_) => return Err(Ended::Lost("the node does not answer".into())),
        };
        let Some(wire::WatchMessage { kind: Some(Kind::Hello(hello)) }) = first else {
            return Err(Ended::Lost("the node does not say which cluster it belongs to".into()));
        };
        let wanted = &self.request.cluster_id;
        if !wanted.is_empty() && *wanted != hello.cluster_id {
            let why = format!("node {} belongs to another cluster than the room", hello.node);
            return Err(Ended::Lost(why));
        }
        let freshness = Freshness::of_hello(hello.stale_ms, hello.applied);
        Ok(Watch { address, node: hello.node, cluster: hello.cluster_id, freshness, stream })
    }
}

/// Answers that were not good enough.
#[derive(Default)]
struct Rest {
    outdated: Option<Watch>,
    refused: Option<Failure>,
    lost: Option<String>,
}

impl Rest {
    fn put_aside(&mut self, watch: Watch, why: Outdated, nodes: &Nodes) {
        nodes.shun(&watch.address);
        // A node that hears the leader catches up by itself.
        if self.outdated.is_none() || why == Outdated::Lags {
            self.outdated = Some(watch);
        }
    }
}

/// What a stream's end means.
pub(super) fn ended(status: &tonic::Status) -> Ended {
    match Refusal::of(status) {
        Refusal::Final { code, message } => Ended::Refused(Failure::Refused { code, message }),
        other => Ended::Lost(other.message().to_owned()),
    }
}
