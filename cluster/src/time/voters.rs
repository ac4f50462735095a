//! A new leader that can't continue its clock asks the voters what time they have.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jam_proto::sync::readings::Reading;
use jam_proto::wire::peer::v1::ReadClockRequest;
use jam_proto::wire::peer::v1::clocks_client::ClocksClient;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

use super::clock::NodeClock;
use crate::links::Links;
use crate::shard::{Group, Member};

/// For all of them, in parallel. Commands wait meanwhile, so that a voter that is down must not cost more than an election.
const ASK_TIMEOUT: Duration = Duration::from_millis(300);
/// A voter that votes already may take another moment to open its doors.
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// Readings of each voter: the first one opens the connection, and the quickest one counts.
const READINGS: usize = 3;

/// The other voters of a group, to ask them.
#[derive(Clone)]
pub struct Voters {
    /// Whose voters.
    pub group: Group,
    /// The way to them.
    pub links: Arc<Links>,
    /// The clock that their readings are for.
    pub clock: Arc<NodeClock>,
}

impl Voters {
    /// What they say within [`ASK_TIMEOUT`], the quickest reading of each one that answered.
    pub async fn read(&self) -> Vec<Reading> {
        let deadline = Instant::now() + ASK_TIMEOUT;
        let standing = self.group.standing();
        let others = standing.members.iter().filter(|one| one.voter && one.id != standing.id);
        let readings = join_all(others.map(|voter| self.read_one(voter, deadline))).await;
        readings.into_iter().flatten().collect()
    }

    async fn read_one(&self, voter: &Member, deadline: Instant) -> Option<Reading> {
        let mut quickest: Option<Reading> = None;
        let asked = async {
            let mut client = match self.links.to(&voter.addresses.peers) {
                Ok(channel) => ClocksClient::new(channel),
                Err(refusal) => return tracing::debug!(node = voter.id, %refusal, "is no address"),
            };
            for _ in 0..READINGS {
                let reading = self.until_answered(voter.id, &mut client).await;
                let is_quicker = quickest
                    .as_ref()
                    .is_none_or(|best| reading.doubt.bound_ns < best.doubt.bound_ns);
                if is_quicker {
                    quickest = Some(reading);
                }
            }
        };
        if timeout_at(deadline, asked).await.is_err() {
            tracing::debug!(node = voter.id, "did not say in time what time it has");
        }
        quickest
    }

    async fn until_answered(&self, node: u64, client: &mut ClocksClient<Channel>) -> Reading {
        loop {
            match self.exchange(node, client).await {
                Ok(reading) => return reading,
                Err(status) => tracing::debug!(node, %status, "does not say what time it has"),
            }
            sleep(RETRY_EVERY).await;
        }
    }

    async fn exchange(
        &self,
        node: u64,
        client: &mut ClocksClient<Channel>,
    ) -> Result<Reading, Status> {
        let mut request = self.links.request(ReadClockRequest {});
        self.group.sign(node, request.metadata_mut())?;
        let (watch, sent_ns) = (self.clock.watch_for_sleep(), self.clock.raw_ns());
        let reply = client.read(request).await?.into_inner();
        let back_ns = self.clock.raw_ns();
        if watch.has_slept() {
            return Err(Status::aborted("this machine slept meanwhile"));
        }
        Reading::answered(sent_ns, &reply, back_ns)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
