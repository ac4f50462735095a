//! A site: five machines, three nodes, two listeners, and what happens when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use crate::draws::Draws;
use crate::exchange::Asker;
use crate::group::Group;
use crate::judge::Judge;
use crate::listener::Listener;
use crate::machine::{Machine, TrueTime};
use crate::node::Node;
use crate::path::{Network, Path};

pub const MILLI: i64 = 1_000_000;
pub const SECOND: i64 = 1_000_000_000;
pub const NODES: usize = 3;
pub const HOSTS: usize = 5;

/// What happens. Those with a turn or a life are void if that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// An asker begins a burst.
    Turn { asker: usize, turn: u64 },
    /// Its probe is at the node.
    Arrives { asker: usize, turn: u64 },
    /// The last reply of its burst is back.
    Back { asker: usize, turn: u64 },
    /// A reply doesn't come.
    Fails { asker: usize, turn: u64 },
    /// A node saves its map.
    Saves { node: usize, life: u32 },
    /// A listener moves on what it publishes.
    Publishes { host: usize, life: u32 },
    /// A node applies the log up to its so manieth leader.
    Hears { node: usize, life: u32, leaders: usize },
    /// Raft tells a node who leads.
    Stands { node: usize, life: u32, term: u64, leader: Option<usize> },
    /// A node's process starts.
    Starts { node: usize },
    /// An election is won, by the preferred one if it can.
    Elects { election: u64, preferred: Option<usize> },
    /// A new leader opens its leadership, or asks the voters what time it is.
    Opens { node: usize, term: u64 },
    /// They have answered, or the leader waits no longer.
    Answered { node: usize, term: u64 },
    /// A majority has its `ClockEpoch`.
    Commits { node: usize, term: u64 },
    /// Something is stamped.
    Stamps,
    /// All clocks are looked at.
    Looks,
    /// Something breaks.
    Breaks,
    /// A follower that was away for long is back.
    Returns { node: usize },
}

/// A process and its machine's network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host {
    pub paused_until_ns: i64,
    pub cut_until_ns: i64,
    pub down: bool,
    /// Processes so far.
    pub life: u32,
}

/// The site.
pub struct Site {
    pub now_ns: i64,
    now: TrueTime,
    pub draws: Draws,
    /// What becomes of saved maps while their node is down. Of its own, so that a seed means what it meant before.
    pub file_draws: Draws,
    queue: BinaryHeap<Reverse<(i64, u64, Event)>>,
    order: u64,
    pub hosts: [Host; HOSTS],
    pub machines: Vec<Arc<Machine>>,
    pub nodes: Vec<Node>,
    pub listeners: Vec<Listener>,
    /// One for each node, and one for each listener and node.
    pub askers: Vec<Asker>,
    /// From each host to each node.
    pub paths: Vec<Vec<Path>>,
    pub group: Group,
    pub judge: Judge,
}

impl Site {
    /// The site of a seed, with everybody started.
    pub fn new(seed: u64, network: Network) -> Self {
        let mut draws = Draws::new(seed, network as u64);
        let now: TrueTime = Arc::new(AtomicI64::new(0));
        let machines: Vec<_> =
            (0..HOSTS).map(|_| Arc::new(Machine::new(now.clone(), &mut draws))).collect();
        let nodes = machines[..NODES].iter().zip(0..);
        let paths = (0..HOSTS)
            .map(|host| (0..NODES).map(|_| Path::new(network, host < NODES, &mut draws)).collect());
        let askers = (0..NODES).map(|node| (node, node));
        let links = (NODES..HOSTS).flat_map(|host| (0..NODES).map(move |node| (host, node)));
        let askers = askers.chain(links);
        let mut site = Self {
            paths: paths.collect(),
            nodes: nodes.map(|(machine, id)| Node::new(id, machine.clone())).collect(),
            listeners: machines[NODES..].iter().cloned().map(Listener::new).collect(),
            askers: askers.map(|(host, target)| Asker::new(host, target)).collect(),
            now_ns: 0,
            now,
            draws,
            file_draws: Draws::new(seed, 1000 + network as u64),
            queue: BinaryHeap::new(),
            order: 0,
            hosts: [Host::default(); HOSTS],
            machines,
            group: Group::default(),
            judge: Judge::default(),
        };
        site.begins();
        site
    }

    fn begins(&mut self) {
        for node in 0..NODES {
            let first_ns = self.draws.millis(0, 1000);
            self.after(first_ns, Event::Saves { node, life: 0 });
        }
        for host in NODES..HOSTS {
            let joins_ns = self.draws.millis(0, 8000);
            self.joins_in(host, joins_ns);
        }
        self.elects_in(100 * MILLI, None);
        self.after(200 * MILLI, Event::Stamps);
        self.after(300 * MILLI, Event::Looks);
        let calm_ns = self.draws.millis(2000, 30_000);
        self.after(calm_ns, Event::Breaks);
    }

    /// A listener begins to listen, as if it never had.
    pub fn joins_in(&mut self, host: usize, after_ns: i64) {
        self.hosts[host].life += 1;
        self.listeners[host - NODES] = Listener::new(self.machines[host].clone());
        let life = self.hosts[host].life;
        self.after(after_ns, Event::Publishes { host, life });
        let links = self.links_of(host);
        links.for_each(|asker| self.turns_in(asker, after_ns));
    }

    /// A listener's askers.
    pub fn links_of(&self, host: usize) -> Range<usize> {
        let first = NODES + (host - NODES) * NODES;
        first..first + NODES
    }

    /// Something will happen.
    pub fn at(&mut self, true_ns: i64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((true_ns.max(self.now_ns), self.order, event)));
    }

    pub fn after(&mut self, span_ns: i64, event: Event) {
        self.at(self.now_ns.saturating_add(span_ns), event);
    }

    pub fn set_now(&mut self, true_ns: i64) {
        self.now_ns = true_ns;
        self.now.store(true_ns, Relaxed);
    }

    /// Lets it all happen, until so late.
    pub fn runs_until(&mut self, until_ns: i64) {
        while let Some(Reverse((at_ns, _, event))) = self.queue.pop() {
            if at_ns > until_ns {
                break;
            }
            self.set_now(at_ns);
            if self.is_void(&event) {
                continue;
            }
            let paused_until_ns =
                self.host_of(&event).map_or(0, |host| self.hosts[host].paused_until_ns);
            if paused_until_ns > at_ns {
                // In the order in which they came.
                self.at(paused_until_ns, event);
            } else {
                self.happens(event);
            }
        }
        self.judge.figures.simulated_ns = until_ns;
    }

    fn is_void(&self, event: &Event) -> bool {
        match *event {
            Event::Turn { asker, turn }
            | Event::Arrives { asker, turn }
            | Event::Back { asker, turn }
            | Event::Fails { asker, turn } => self.askers[asker].turn != turn,
            Event::Saves { node: host, life }
            | Event::Publishes { host, life }
            | Event::Hears { node: host, life, .. }
            | Event::Stands { node: host, life, .. } => {
                self.hosts[host].life != life || self.hosts[host].down
            }
            _ => false,
        }
    }

    /// Whose process has to run for it. A probe arrives anyhow, and waits.
    fn host_of(&self, event: &Event) -> Option<usize> {
        match *event {
            Event::Turn { asker, .. } | Event::Back { asker, .. } | Event::Fails { asker, .. } => {
                Some(self.askers[asker].host)
            }
            Event::Saves { node: host, .. }
            | Event::Publishes { host, .. }
            | Event::Hears { node: host, .. }
            | Event::Stands { node: host, .. }
            | Event::Opens { node: host, .. }
            | Event::Answered { node: host, .. }
            | Event::Commits { node: host, .. } => Some(host),
            _ => None,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Turn { asker, .. } => self.turn(asker),
            Event::Arrives { asker, .. } => self.arrives(asker),
            Event::Back { asker, .. } => self.back(asker),
            Event::Fails { asker, .. } => self.fails(asker),
            Event::Saves { node, .. } => {
                self.nodes[node].clock.notices_sleep();
                self.nodes[node].saves();
                self.after(SECOND, event);
            }
            Event::Publishes { host, .. } => {
                self.publishes(host);
                self.after(200 * MILLI, event);
            }
            Event::Hears { node, leaders, .. } => self.hears(node, leaders),
            Event::Stands { node, term, leader, .. } => self.stands(node, term, leader),
            Event::Starts { node } => self.starts(node),
            Event::Elects { election, preferred } => self.elects(election, preferred),
            Event::Opens { node, term } => self.opens(node, term),
            Event::Answered { node, term } => self.answered(node, term),
            Event::Commits { node, term } => self.commits(node, term),
            Event::Stamps => self.stamps(),
            Event::Looks => self.looks(),
            Event::Breaks => self.breaks(),
            Event::Returns { node } => self.returns(node),
        }
    }

    /// A listener moves on what it plays by.
    pub fn publishes(&mut self, host: usize) {
        let listener = &mut self.listeners[host - NODES];
        let old = listener.view;
        listener.publishes();
        let Some(new) = listener.view else { return };
        if let Some(old) = old {
            self.judge.republished(&old, &new, self.now_ns);
        }
        self.judge.view(&new, listener.machine.raw_at(self.now_ns), self.now_ns);
    }

    fn looks(&mut self) {
        for host in 0..HOSTS {
            if self.hosts[host].down {
                continue;
            }
            match host {
                ..NODES => self.looks_at_node(host),
                _ => self.looks_at_listener(host),
            }
        }
        let next_ns = self.draws.millis(100, 600);
        self.after(next_ns, Event::Looks);
    }

    /// Judges what a node knows now.
    pub fn looks_at_node(&mut self, host: usize) {
        let (node, judge, now_ns) = (&mut self.nodes[host], &mut self.judge, self.now_ns);
        let (before, now) = node.reads();
        if let Some(before) = before {
            judge.runs_on("a node's clock", before, now, now_ns);
        }
        let reign = (node.clock.epoch(), node.clock.bound_term());
        if node.stood_still {
            return;
        }
        judge.node(reign, now, node.clock.error_bound_ns(), now_ns);
        if let Some(estimate) = node.known.filter.estimate(node.clock.raw_ns()) {
            let unseen_ns = self.paths[host][node.known.leader as usize].unseen_ns();
            judge.filter(true, node.known.reign, &estimate, unseen_ns, now_ns);
        }
    }

    /// Judges what a listener knows now.
    pub fn looks_at_listener(&mut self, host: usize) {
        let listener = &self.listeners[host - NODES];
        if let Some((reference, estimate)) = listener.estimate() {
            let unseen_ns = self.paths[host][reference.node as usize].unseen_ns();
            self.judge.filter(false, reference.reign, &estimate, unseen_ns, self.now_ns);
        }
        // One that stands still plays nothing.
        if let Some(view) =
            listener.view.filter(|_| self.hosts[host].paused_until_ns <= self.now_ns)
        {
            self.judge.view(&view, listener.machine.raw_at(self.now_ns), self.now_ns);
        }
    }
}
