//! What the flags of a member say of addresses against what its cluster knows. A member calls the others where the membership
//! says, so a wrong `--peers` would go unnoticed, and nodes that were all started elsewhere would never find each other.

use std::collections::BTreeMap;

use jam_proto::wire::peer::v1::HelloReply;

use super::{GroupConfig, Local};
use crate::raft::addresses::Addresses;
use crate::shard::Group;

impl Local {
    /// Says where the flags and the membership differ, as soon as this node knows the membership.
    pub(super) async fn log_contradictions(config: GroupConfig, group: Group) {
        let mut standings = group.standing_changes();
        let known = standings.wait_for(|standing| !standing.members.is_empty()).await;
        // An error means that the group has ended.
        let Ok(members) = known.map(|standing| standing.members.clone()) else { return };
        let members = members.into_iter().map(|member| (member.place, member.addresses)).collect();
        let GroupConfig { place, addresses, peers, .. } = &config;
        for sentence in contradictions(*place, addresses, peers, &members) {
            tracing::warn!("{sentence}");
        }
    }

    /// Says which peers do not answer, and where they were asked.
    pub(super) fn log_silent(&self, answers: &BTreeMap<u64, Option<HelloReply>>) {
        let silent = answers.iter().filter(|(_, answer)| answer.is_none());
        let silent: Vec<String> = silent
            .filter_map(|(place, _)| {
                Some(format!("node {place} at {}", self.config.peers.get(place)?))
            })
            .collect();
        let silent = silent.join(", ");
        tracing::info!(silent, "waiting for all the peers, to form a cluster");
    }
}

/// A sentence for each address that differs. `members`: by place, where the members are reached.
fn contradictions(
    own_place: u64,
    own: &Addresses,
    peers: &BTreeMap<u64, String>,
    members: &BTreeMap<u64, Addresses>,
) -> Vec<String> {
    let mut sentences = Vec::new();
    for (place, member) in members {
        if *place == own_place {
            if member != own {
                sentences.push(format!(
                    "the cluster knows this node at {member}, and it was started at {own}: it tells the leader, which needs a majority \
                     of the nodes; until then the others call it at {member}"
                ));
            }
            continue;
        }
        match peers.get(place) {
            Some(address) if *address != member.peers => sentences.push(format!(
                "--peers says that node {place} is at {address}, and the cluster knows it at {}, where this node calls it: correct \
                 --peers, or, if node {place} has moved, start it at its new address while the others are up",
                member.peers
            )),
            Some(_) => {}
            None => sentences.push(format!(
                "--peers does not name node {place}, which is a member of the cluster at {}",
                member.peers
            )),
        }
    }
    let strangers = peers.keys().filter(|place| !members.contains_key(place));
    sentences.extend(strangers.map(|place| {
        format!("--peers names node {place}, which is no member of the cluster: it is ignored")
    }));
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Addresses {
        Addresses::one(address.to_owned())
    }

    #[test]
    fn each_difference_is_a_sentence() {
        let members = BTreeMap::from([(1, at("a:1")), (2, at("b:1")), (3, at("c:1"))]);
        let peers = |list: &[(u64, &str)]| -> BTreeMap<u64, String> {
            list.iter().map(|(place, address)| (*place, address.to_string())).collect()
        };
        let same = peers(&[(1, "a:1"), (2, "b:1"), (3, "c:1")]);
        assert_eq!(contradictions(1, &at("a:1"), &same, &members), [""; 0]);
        let other = peers(&[(1, "a:9"), (2, "b:9"), (4, "d:1")]);
        let told = contradictions(1, &at("a:9"), &other, &members);
        let begins = [
            "the cluster knows this node at a:1, and it was started at a:9",
            "--peers says that node 2 is at b:9, and the cluster knows it at b:1",
            "--peers does not name node 3",
            "--peers names node 4, which is no member",
        ];
        assert_eq!(told.len(), begins.len(), "{told:?}");
        for (told, begin) in told.iter().zip(begins) {
            assert!(told.starts_with(begin), "{told}");
        }
    }
}
