//! Breaks what the plan says, and heals it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Pace;
use super::node::{PACE, Seat};
use super::plan::{Fault, Kind, NODES, node_name};
use super::site::Site;
use crate::book::Book;
use crate::clock_file::{Harm, is_clock_file};
use crate::crowd::Orders;
use crate::history::{Stop, What};

/// A disk that is slow: an operation takes some milliseconds, and now and then a third of a second.
const SLOW: Pace = Pace { mean_us: 6_000, stall_one_in: 25, stall_ms_max: 350 };

/// Starts the processes of a machine of clients.
type Start = Box<dyn Fn(&mut Site) -> anyhow::Result<()>>;

/// What the director has in hand.
pub(super) struct Director {
    book: Book,
    seats: BTreeMap<u64, Seat>,
    /// How each client is started.
    clients: BTreeMap<String, Start>,
    orders: Orders,
    /// By node: the faults that keep it down.
    down: BTreeMap<u64, BTreeSet<u64>>,
    /// Nodes whose fuse is lit, with the fault.
    fuses: BTreeMap<u64, u64>,
    /// By node: the faults that keep its disk full.
    full: BTreeMap<u64, BTreeSet<u64>>,
    /// By fault: the clock files as they were when it began.
    clock_files: BTreeMap<u64, Vec<(PathBuf, Vec<u8>)>>,
    /// Faults in effect.
    begun: BTreeSet<u64>,
}

impl Director {
    pub(super) fn new(book: &Book, seats: BTreeMap<u64, Seat>, orders: Orders) -> Self {
        Self {
            book: book.clone(),
            seats,
            clients: BTreeMap::new(),
            orders,
            down: BTreeMap::new(),
            fuses: BTreeMap::new(),
            full: BTreeMap::new(),
            clock_files: BTreeMap::new(),
            begun: BTreeSet::new(),
        }
    }

    /// Starts all nodes.
    pub(super) fn start_nodes(&self, site: &mut Site) -> anyhow::Result<()> {
        self.seats.keys().try_for_each(|place| self.start(site, *place))
    }

    /// Starts a client, and remembers how.
    pub(super) fn start_client(
        &mut self,
        site: &mut Site,
        name: &str,
        start: impl Fn(&mut Site) -> anyhow::Result<()> + 'static,
    ) -> anyhow::Result<()> {
        start(site)?;
        self.clients.insert(name.to_owned(), Box::new(start));
        Ok(())
    }

    /// Notes the state of all nodes.
    pub(super) fn tell_states(&self) {
        self.seats.values().for_each(Seat::tell_state);
    }

    pub(super) fn break_it(
        &mut self,
        site: &mut Site,
        number: u64,
        fault: &Fault,
    ) -> anyhow::Result<()> {
        let kind = &fault.kind;
        // A majority that lost its disks is beyond help: no disk is lost while somebody is away.
        let all_there = self.down.values().all(BTreeSet::is_empty) && self.fuses.is_empty();
        if matches!(kind, Kind::Wipe { .. }) && !all_there {
            return Ok(());
        }
        self.begun.insert(number);
        let (text, affects) = (kind.to_string(), kind.affects());
        tracing::info!(fault = number, text, "breaks");
        self.book.note(What::FaultBegun { fault: number, text, affects });
        match kind {
            Kind::Kill { nodes } => nodes.iter().for_each(|node| self.kill(site, number, *node)),
            Kind::Power { nodes } => {
                nodes.iter().for_each(|node| self.cut_power(site, number, *node, Stop::Power));
            }
            Kind::Fuse { node, writes } => {
                self.seats[node].machine().disk().light_fuse(*writes);
                self.fuses.insert(*node, number);
            }
            Kind::Wipe { node } => {
                self.cut_power(site, number, *node, Stop::Wiped);
                self.seats[node].wipe();
                self.orders.replace(*node);
            }
            Kind::Stop { hosts } => hosts.iter().for_each(|host| site.stop(number, host)),
            Kind::Sleep { host } => site.suspend(number, host),
            Kind::Cut { from, to, both } => {
                site.cut(number, from, to);
                if *both {
                    site.cut(number, to, from);
                }
            }
            Kind::CutFromPeers { node } => {
                let own = node_name(*node);
                for peer in (1..=NODES).filter(|peer| peer != node).map(node_name) {
                    site.cut(number, &own, &peer);
                    site.cut(number, &peer, &own);
                }
            }
            Kind::Hold { one, other } => site.hold(number, one, other),
            Kind::Wall { host, by_secs } => site.machine(host).jump_wall(by_secs * 1_000_000_000),
            Kind::Slow { node } => self.seats[node].machine().disk().set_pace(SLOW),
            Kind::DiskError { node, writes } => {
                self.seats[node].machine().disk().fail_at(*writes);
            }
            Kind::Full { node, bytes } => {
                let disk = self.seats[node].machine().disk();
                disk.set_capacity(Some(disk.used_bytes() + bytes));
                self.full.entry(*node).or_default().insert(number);
            }
            Kind::Rot { node, pick } => {
                let disk = self.seats[node].machine().disk();
                let mut songs = disk.files(Path::new("/"));
                songs.retain(|file| file.iter().any(|part| part == "songs" || part == "packs"));
                if let Some(file) = songs.get(*pick as usize % songs.len().max(1)) {
                    disk.flip_byte(file);
                }
            }
            Kind::ClockFile { node, .. } => {
                let disk = self.seats[node].machine().disk();
                let clocks =
                    disk.files(Path::new("/")).into_iter().filter(|file| is_clock_file(file));
                let read = |file: PathBuf| disk.contents(&file).map(|bytes| (file, bytes));
                self.clock_files.insert(number, clocks.filter_map(read).collect());
            }
            Kind::Churn { client } => site.kill(client),
        }
        Ok(())
    }

    pub(super) fn heal(
        &mut self,
        site: &mut Site,
        number: u64,
        fault: &Fault,
    ) -> anyhow::Result<()> {
        if !self.begun.remove(&number) {
            return Ok(());
        }
        tracing::info!(fault = number, "heals");
        match &fault.kind {
            Kind::Slow { node } => self.seats[node].machine().disk().set_pace(PACE),
            Kind::Fuse { node, .. } => {
                self.fuses.remove(node);
                self.seats[node].machine().disk().heal();
            }
            Kind::DiskError { node, .. } => {
                // A disk that failed is believed again by a new process only.
                self.seats[node].machine().disk().heal();
                self.kill(site, number, *node);
            }
            Kind::Full { node, .. } => {
                let reasons = self.full.entry(*node).or_default();
                if reasons.remove(&number) && reasons.is_empty() {
                    self.seats[node].machine().disk().set_capacity(None);
                }
            }
            Kind::ClockFile { node, harm, all } => {
                let nodes = if *all { self.seats.keys().copied().collect() } else { vec![*node] };
                nodes.into_iter().for_each(|node| self.kill(site, number, node));
                self.harm_clock(number, *node, *harm);
            }
            Kind::Churn { client } => self.clients[client](site)?,
            _ => {}
        }
        site.heal(number);
        let places: Vec<u64> = self.down.keys().copied().collect();
        for place in places {
            let reasons = self.down.entry(place).or_default();
            if reasons.remove(&number) && reasons.is_empty() {
                let machine = self.seats[&place].machine();
                if machine.disk().is_dark() {
                    machine.power_up();
                }
                self.start(site, place)?;
            }
        }
        self.book.note(What::FaultHealed { fault: number });
        Ok(())
    }

    /// Harms the saved clock of a node that is down, or puts back what it was when the fault began.
    fn harm_clock(&mut self, fault: u64, node: u64, harm: Option<Harm>) {
        let disk = self.seats[&node].machine().disk();
        let mut draws = self.seats[&node].draws(&format!("clock file {fault}"));
        for (file, before) in self.clock_files.remove(&fault).unwrap_or_default() {
            let now = disk.contents(&file).unwrap_or_default();
            disk.replace(&file, &harm.map_or(before, |harm| harm.done_to(&now, &mut draws)));
        }
    }

    /// A fuse that has burnt down takes its machine with it. That of a machine without power waits.
    pub(super) fn burn(&mut self, site: &mut Site) {
        let is_down = |place: &u64| self.down.get(place).is_some_and(|reasons| !reasons.is_empty());
        let burnt = |place: &u64| self.seats[place].machine().disk().is_dark() && !is_down(place);
        let burnt: Vec<u64> = self.fuses.keys().copied().filter(burnt).collect();
        for place in burnt {
            if let Some(fault) = self.fuses.remove(&place) {
                self.cut_power(site, fault, place, Stop::Power);
            }
        }
    }

    fn start(&self, site: &mut Site, place: u64) -> anyhow::Result<()> {
        site.start(&node_name(place), self.seats[&place].clone().run())
    }

    fn kill(&mut self, site: &mut Site, fault: u64, place: u64) {
        let reasons = self.down.entry(place).or_default();
        if reasons.is_empty() {
            site.kill(&node_name(place));
            self.seats[&place].stopped(Stop::Crash);
        }
        reasons.insert(fault);
    }

    fn cut_power(&mut self, site: &mut Site, fault: u64, place: u64, how: Stop) {
        let seat = &self.seats[&place];
        let reasons = self.down.entry(place).or_default();
        if reasons.is_empty() {
            site.cut_power(fault, &node_name(place));
            seat.stopped(how);
        } else if seat.machine().disk().is_dark() {
            site.isolate(fault, &node_name(place));
        } else {
            site.cut_power(fault, &node_name(place));
        }
        reasons.insert(fault);
    }
}
