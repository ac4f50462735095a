//! The links of a run: one from each who dials to each node, and what is wrong with them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use jam_world::Detours;

use super::fault::{Direction, Others};
use super::links::{End, Gate, Link, Way};

/// Who dials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialler {
    /// The node of this place.
    Node(u64),
    /// Somebody who is no node.
    Client(String),
}

/// All links.
pub struct Wiring {
    seed: u64,
    /// Where clients are served, by place, from 1.
    ports: Vec<u16>,
    /// Where nodes are served.
    peer_ports: Vec<u16>,
    links: BTreeMap<(Dialler, u64), Wire>,
}

struct Wire {
    link: Link,
    /// What each fault does to it: there, back.
    wrong: BTreeMap<usize, (Way, Way)>,
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Wiring {
    /// None yet, to nodes that listen on these ports of 127.0.0.1. `peer_ports`: for each other, if not on the same ones.
    pub fn new(seed: u64, ports: Vec<u16>, peer_ports: Option<Vec<u16>>) -> Self {
        let peer_ports = peer_ports.unwrap_or_else(|| ports.clone());
        Self { seed, ports, peer_ports, links: BTreeMap::new() }
    }

    /// Where a node listens for clients.
    pub fn address(&self, place: u64) -> String {
        local(self.ports[place as usize - 1]).to_string()
    }

    /// Where a node listens for the others.
    pub fn peer_address(&self, place: u64) -> String {
        local(self.peer_ports[place as usize - 1]).to_string()
    }

    /// Where all nodes listen for each other, by place.
    pub fn peer_addresses(&self) -> Vec<String> {
        self.places().map(|place| self.peer_address(place)).collect()
    }

    /// Where all nodes listen for clients, by place.
    pub fn addresses(&self) -> Vec<String> {
        self.places().map(|place| self.address(place)).collect()
    }

    fn places(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.ports.len() as u64
    }

    /// Opens the links of somebody, and says how the nodes are to be reached.
    ///
    /// # Errors
    /// If there is no port left.
    pub async fn connect(&mut self, dialler: &Dialler) -> std::io::Result<String> {
        let mut detours = Vec::new();
        for place in self.places().filter(|place| *dialler != Dialler::Node(*place)) {
            let ports = match dialler {
                Dialler::Node(_) => &self.peer_ports,
                Dialler::Client(_) => &self.ports,
            };
            let target = local(ports[place as usize - 1]);
            let link = Link::open(&format!("{dialler:?} to {place}"), target, self.seed).await?;
            detours.push(format!("{target}={}", link.address()));
            let wire = Wire { link, wrong: BTreeMap::new() };
            self.links.insert((dialler.clone(), place), wire);
        }
        Ok(detours.join(","))
    }

    /// The same, for a world within this process.
    ///
    /// # Errors
    /// If there is no port left.
    pub async fn connect_here(&mut self, name: &str) -> std::io::Result<Detours> {
        let detours = self.connect(&Dialler::Client(name.to_owned())).await?;
        detours.parse().map_err(std::io::Error::other)
    }

    /// Bytes are lost between a node and others.
    pub fn cut(&mut self, fault: usize, place: u64, direction: Direction, others: Others) {
        let lost = |is: bool| if is { Way::blackhole() } else { Way::default() };
        let (loses_in, loses_out) = (
            matches!(direction, Direction::Both | Direction::In),
            matches!(direction, Direction::Both | Direction::Out),
        );
        self.each_of(place, others, |wire, is_dialler| {
            // What it dials sends there; where it is dialled, it is sent there.
            let (there, back) =
                if is_dialler { (loses_out, loses_in) } else { (loses_in, loses_out) };
            wire.wrong.insert(fault, (lost(there), lost(back)));
        });
    }

    /// Two nodes don't reach each other.
    pub fn part(&mut self, fault: usize, one: u64, other: u64) {
        for (from, to) in [(one, other), (other, one)] {
            if let Some(wire) = self.links.get_mut(&(Dialler::Node(from), to)) {
                wire.wrong.insert(fault, (Way::blackhole(), Way::blackhole()));
                wire.tell();
            }
        }
    }

    /// All links of a node are so, both ways.
    pub fn worsen(&mut self, fault: usize, place: u64, way: &Way) {
        self.each_of(place, Others::All, |wire, _| {
            wire.wrong.insert(fault, (way.clone(), way.clone()));
        });
    }

    /// All connections of a node are reset.
    pub fn reset(&mut self, place: u64) {
        self.each_of(place, Others::All, |wire, _| wire.link.reset());
    }

    /// A node's connections vanish; those who had them don't hear of it.
    pub fn half_open(&mut self, fault: usize, place: u64) {
        self.each_of(place, Others::All, |wire, is_dialler| {
            wire.wrong.insert(fault, (Way::default(), Way::default()));
            wire.link.half_open(if is_dialler { End::Dialler } else { End::Target });
        });
    }

    /// A fault has no effect any more.
    pub fn heal(&mut self, fault: usize) {
        for wire in self.links.values_mut() {
            if wire.wrong.remove(&fault).is_none() {
                continue;
            }
            if wire.wrong.is_empty() {
                wire.link.heal();
            } else {
                wire.tell();
            }
        }
    }

    /// Bytes that were swallowed or kept back until now, on all links.
    pub fn kept_bytes(&self) -> u64 {
        let kept = |wire: &Wire| {
            let tally = wire.link.tally();
            tally.there.swallowed + tally.back.swallowed + tally.there.held + tally.back.held
        };
        self.links.values().map(kept).sum()
    }

    fn each_of(&mut self, place: u64, others: Others, mut act: impl FnMut(&mut Wire, bool)) {
        for ((dialler, to), wire) in &mut self.links {
            let is_dialler = *dialler == Dialler::Node(place);
            if !is_dialler && *to != place {
                continue;
            }
            let is_client = matches!(dialler, Dialler::Client(_));
            if others == Others::All || (others == Others::Clients) == is_client {
                act(wire, is_dialler);
                wire.tell();
            }
        }
    }
}

impl Wire {
    /// Tells the link all that is wrong with it.
    fn tell(&self) {
        let worst = |pick: fn(&(Way, Way)) -> &Way| {
            self.wrong.values().map(pick).fold(Way::default(), |one, other| worse(&one, other))
        };
        self.link.set(worst(|ways| &ways.0), worst(|ways| &ways.1));
    }
}

/// Both at once.
fn worse(one: &Way, other: &Way) -> Way {
    let least = |one: u64, other: u64| match (one, other) {
        (0, limit) | (limit, 0) => limit,
        (one, other) => one.min(other),
    };
    let gate = match (one.gate, other.gate) {
        (Gate::Blackhole, _) | (_, Gate::Blackhole) => Gate::Blackhole,
        (Gate::Hold, _) | (_, Gate::Hold) => Gate::Hold,
        _ => Gate::Open,
    };
    let stalls = if one.stall_ms >= other.stall_ms { one } else { other };
    Way {
        gate,
        delay_ms: one.delay_ms + other.delay_ms,
        jitter_ms: one.jitter_ms.max(other.jitter_ms),
        stall_every_ms: stalls.stall_every_ms,
        stall_ms: stalls.stall_ms,
        bytes_per_sec: least(one.bytes_per_sec, other.bytes_per_sec),
        slice_bytes: least(one.slice_bytes, other.slice_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn faults_add_up_and_heal_one_by_one() {
        let mut wiring = Wiring::new(1, vec![1, 2, 3], None);
        for place in 1..=3 {
            wiring.connect(&Dialler::Node(place)).await.expect("ports");
        }
        let detours = wiring.connect_here("ann").await.expect("ports");
        assert_ne!(detours, Detours::default());
        let ways =
            |wiring: &Wiring, from: u64, to| wiring.links[&(Dialler::Node(from), to)].link.ways();
        wiring.cut(1, 2, Direction::In, Others::Nodes);
        wiring.worsen(2, 2, &Way::delay(5, 0));
        let (there, back) = ways(&wiring, 1, 2);
        assert_eq!((there.gate, there.delay_ms), (Gate::Blackhole, 5));
        assert_eq!((back.gate, back.delay_ms), (Gate::Open, 5));
        let (there, back) = ways(&wiring, 2, 3);
        assert_eq!((there.gate, back.gate), (Gate::Open, Gate::Blackhole));
        assert_eq!(ways(&wiring, 1, 3), (Way::default(), Way::default()));
        let ann = |wiring: &Wiring| {
            wiring.links[&(Dialler::Client("ann".to_owned()), 2)].link.ways().0.gate
        };
        assert_eq!(ann(&wiring), Gate::Open);
        wiring.heal(1);
        assert_eq!(ways(&wiring, 1, 2), (Way::delay(5, 0), Way::delay(5, 0)));
        wiring.part(3, 1, 3);
        wiring.cut(4, 1, Direction::Both, Others::Clients);
        assert_eq!(ways(&wiring, 3, 1).0.gate, Gate::Blackhole);
        wiring.heal(2);
        wiring.heal(3);
        wiring.heal(4);
        for wire in wiring.links.values() {
            assert_eq!(wire.link.ways(), (Way::default(), Way::default()));
        }
    }
}
