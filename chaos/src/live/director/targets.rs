//! Which nodes a fault is about.

use super::Director;
use crate::live::fault::{Kind, Who};

impl Director {
    /// Whether a disk may be damaged or lost. The one whose disk was lost may lose the next one while it still comes back:
    /// the others have all.
    pub(super) fn all_there(&self, kind: &Kind, place: u64) -> bool {
        let again = matches!(kind, Kind::Wipe { .. }) && self.spoilt == Some(place);
        let standing = self.standing.borrow();
        self.seats.iter().all(|(at, seat)| {
            let is_there = standing.there.contains(at) || (again && *at == place);
            is_there && seat.down.is_empty() && !seat.is_dark
        })
    }

    pub(super) fn others(&self, place: u64) -> Vec<u64> {
        self.seats.keys().copied().filter(|other| *other != place).collect()
    }

    pub(super) fn places(&self, kind: &Kind, pick: u64) -> Vec<u64> {
        let Some(who) = kind.who() else { return Vec::new() };
        let leader = self.standing.borrow().leader;
        let all: Vec<u64> = self.seats.keys().copied().collect();
        let turned = |of: &[u64], count: usize| -> Vec<u64> {
            let by = pick as usize % of.len();
            of.iter().cycle().skip(by).take(count).copied().collect()
        };
        match who {
            Who::Leader => leader.map_or_else(|| turned(&all, 1), |leader| vec![leader]),
            Who::Follower => {
                let others: Vec<u64> =
                    all.iter().copied().filter(|place| Some(*place) != leader).collect();
                turned(&others, 1)
            }
            Who::Majority => turned(&all, all.len() / 2 + 1),
            Who::All => all,
            Who::Node(place) => all.into_iter().filter(|one| *one == place).collect(),
        }
    }

    pub(super) fn affected(&self, kind: &Kind, places: &[u64]) -> Vec<String> {
        let node = |place: &u64| format!("n{place}");
        match kind {
            Kind::Bridge => vec![node(&places[0]), node(&self.others(places[0])[0])],
            Kind::Ring | Kind::RollingRestart => self.seats.keys().map(node).collect(),
            Kind::ListenerCrash | Kind::CacheRot { .. } => vec!["listeners".to_owned()],
            Kind::StuckWatcher => vec!["a watcher".to_owned()],
            Kind::Attack { .. } => vec!["all who use the cluster".to_owned()],
            _ => places.iter().map(node).collect(),
        }
    }
}
