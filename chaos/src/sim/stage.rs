//! A run: nodes, clients and watchers in one process, and a director who breaks them as planned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jam_proto::ids::RoomCode;

use super::Pace;
use super::book::Book;
use super::crowd::{Client, Scene, Song};
use super::links::Links;
use super::machine::Machine;
use super::node::Seat;
use super::operator::{self, Orders};
use super::plan::{Fault, Kind, NODES, Plan, node_name};
use super::seed::Stream;
use super::time::{STEP, Time};
use super::watcher::Watcher;
use crate::history::{History, Phase, Stop, What};
use crate::testsong::position_coded;

const CLIENTS: u64 = 4;
const WATCHERS: u64 = 3;
const ROOMS: usize = 2;
/// Clients rest for so long at the end: what they asked for last is answered.
const REST_NS: i64 = 5_000_000_000;
/// Segments that wait at a socket.
const TCP_SEGMENTS: usize = 4096;
const SONG_RATE: u32 = 8000;
/// A disk that is slow: an operation takes some milliseconds, and now and then a third of a second.
const SLOW: Pace = Pace { mean_us: 6_000, stall_one_in: 25, stall_ms_max: 350 };

/// Runs a plan in this process, which must be fresh and whose entropy is that of the seed.
///
/// # Errors
/// If the simulation itself failed.
pub fn run(plan: &Plan) -> anyhow::Result<History> {
    let time = Time::new();
    let mut sim = turmoil::Builder::new()
        .rng_seed(plan.seed)
        .enable_random_order()
        .tick_duration(STEP)
        .tcp_capacity(TCP_SEGMENTS)
        .min_message_latency(Duration::from_millis(plan.latency_ms_min))
        .max_message_latency(Duration::from_millis(plan.latency_ms_max))
        .simulation_duration(Duration::from_millis(plan.for_ms + 1000))
        .build();
    let book = Book::new(time.clone());
    let mut stage = Stage::new(plan, &time, &book);
    stage.populate(&mut sim, plan, &time);
    stage.direct(&mut sim, plan, &time)?;
    Ok(book.take())
}

struct Stage {
    book: Book,
    seats: BTreeMap<u64, Seat>,
    links: Links,
    orders: Orders,
    /// By node: the faults that keep it down.
    down: BTreeMap<u64, BTreeSet<u64>>,
    /// Nodes whose fuse is lit, with the fault.
    fuses: BTreeMap<u64, u64>,
    /// Faults in effect.
    begun: BTreeSet<u64>,
}

impl Stage {
    fn new(plan: &Plan, time: &Arc<Time>, book: &Book) -> Self {
        let seat = |place| {
            let machine = Machine::new(plan.seed, &node_name(place), time);
            (place, Seat::new(place, machine, book.clone(), plan))
        };
        Self {
            book: book.clone(),
            seats: (1..=NODES).map(seat).collect(),
            links: Links::new(hosts()),
            orders: Orders::default(),
            down: BTreeMap::new(),
            fuses: BTreeMap::new(),
            begun: BTreeSet::new(),
        }
    }

    fn populate(&self, sim: &mut turmoil::Sim<'_>, plan: &Plan, time: &Arc<Time>) {
        for (place, seat) in &self.seats {
            let seat = seat.clone();
            sim.host(node_name(*place), move || {
                let seat = seat.clone();
                async move {
                    seat.run().await;
                    Ok(())
                }
            });
        }
        let scene = scene(plan, &self.book);
        let machine = |name: &str| Machine::new(plan.seed, name, time);
        for number in 1..=CLIENTS {
            let name = format!("c{number}");
            let (machine, scene) = (machine(&name), scene.clone());
            sim.host(name.clone(), move || {
                let (machine, scene, name) = (machine.clone(), scene.clone(), name.clone());
                async move {
                    Client::new(&name, &machine, scene).run().await;
                    Ok(())
                }
            });
        }
        for number in 1..=WATCHERS {
            let name = format!("w{number}");
            let (machine, scene) = (machine(&name), scene.clone());
            sim.host(name, move || {
                let (machine, scene) = (machine.clone(), scene.clone());
                async move {
                    Watcher::new(number, &machine, scene).run().await;
                    Ok(())
                }
            });
        }
        let (operator, orders) = (machine("op"), self.orders.clone());
        sim.host("op", move || {
            let (operator, orders) = (operator.clone(), orders.clone());
            async move {
                operator::run(operator, orders).await;
                Ok(())
            }
        });
    }

    fn direct(
        &mut self,
        sim: &mut turmoil::Sim<'_>,
        plan: &Plan,
        time: &Arc<Time>,
    ) -> anyhow::Result<()> {
        let faults: Vec<(u64, &Fault)> = (1..).zip(&plan.faults).collect();
        let ms = |ns: i64| (ns / 1_000_000) as u64;
        self.book.note(What::Phase(Phase::Safety));
        loop {
            let at_ms = ms(sim.elapsed().as_nanos() as i64);
            time.set(sim.elapsed());
            if at_ms >= plan.for_ms {
                self.seats.values().for_each(Seat::tell_state);
                return Ok(());
            }
            // First what ends, so that a fault that begins now finds a healed world.
            for (number, fault) in faults.iter().filter(|(_, fault)| fault.until_ms == at_ms) {
                self.heal(sim, *number, &fault.kind);
            }
            for (number, fault) in faults.iter().filter(|(_, fault)| fault.at_ms == at_ms) {
                self.break_it(sim, *number, &fault.kind);
            }
            if at_ms == plan.liveness_ms {
                self.book.note(What::Phase(Phase::Liveness));
            }
            if at_ms == plan.healed_ms {
                self.book.note(What::Phase(Phase::Healed));
            }
            time.step(sim).map_err(|error| anyhow::anyhow!("at {at_ms} ms: {error}"))?;
            self.burn(sim);
        }
    }

    fn break_it(&mut self, sim: &mut turmoil::Sim<'_>, fault: u64, kind: &Kind) {
        // A majority that lost its disks is beyond help: no disk is lost while somebody is away.
        let all_there = self.down.values().all(BTreeSet::is_empty) && self.fuses.is_empty();
        if matches!(kind, Kind::Wipe { .. }) && !all_there {
            return;
        }
        self.begun.insert(fault);
        let (text, affects) = (kind.to_string(), kind.affects());
        tracing::info!(fault, text, "breaks");
        self.book.note(What::FaultBegun { fault, text, affects });
        match kind {
            Kind::Kill { nodes } => nodes.iter().for_each(|node| self.kill(sim, fault, *node)),
            Kind::Power { nodes } => {
                nodes.iter().for_each(|node| self.cut_power(sim, fault, *node, Stop::Power));
            }
            Kind::Fuse { node, writes } => {
                self.seats[node].machine().disk().light_fuse(*writes);
                self.fuses.insert(*node, fault);
            }
            Kind::Wipe { node } => {
                self.cut_power(sim, fault, *node, Stop::Wiped);
                self.seats[node].wipe();
                self.orders.replace(*node);
            }
            Kind::Cut { from, to, both } => {
                self.links.cut(sim, fault, from, to);
                if *both {
                    self.links.cut(sim, fault, to, from);
                }
            }
            Kind::Hold { one, other } => self.links.hold(sim, fault, one, other),
            Kind::Wall { node, by_secs } => {
                self.seats[node].machine().jump_wall(by_secs * 1_000_000_000);
            }
            Kind::Slow { node } => self.seats[node].machine().disk().set_pace(SLOW),
            Kind::DiskError { node, writes } => {
                self.seats[node].machine().disk().fail_at(*writes);
            }
        }
    }

    fn heal(&mut self, sim: &mut turmoil::Sim<'_>, fault: u64, kind: &Kind) {
        if !self.begun.remove(&fault) {
            return;
        }
        tracing::info!(fault, "heals");
        match kind {
            Kind::Slow { node } => self.seats[node].machine().disk().set_pace(super::node::PACE),
            Kind::Fuse { node, .. } => {
                self.fuses.remove(node);
                self.seats[node].machine().disk().heal();
            }
            Kind::DiskError { node, .. } => {
                // A disk that failed is believed again by a new process only.
                self.seats[node].machine().disk().heal();
                self.kill(sim, fault, *node);
            }
            _ => {}
        }
        self.links.heal(sim, fault);
        let places: Vec<u64> = self.down.keys().copied().collect();
        for place in places {
            let reasons = self.down.entry(place).or_default();
            if reasons.remove(&fault) && reasons.is_empty() {
                let seat = &self.seats[&place];
                if seat.machine().disk().is_dark() {
                    seat.machine().power_up();
                }
                sim.bounce(node_name(place));
            }
        }
        self.book.note(What::FaultHealed { fault });
    }

    fn kill(&mut self, sim: &mut turmoil::Sim<'_>, fault: u64, place: u64) {
        let reasons = self.down.entry(place).or_default();
        if reasons.is_empty() {
            self.seats[&place].machine().kill();
            sim.crash(node_name(place));
            self.seats[&place].stopped(Stop::Crash);
        }
        reasons.insert(fault);
    }

    fn cut_power(&mut self, sim: &mut turmoil::Sim<'_>, fault: u64, place: u64, how: Stop) {
        // A dead machine tells nobody that its connections are gone.
        self.links.isolate(sim, fault, &node_name(place));
        let seat = &self.seats[&place];
        let reasons = self.down.entry(place).or_default();
        if reasons.is_empty() {
            seat.machine().cut_power();
            sim.crash(node_name(place));
            seat.stopped(how);
        } else if !seat.machine().disk().is_dark() {
            seat.machine().cut_power();
        }
        reasons.insert(fault);
    }

    /// A fuse that has burnt down takes its machine with it. That of a machine without power waits.
    fn burn(&mut self, sim: &mut turmoil::Sim<'_>) {
        let is_down = |place: &u64| self.down.get(place).is_some_and(|reasons| !reasons.is_empty());
        let burnt = |place: &u64| self.seats[place].machine().disk().is_dark() && !is_down(place);
        let burnt: Vec<u64> = self.fuses.keys().copied().filter(burnt).collect();
        for place in burnt {
            if let Some(fault) = self.fuses.remove(&place) {
                self.cut_power(sim, fault, place, Stop::Power);
            }
        }
    }
}

fn hosts() -> Vec<String> {
    let nodes = (1..=NODES).map(node_name);
    let clients = (1..=CLIENTS).map(|number| format!("c{number}"));
    let watchers = (1..=WATCHERS).map(|number| format!("w{number}"));
    nodes.chain(clients).chain(watchers).chain(["op".to_owned()]).collect()
}

fn scene(plan: &Plan, book: &Book) -> Scene {
    let mut draws = Stream::new(plan.seed, "scene");
    let rooms = (0..ROOMS).map(|_| RoomCode::from_random(draws.draw())).collect();
    let songs = [2.0, 3.5].map(|secs| {
        let bytes = wav(&position_coded(draws.draw(), SONG_RATE, secs));
        Song { track: *blake3::hash(&bytes).as_bytes(), bytes }
    });
    let healed_ns = plan.healed_ms as i64 * 1_000_000;
    let until_ns = plan.for_ms as i64 * 1_000_000 - REST_NS;
    let (book, seed) = (book.clone(), plan.seed);
    Scene { rooms, songs: songs.into(), book, seed, healed_ns, until_ns }
}

/// A mono WAV file of 16 bits.
fn wav(samples: &[f32]) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SONG_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let written = hound::WavWriter::new(&mut bytes, spec).and_then(|mut writer| {
        for sample in samples {
            writer.write_sample((sample * f32::from(i16::MAX)) as i16)?;
        }
        writer.finalize()
    });
    written.expect("memory takes everything");
    bytes.into_inner()
}
