//! Looks for a node to talk to.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jam_proto::wire::v1::{ClusterStatusReply, ClusterStatusRequest};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{Address, Dialer, Door, NoAnswer};
use crate::error::Failure;
use crate::refusal::Refusal;

/// How long a node may take to say where the cluster stands: it needs nobody else for that, but may be far away.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// The servers are asked this far apart, so that a healthy first one spares the others the work.
const PROBE_STAGGER: Duration = Duration::from_millis(40);
/// How long answers that name no leader wait for one that does.
const LEADERLESS_PATIENCE: Duration = Duration::from_millis(200);
/// How long the leader itself may take at least, once another node has answered: any node passes a request on.
const LEADER_PATIENCE: Duration = Duration::from_millis(250);
/// A voter that says nothing for so long does not count as reachable.
const VOTER_PATIENCE: Duration = Duration::from_secs(1);

/// A node that answered, and what it said.
pub(super) type Answer = (Door, ClusterStatusReply);

/// Why no node was found.
pub(super) enum NotFound {
    /// None answered: what happened at each address.
    Silent(Vec<NoAnswer>),
    /// One speaks, and will not have us: a wrong token, another program.
    Refused(Failure),
}

impl From<NotFound> for Failure {
    fn from(not_found: NotFound) -> Self {
        match not_found {
            NotFound::Silent(tried) => Failure::Unreachable { tried },
            NotFound::Refused(failure) => failure,
        }
    }
}

enum ProbeError {
    Silent(NoAnswer),
    Refused(Failure),
}

/// Asks all servers, a little apart. The first that knows a leader wins; answers without one wait a moment for
/// better. Goes on to the leader itself if it can be reached. Ends at the deadline at the latest.
pub(super) async fn best_answer(
    dialer: &Dialer,
    servers: &[Address],
    deadline: Instant,
) -> Result<Answer, NotFound> {
    let mut asking: FuturesUnordered<_> = (0u32..)
        .zip(servers)
        .map(|(place, server)| async move {
            sleep(PROBE_STAGGER * place).await;
            let began = Instant::now();
            (server, began, probe(dialer, server).await)
        })
        .collect();
    let mut leaderless: Option<Answer> = None;
    let mut silent: Vec<NoAnswer> = Vec::new();
    let mut refused = None;
    let mut until = deadline;
    while let Ok(Some((server, began, answer))) = timeout_at(until, asking.next()).await {
        match answer {
            Ok((door, standing)) if standing.leader != 0 => {
                let patience = LEADER_PATIENCE.max(3 * began.elapsed());
                return Ok(to_leader(dialer, door, standing, patience).await);
            }
            Ok(answer) => {
                if leaderless.replace(answer).is_none() {
                    until = deadline.min(Instant::now() + LEADERLESS_PATIENCE);
                }
            }
            Err(ProbeError::Silent(no_answer)) => {
                silent.push(NoAnswer { address: server.clone(), ..no_answer });
            }
            Err(ProbeError::Refused(failure)) => refused = Some(failure),
        }
    }
    match (leaderless, refused) {
        (Some(answer), _) => Ok(answer),
        (None, Some(failure)) => Err(NotFound::Refused(failure)),
        (None, None) => Err(NotFound::Silent(in_order(servers, silent))),
    }
}

/// What happened at each server, in the order in which they were given, each once.
fn in_order(servers: &[Address], mut silent: Vec<NoAnswer>) -> Vec<NoAnswer> {
    let mut all: Vec<NoAnswer> = Vec::new();
    for server in servers {
        if all.iter().any(|one| one.address == *server) {
            continue;
        }
        let place = silent.iter().position(|one| one.address == *server);
        all.push(
            place.map_or_else(
                || NoAnswer::silent(server.clone()),
                |place| silent.swap_remove(place),
            ),
        );
    }
    all
}

/// Dials a node and asks it where the cluster stands.
async fn probe(dialer: &Dialer, address: &Address) -> Result<Answer, ProbeError> {
    let door = dialer.dial(address).await.map_err(ProbeError::Silent)?;
    match timeout(STATUS_TIMEOUT, door.cluster().status(ClusterStatusRequest {})).await {
        Ok(Ok(reply)) => Ok((door, reply.into_inner())),
        Ok(Err(status)) => match Refusal::of(&status) {
            Refusal::Final { code, message } => {
                Err(ProbeError::Refused(Failure::refused(code, message)))
            }
            other => Err(ProbeError::Silent(NoAnswer {
                why: other.message().to_owned(),
                ..NoAnswer::silent(address.clone())
            })),
        },
        Err(_) => Err(ProbeError::Silent(NoAnswer::silent(address.clone()))),
    }
}

/// The leader's own connection, or `door` where that can't be had within `patience`.
async fn to_leader(
    dialer: &Dialer,
    door: Door,
    standing: ClusterStatusReply,
    patience: Duration,
) -> Answer {
    if standing.leader == standing.answered_by {
        return (door, standing);
    }
    let leader = standing.nodes.iter().find(|node| node.id == standing.leader);
    if let Some(Ok(address)) = leader.map(|leader| Address::parse(&leader.address))
        && let Ok(Ok((leader, newer))) = timeout(patience, probe(dialer, &address)).await
        && newer.cluster_id == standing.cluster_id
        && newer.leader == newer.answered_by
    {
        return (leader, newer);
    }
    (door, standing)
}

/// Whether a majority of the voters that `standing` names answers, so that they can elect a leader if they reach each other.
/// Takes no longer than [`VOTER_PATIENCE`], and ends at the deadline.
pub(super) async fn majority_answers(
    dialer: &Dialer,
    standing: &ClusterStatusReply,
    deadline: Instant,
) -> bool {
    let voters: BTreeSet<u64> =
        standing.nodes.iter().filter(|node| node.role != "learner").map(|node| node.id).collect();
    let addresses = standing.nodes.iter().filter_map(|node| Address::parse(&node.address).ok());
    let mut asking: FuturesUnordered<_> =
        addresses.map(|address| async move { probe(dialer, &address).await }).collect();
    let mut over = std::pin::pin!(sleep_until(deadline.min(Instant::now() + VOTER_PATIENCE)));
    let mut answered = BTreeSet::new();
    loop {
        let answer = tokio::select! {
            answer = asking.next() => answer,
            () = &mut over => None,
        };
        let Some(answer) = answer else { return false };
        if let Ok((_, reply)) = answer
            && reply.cluster_id == standing.cluster_id
            && voters.contains(&reply.answered_by)
        {
            answered.insert(reply.answered_by);
        }
        if 2 * answered.len() > voters.len() {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::sync::Arc;

    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, pending};
    use jam_world::{Listener, Net, Stream, World};

    use super::*;
    use crate::connection::{Bearer, Cluster};

    /// A network that drops every packet.
    #[derive(Debug)]
    struct BlackHole;

    impl Net for BlackHole {
        fn dial(&self, _: String) -> BoxFuture<'static, io::Result<Stream>> {
            pending().boxed()
        }
        fn listen(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
            pending().boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_search_goes_on_after_its_deadline() {
        let world = World { net: Arc::new(BlackHole), ..World::real() };
        let servers = vec![Address::parse("a:1").expect("an address"); 2];
        for patience in [1, 4, 10].map(Duration::from_secs) {
            let began = Instant::now();
            let dialer = Dialer::new(world.clone(), Bearer::default());
            let Err(failure) = Cluster::find(dialer, servers.clone(), patience).await else {
                panic!("nobody is there")
            };
            assert!(began.elapsed() <= patience, "{:?} of {patience:?}", began.elapsed());
            assert!(failure.to_string().contains("(a:1: no answer)"), "{failure}");
        }
    }
}
