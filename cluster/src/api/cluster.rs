//! For operators: who is there, and what to do about who is not.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::ReplaceNode;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::cluster_server::Cluster;
use jam_proto::wire::v1::{
    ClusterStatusReply, ClusterStatusRequest, LostSongsReply, LostSongsRequest, NodeStatus,
    RaiseLevelReply, RaiseLevelRequest, ReplaceReply, ReplaceRequest, SnapshotReply,
    SnapshotRequest, TransferReply, TransferRequest,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::field::display;

use super::replace;
use crate::blobs::Blobs;
use crate::forward::{Asked, Forwarder, Kind, Leader, Way};
use crate::links::{Failed, is_forwarded, judge};
use crate::moves::Moves;
use crate::refusal::Refusal;
use crate::request;
use crate::shard::{Group, Member, TransferError};

const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);
const REPLACE_TIMEOUT: Duration = Duration::from_secs(5);

/// The `Cluster` service.
#[derive(Clone)]
pub struct ClusterService {
    /// The group.
    pub group: Group,
    /// The way to the leader.
    pub forwarder: Forwarder,
    /// The songs here.
    pub blobs: Arc<Blobs>,
    /// How often the leader changed lately.
    pub moves: Arc<Moves>,
    /// Of this cluster.
    pub cluster_id: Vec<u8>,
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn status(
        &self,
        request: Request<ClusterStatusRequest>,
    ) -> Result<Response<ClusterStatusReply>, Status> {
        let own = self.own_status();
        if is_forwarded(&request) {
            return Ok(Response::new(own));
        }
        let members = self.group.standing().members;
        let answers = join_all(members.iter().map(|member| self.ask(member))).await;
        Ok(Response::new(merge(own, &members, answers)))
    }

    async fn transfer(
        &self,
        request: Request<TransferRequest>,
    ) -> Result<Response<TransferReply>, Status> {
        let forwarded = is_forwarded(&request);
        let to = request.into_inner().to;
        if forwarded {
            let leader = self.transfer_here(to).await?;
            return Ok(Response::new(TransferReply { leader }));
        }
        let deadline = Instant::now() + TRANSFER_TIMEOUT;
        let transferred = self.forwarder.at_leader(Kind::Read, deadline, |leader| async {
            match leader {
                Leader::Here => self.transfer_here(to).await,
                Leader::There(Way { channel, .. }) => {
                    let request = self.forwarder.links().request(TransferRequest { to });
                    let reply = ClusterClient::new(channel).transfer(request).await;
                    reply.map(|reply| reply.into_inner().leader).map_err(|status| judge(&status))
                }
            }
        });
        let leader = transferred.await?;
        let request = request::current().map(display);
        tracing::info!(request, to, leader, "leadership was handed over for an operator");
        Ok(Response::new(TransferReply { leader }))
    }

    async fn replace(
        &self,
        request: Request<ReplaceRequest>,
    ) -> Result<Response<ReplaceReply>, Status> {
        let place = request.into_inner().node;
        replace::check_place(place)?;
        // Or a node that lags would name a holder that was replaced since.
        self.forwarder.catch_up(REPLACE_TIMEOUT).await?;
        let members = self.group.standing().members;
        let latest = self.group.read(|shard| shard.replacement(place));
        let Some(holder) = replace::holder(place, latest, &members) else {
            let places: Vec<String> =
                members.iter().map(|member| member.place.to_string()).collect();
            let message = format!("there is no node {place}; the nodes are {}", places.join(", "));
            return Err(Refusal::NodeUnknown(message).into());
        };
        // The leader refuses it if a node of this place is up.
        let op = Op::ReplaceNode(ReplaceNode { node: place, holder: holder.id });
        match self.forwarder.propose(op, REPLACE_TIMEOUT).await? {
            Outcome::Node(replacement) => {
                let request = request::current().map(display);
                tracing::info!(request, place, replacement, "a place was given to a new node");
                let state = format!(
                    "node {replacement} takes the place of node {place}: start jamd --id {place} with an \
                     empty data folder; it votes once it has caught up"
                );
                Ok(Response::new(ReplaceReply { replacement, state }))
            }
            other => Err(Refusal::strange(&other).into()),
        }
    }

    async fn raise_level(
        &self,
        request: Request<RaiseLevelRequest>,
    ) -> Result<Response<RaiseLevelReply>, Status> {
        super::level::raise(self, request).await
    }

    async fn lost_songs(
        &self,
        request: Request<LostSongsRequest>,
    ) -> Result<Response<LostSongsReply>, Status> {
        let forwarded = is_forwarded(&request);
        let request = request.into_inner();
        Ok(Response::new(match forwarded {
            true => self.lost_songs_here(request).await?,
            false => self.lost_songs_at_leader(request).await?,
        }))
    }

    async fn snapshot(
        &self,
        _: Request<SnapshotRequest>,
    ) -> Result<Response<SnapshotReply>, Status> {
        let index = self.group.snapshot().await.map_err(Refusal::from)?;
        Ok(Response::new(SnapshotReply { index }))
    }
}

impl ClusterService {
    /// What this node knows without asking anybody.
    fn own_status(&self) -> ClusterStatusReply {
        let standing = self.group.standing();
        // A leader that was not heard for long may lead no more, and nothing reaches it from here. One without a lease does not
        // lead now.
        let leader = standing.leader.filter(|leader| match *leader == standing.id {
            true => standing.leads_with_lease,
            false => self.group.contact().is_live(),
        });
        let nodes = standing.members.iter().map(|member| NodeStatus {
            id: member.id,
            address: member.addresses.clients.clone(),
            role: role(member, leader).to_owned(),
            applied: if member.id == standing.id { standing.applied } else { 0 },
            alive: member.id == standing.id,
            place: member.place,
        });
        ClusterStatusReply {
            cluster_id: self.cluster_id.clone(),
            leader: leader.unwrap_or(0),
            term: standing.term,
            epoch: self.group.read(|shard| shard.epoch().epoch),
            level: self.group.read(|shard| shard.level().0),
            answered_by: standing.id,
            nodes: nodes.collect(),
        }
    }

    /// What `member` says of itself, if it is there.
    async fn ask(&self, member: &Member) -> Option<ClusterStatusReply> {
        if member.id == self.group.standing().id {
            return Some(self.own_status());
        }
        match self.forwarder.ask(member).await {
            Asked::Answers(status) => Some(*status),
            Asked::Refuses | Asked::Silent => None,
        }
    }

    async fn transfer_here(&self, to: u64) -> Result<u64, Failed> {
        let standing = self.group.standing();
        if standing.leader != Some(standing.id) {
            return Err(Failed::NotTaken(Refusal::NotLeader));
        }
        if to == standing.id {
            return Ok(to);
        }
        let wait = self.moves.wait(Instant::now());
        if !wait.is_zero() {
            return Err(Failed::Refused(Refusal::TooSoon(format!(
                "the leader changed several times in a row, and each change costs listeners; nothing was changed; try again \
                 in {} s",
                wait.as_millis().div_ceil(1000)
            ))));
        }
        let voters =
            standing.members.iter().filter(|member| member.voter && member.id != standing.id);
        let mut targets: Vec<&Member> =
            voters.filter(|member| to == 0 || member.id == to).collect();
        // The most up-to-date one first; of equals the lowest id.
        targets.sort_by_key(|member| (Reverse((member.alive, member.matched)), member.id));
        for target in &targets {
            match self.group.transfer(target.id, TRANSFER_TIMEOUT).await {
                Ok(leader) => return Ok(leader),
                Err(TransferError::Silent(_)) => {}
                Err(TransferError::Failed(error)) => return Err(Failed::Refused(error.into())),
            }
        }
        Err(Failed::Refused(match (to, targets.is_empty()) {
            (0, true) => Refusal::NodeUnknown("there is no other voter to lead".to_owned()),
            (to, true) => Refusal::NodeUnknown(format!(
                "node {to} is no voter of this cluster; `jam cluster nodes` lists them"
            )),
            (0, false) => Refusal::NodeSilent(format!(
                "no other voter answers, so node {} leads on; start one of them first",
                standing.id
            )),
            (to, false) => Refusal::NodeSilent(format!(
                "node {to} does not answer, so node {} leads on; start node {to} first, or name another node",
                standing.id
            )),
        }))
    }
}

/// Completes what this node knows with what the others say: the newest term knows the leader best.
fn merge(
    mut own: ClusterStatusReply,
    members: &[Member],
    answers: Vec<Option<ClusterStatusReply>>,
) -> ClusterStatusReply {
    // Those that say of themselves that they do not lead, and in which term they know that.
    let mut denies = BTreeMap::new();
    for (member, answer) in members.iter().zip(answers) {
        let Some(answer) = answer else { continue };
        if answer.leader != member.id {
            denies.insert(member.id, answer.term);
        }
        if let Some(node) = own.nodes.iter_mut().find(|node| node.id == member.id) {
            node.alive = true;
            let themselves = answer.nodes.iter().find(|node| node.id == member.id);
            node.applied = themselves.map_or(node.applied, |node| node.applied);
        }
        if (answer.term, answer.leader != 0) > (own.term, own.leader != 0) {
            own.term = answer.term;
            own.leader = answer.leader;
        }
        own.epoch = own.epoch.max(answer.epoch);
        own.level = own.level.max(answer.level);
    }
    // A leader that is known to be gone leads nobody, nor does one that says so itself: what is left is an election.
    let is_gone = own.nodes.iter().any(|node| node.id == own.leader && !node.alive);
    if is_gone || denies.get(&own.leader).is_some_and(|term| *term >= own.term) {
        own.leader = 0;
    }
    for node in &mut own.nodes {
        if node.id == own.leader {
            node.role = "leader".to_owned();
        } else if node.role == "leader" {
            node.role = "voter".to_owned();
        }
    }
    own
}

fn role(member: &Member, leader: Option<u64>) -> &'static str {
    match member {
        member if leader == Some(member.id) => "leader",
        Member { voter: true, .. } => "voter",
        Member { voter: false, .. } => "learner",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::addresses::Addresses;

    fn member(id: u64) -> Member {
        Member {
            id,
            place: id,
            addresses: Addresses::one(format!("127.0.0.1:{id}")),
            voter: true,
            matched: None,
            alive: None,
        }
    }

    fn answer(by: u64, leader: u64, term: u64, applied: u64) -> ClusterStatusReply {
        let nodes = (1..=3).map(|id| NodeStatus {
            id,
            role: role(&member(id), Some(leader)).to_owned(),
            applied: if id == by { applied } else { 0 },
            alive: id == by,
            ..Default::default()
        });
        ClusterStatusReply {
            leader,
            term,
            answered_by: by,
            nodes: nodes.collect(),
            ..Default::default()
        }
    }

    #[test]
    fn the_newest_term_names_the_leader() {
        let members = [member(1), member(2), member(3)];
        let own = answer(1, 3, 4, 10);
        let answers = vec![Some(own.clone()), Some(answer(2, 2, 5, 12)), None];
        let merged = merge(own, &members, answers);
        assert_eq!((merged.leader, merged.term), (2, 5));
        let seen: Vec<_> = merged
            .nodes
            .iter()
            .map(|node| (node.role.as_str(), node.applied, node.alive))
            .collect();
        assert_eq!(seen, [("voter", 10, true), ("leader", 12, true), ("voter", 0, false)]);
    }

    #[test]
    fn a_leader_without_a_lease_is_none() {
        let members = [member(1), member(2), member(3)];
        let own = answer(1, 3, 4, 10);
        // It hears a majority no more, while its heartbeats still arrive.
        let leads_nobody = answer(3, 0, 4, 11);
        let merged =
            merge(own.clone(), &members, vec![Some(own.clone()), None, Some(leads_nobody)]);
        assert_eq!(merged.leader, 0);
        // What it said in an earlier term does not count.
        let earlier = answer(3, 0, 3, 9);
        let merged = merge(own.clone(), &members, vec![Some(own), None, Some(earlier)]);
        assert_eq!(merged.leader, 3);
    }

    #[test]
    fn a_dead_leader_is_none() {
        let members = [member(1), member(2), member(3)];
        let own = answer(1, 3, 4, 10);
        let merged = merge(own.clone(), &members, vec![Some(own), None, None]);
        assert_eq!(merged.leader, 0);
        assert!(merged.nodes.iter().all(|node| node.role == "voter"));
    }
}
