//! Who is in the group, and how a node takes the place of another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jam_proto::level::FeatureLevel;
use jam_proto::wire::peer::v1::{JoinReply, JoinRequest};
use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, Instant, RaftMetrics};
use tokio::sync::watch;
use tonic::Status;

use super::addresses::Addresses;
use super::handle::Handle;
use super::types::{PeerNode, StoredMembership, Types};
use crate::identity::{Folder, Id, Stage, Step};
use crate::refusal::Refusal;
use crate::shard::{Member, Standing};

/// A learner this close to the end of the log can vote without holding anybody up.
const LAG_ENTRIES_MAX: u64 = 64;
/// Not heard of for this long: not alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);
/// For one change of the membership. The node that joins asks again.
const CHANGE_TTL: Duration = Duration::from_secs(5);

/// Where the group stands.
pub fn standing(metrics: &RaftMetrics<Types>, lease: Duration) -> Standing {
    let leads = metrics.current_leader == Some(metrics.id) && metrics.state.is_leader();
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let members = membership.nodes().map(|(&id, node)| {
        let matched =
            metrics.replication.as_ref().and_then(|nodes| nodes.get(&id)).copied().flatten();
        let heard = metrics.heartbeat.as_ref().and_then(|nodes| nodes.get(&id)).copied().flatten();
        let alive = id == metrics.id || heard.is_some_and(|at| at.elapsed() < ALIVE_WITHIN);
        Member {
            id,
            place: node.place,
            addresses: node.addresses.clone(),
            voter: voters.contains(&id),
            matched: leads.then(|| matched.map_or(0, |matched| matched.index)),
            alive: leads.then_some(alive),
        }
    });
    Standing {
        id: metrics.id,
        term: metrics.current_term,
        leader: metrics.current_leader,
        leads_with_lease: leads && heard_within(metrics, &voters, lease),
        committed: metrics.local_committed.map_or(0, |committed| committed.index),
        applied: metrics.last_applied.map_or(0, |applied| applied.index),
        snapshot: metrics.snapshot.map_or(0, |snapshot| snapshot.index),
        purged: metrics.purged.map_or(0, |purged| purged.index),
        members: members.collect(),
    }
}

/// Whether a leader heard a majority within `age`.
pub fn heard_within(metrics: &RaftMetrics<Types>, voters: &BTreeSet<u64>, age: Duration) -> bool {
    let alone = voters.len() == 1 && voters.contains(&metrics.id);
    alone || metrics.last_quorum_acked.is_some_and(|at| at.elapsed() < age)
}

/// Publishes a group's standing whenever something in it changes that is worth waking for, and
/// writes down that the log has begun once it has.
pub async fn follow_standing(
    handle: Arc<Handle>,
    folder: Arc<Folder>,
    changes: watch::Sender<Standing>,
) {
    let mut metrics = handle.raft.metrics();
    let mut rare = handle.raft.server_metrics();
    let lease = handle.timing.lease();
    let mut lacking_since = None;
    while !changes.is_closed() {
        let now = metrics.borrow_watched().clone();
        // A vote counts: from then on this folder has promised something.
        let begun = now.current_term > 0 || now.last_log_index.is_some();
        if begun
            && folder.identity().stage != Stage::Member
            && let Err(error) = folder.take_step(|_| Some(Step::Begun)).await
        {
            tracing::error!(%error, "can't write down that this node is a member");
        }
        let next = standing(&now, lease);
        let addresses =
            next.members.iter().map(|member| (member.id, member.addresses.peers.clone()));
        handle.links.know(addresses.collect());
        if next.leads_with_lease {
            handle.heard.note(tokio::time::Instant::now());
            if handle.state.read().shard.epoch().term == next.term {
                handle.heard.note_complete();
            }
        }
        let hopes = now.state.is_leader() && !next.leads_with_lease;
        if !hopes {
            lacking_since = None;
        }
        let lacking = hopes.then(|| *lacking_since.get_or_insert_with(tokio::time::Instant::now));
        // A leader that was elected a moment ago has the votes of a majority, which say as much.
        handle.lease.set_lost(lacking.is_some_and(|since| since.elapsed() > lease * 2));
        changes.send_if_modified(|last| {
            let differs = !same(last, &next);
            *last = next;
            differs
        });
        // The metrics change with every commit: they are followed only where one of those brings the lease.
        // A lease that runs out is a change that nothing reports.
        let changed = tokio::select! {
            changed = rare.changed() => changed,
            changed = metrics.changed(), if hopes => changed,
            () = tokio::time::sleep(lease / 2) => Ok(()),
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Whether two standings differ in nothing but progress.
fn same(one: &Standing, other: &Standing) -> bool {
    let leadership =
        |standing: &Standing| (standing.term, standing.leader, standing.leads_with_lease);
    let member = |a: &Member, b: &Member| {
        (a.id, a.place, a.voter, &a.addresses) == (b.id, b.place, b.voter, &b.addresses)
    };
    leadership(one) == leadership(other)
        && one.members.len() == other.members.len()
        && one.members.iter().zip(&other.members).all(|(a, b)| member(a, b))
}

impl Handle {
    /// Stops Raft for good, with the reason for whoever looks: nothing is voted for or acknowledged any more.
    pub async fn give_up(&self, reason: String) {
        // The first reason stays.
        let _ = self.given_up.set(reason);
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "Raft ended in a panic");
        }
    }

    /// The data folders of the members, by the committed membership that was applied here.
    pub fn folders(&self) -> BTreeSet<[u8; 16]> {
        self.state.read().membership.nodes().map(|(_, node)| node.incarnation).collect()
    }

    /// Where the members are reached, by the same.
    pub fn addresses(&self) -> BTreeSet<String> {
        self.state.read().membership.nodes().map(|(_, node)| node.addresses.peers.clone()).collect()
    }

    /// The node that votes at a place, by the same. The latest one, while votes are being swapped.
    pub fn voter_at(&self, place: u64) -> Option<u64> {
        let state = self.state.read();
        let voters = state.membership.voter_ids().filter(|id| {
            state.membership.membership().get_node(id).is_some_and(|node| node.place == place)
        });
        voters.max()
    }

    /// Begins the group, with these nodes. Nothing if it has begun.
    pub async fn found(&self, members: BTreeMap<u64, PeerNode>) -> Result<(), String> {
        let begun = self.raft.is_initialized().await.map_err(|error| error.to_string())?;
        if begun {
            return Ok(());
        }
        self.raft.initialize(members).await.map_err(|error| error.to_string())
    }

    /// Lets a node that replaces another in, one step at each call: as a learner, then, once it has
    /// caught up on log and songs, as a voter in the other's stead.
    pub async fn admit(self: &Arc<Self>, request: &JoinRequest) -> Result<JoinReply, Status> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.clone();
        if !metrics.state.is_leader() {
            let leader =
                metrics.current_leader.and_then(|id| Some((id, membership.get_node(&id)?.clone())));
            let (leader, node) = leader.unwrap_or_default();
            return Ok(JoinReply {
                leader,
                leader_address: node.addresses.peers,
                ..JoinReply::default()
            });
        }
        let votes = membership.voter_ids().any(|id| id == request.node);
        let incarnation = self.check_joiner(request, votes)?;
        check_level(request, self.state.read().shard.level())?;
        let answer = |waiting_for: &str| JoinReply {
            leader: metrics.id,
            waiting_for: waiting_for.to_owned(),
            ..JoinReply::default()
        };
        let is_changing = membership.membership().get_joint_config().len() > 1;
        let (term, last_index) = (metrics.current_term, metrics.last_log_index.unwrap_or(0));
        let required = self.admissions.required(request.node, incarnation, term, last_index);
        let Some(known) = membership.get_node(&request.node) else {
            if is_changing {
                return Err(Status::unavailable("a change of members is under way"));
            }
            self.add_learner(request, incarnation, &membership).await?;
            return Ok(answer("the log"));
        };
        if known.incarnation != incarnation.0 {
            return Err(Status::failed_precondition(format!(
                "node {} has begun with another data folder, which it must not lose; run `jam --servers … cluster \
                 replace {}` again and start with an empty one",
                request.node, request.place
            )));
        }
        if is_changing {
            return Ok(answer("a change of members that is under way"));
        }
        if votes {
            return Ok(JoinReply { voter: true, ..answer("") });
        }
        if let Some(missing) = missing(&metrics, request, required) {
            return Ok(answer(&missing));
        }
        self.swap_vote(request, &membership).await?;
        Ok(JoinReply { voter: true, ..answer("") })
    }

    /// Whether the place is waiting for this very node, or has it: a node that `votes` is needed until a later one does.
    /// Answers its incarnation.
    fn check_joiner(&self, request: &JoinRequest, votes: bool) -> Result<Id, Status> {
        let incarnation = Id::from_wire(&request.incarnation)
            .ok_or(Status::invalid_argument("no incarnation"))?;
        if Id::from_wire(&request.cluster) != self.own.cluster {
            return Err(Status::failed_precondition("this is another cluster"));
        }
        let JoinRequest { node, place, .. } = request;
        match self.state.read().shard.replacement(*place) {
            Some(latest) if latest == *node || (latest > *node && votes) => Ok(incarnation),
            Some(latest) if latest > *node => {
                let sentence = format!(
                    "node {node} was replaced by node {latest}; move its data folder away and start jamd --id {place} \
                     with an empty one"
                );
                Err(Refusal::NodeReplaced(sentence).into())
            }
            _ => Err(Status::failed_precondition(format!(
                "node {node} does not wait for place {place}; run `jam --servers … cluster replace {place}`"
            ))),
        }
    }

    async fn add_learner(
        self: &Arc<Self>,
        request: &JoinRequest,
        incarnation: Id,
        membership: &StoredMembership,
    ) -> Result<(), Status> {
        let stale = learners_of(membership, request.place);
        if !stale.is_empty() {
            self.change(ChangeMembers::RemoveNodes(stale)).await?;
        }
        // The record of two addresses is for builds that know it.
        let clients = match self.state.read().shard.level() >= FeatureLevel::DOORS {
            true => request.client_address.as_str(),
            false => "",
        };
        let node = PeerNode {
            addresses: Addresses::told(clients, &request.address),
            place: request.place,
            incarnation: incarnation.0,
        };
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(request.node, node)]))).await
    }

    /// The new node votes from here on, and the one that it replaces does not.
    async fn swap_vote(
        self: &Arc<Self>,
        request: &JoinRequest,
        membership: &StoredMembership,
    ) -> Result<(), Status> {
        let others =
            membership.nodes().filter(|(_, node)| node.place != request.place).map(|(&id, _)| id);
        let others: BTreeSet<u64> = others.collect();
        let mut voters: BTreeSet<u64> =
            membership.voter_ids().filter(|id| others.contains(id)).collect();
        voters.insert(request.node);
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await?;
        tracing::info!(
            node = request.node,
            place = request.place,
            "a new node votes in the place of a lost one"
        );
        Ok(())
    }

    pub(super) async fn change(
        self: &Arc<Self>,
        change: ChangeMembers<u64, PeerNode>,
    ) -> Result<(), Status> {
        let this = self.clone();
        // A caller that hangs up must not stop a change between its two steps.
        let changing =
            tokio::spawn(async move { this.raft.change_membership(change, false).await });
        match tokio::time::timeout(CHANGE_TTL, changing).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => {
                Err(Status::unavailable(format!("the members were not changed: {error}")))
            }
            Ok(Err(error)) => Err(Status::unavailable(error.to_string())),
            Err(_) => Err(Status::unavailable(
                "the members were not changed in time; it may still happen",
            )),
        }
    }
}

/// A node whose build does not know the feature level in force would stop at the first entry that needs it.
fn check_level(request: &JoinRequest, in_force: FeatureLevel) -> Result<(), Status> {
    let known = FeatureLevel(request.level);
    if known >= in_force {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "the cluster runs at feature level {in_force}, and the build of node {} knows levels up to {known}; install the \
         build that the other nodes run",
        request.place
    )))
}

/// What a new node still lacks before it may vote, if anything. `required`: see [`super::admission::Admissions`].
fn missing(metrics: &RaftMetrics<Types>, request: &JoinRequest, required: u64) -> Option<String> {
    let matched =
        metrics.replication.as_ref().and_then(|nodes| nodes.get(&request.node)).copied().flatten();
    let last = metrics.last_log_index.unwrap_or(0);
    let behind = last.saturating_sub(matched.map_or(0, |matched| matched.index));
    if matched.is_none() || behind > LAG_ENTRIES_MAX {
        return Some(format!("{behind} log entries"));
    }
    // What it holds of an older state says nothing of the songs that came since.
    let holds_songs = request.holds_songs && request.holds_at >= required;
    (!holds_songs).then(|| "songs".to_owned())
}

/// Nodes that began to take `place` and were lost before they voted.
fn learners_of(membership: &StoredMembership, place: u64) -> BTreeSet<u64> {
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let at_place =
        membership.nodes().filter(|(id, node)| node.place == place && !voters.contains(id));
    at_place.map(|(&id, _)| id).collect()
}
