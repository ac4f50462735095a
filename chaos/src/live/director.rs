//! Breaks what the schedule says, waits until it is broken, and heals it.

mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::attackers::{Aim, Attackers};
use super::fault::{Direction, Kind};
use super::impostor::Impostors;
use super::joiner::Joiner;
use super::links::Gate;
use super::lookout::Standing;
use super::machine::clock_file::harm_clock;
use super::machine::journal::Journal;
use super::machine::rot::{Damage, rot};
use super::machine::tracer::{Injection, SYNCS, Tampering, Tracer};
use super::ring::across;
use super::schedule::Fault;
use super::seat::Seat;
use super::stuck;
use super::wiring::Wiring;
use crate::book::Book;
use crate::crowd::Orders;
use crate::history::{Stop, What};
use crate::seed::Stream;

/// A node that ended is started again after so long, as a supervisor does.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// For a fault to have an effect that can be seen.
const EFFECT_PATIENCE: Duration = Duration::from_secs(1);
/// For a node to be back.
const BACK_PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between two jumps of a wall clock that strobes.
const STROBE_EVERY: Duration = Duration::from_millis(40);
/// What a node says that will not use its disk again.
const GIVEN_UP: &str = "Move the data folder away";

/// What the director has in hand.
pub struct Director {
    /// Where all is written down.
    pub book: Book,
    /// Of all draws.
    pub seed: u64,
    /// The run's folder.
    pub dir: PathBuf,
    /// The nodes, by place.
    pub seats: BTreeMap<u64, Seat>,
    /// Those who listen.
    pub joiners: Vec<Joiner>,
    /// The links.
    pub wiring: Wiring,
    /// How the cluster is.
    pub standing: watch::Receiver<Standing>,
    /// Whoever replaces nodes.
    pub orders: Orders,
    /// What must be undone.
    pub journal: Arc<Journal>,
    /// The place whose disk was damaged or lost: there is one at most, or what a majority has could be gone.
    pub spoilt: Option<u64>,
    /// Faults in effect, with the places that they are about.
    pub begun: BTreeMap<usize, Vec<u64>>,
    /// Watchers that take nothing.
    pub stuck: BTreeMap<usize, JoinHandle<()>>,
    /// Processes on copied and old folders.
    pub impostors: Impostors,
    /// Processes that attack.
    pub attackers: Attackers,
    /// Whom these attack.
    pub aim: Aim,
    /// Listeners that ended by themselves, and when they join again.
    pub rejoins: BTreeMap<String, Instant>,
    /// Nodes that ended by themselves, and when they are started again.
    pub restarts: BTreeMap<u64, Instant>,
}

impl Director {
    /// Breaks something.
    pub async fn begin(&mut self, number: usize, fault: &Fault) -> anyhow::Result<()> {
        let kind = &fault.what;
        let mut places = self.places(kind, fault.pick);
        if matches!(kind, Kind::Rot { .. } | Kind::Wipe { .. } | Kind::Zombie { .. }) {
            let place = self.spoilt.unwrap_or(places[0]);
            if !self.all_there(kind, place) {
                return Ok(());
            }
            self.spoilt = Some(place);
            places = vec![place];
        }
        let affects = self.affected(kind, &places);
        let text = format!("{kind}{}", named(&places));
        self.book.note(What::FaultBegun { fault: number as u64, text, affects });
        let kept = self.wiring.kept_bytes();
        self.begun.insert(number, places.clone());
        for &place in &places {
            self.break_node(number, kind, place, fault.pick)
                .with_context(|| format!("can't begin: {kind}{}", named(&[place])))?;
        }
        match kind {
            Kind::Bridge => {
                let other = self.others(places[0])[0];
                self.wiring.part(number, places[0], other);
            }
            Kind::Ring => {
                let places: Vec<u64> = self.seats.keys().copied().collect();
                for (one, other) in across(&places) {
                    self.wiring.part(number, one, other);
                }
            }
            Kind::RollingRestart => self.rolling_restart().await?,
            Kind::ListenerCrash if !self.joiners.is_empty() => {
                let which = fault.pick as usize % self.joiners.len();
                self.joiners[which].kill()?;
            }
            Kind::CacheRot { how } if !self.joiners.is_empty() => {
                let which = fault.pick as usize % self.joiners.len();
                let mut draws = Stream::new(self.seed, &format!("cache rot {}", fault.pick));
                self.joiners[which].spoil_cache(*how, &mut draws)?;
            }
            Kind::StuckWatcher => {
                let world = self.wiring.connect_here(&format!("stuck{number}")).await?;
                let watcher = stuck::watch(world, self.wiring.addresses(), fault.pick);
                self.stuck.insert(number, tokio::spawn(watcher));
            }
            Kind::Attack { attack } => {
                let secs = fault.until_ms.saturating_sub(fault.at_ms).div_ceil(1000);
                let here = (self.dir.as_path(), self.book.now_ns());
                self.attackers.begin(number, *attack, &self.aim, secs, here)?;
            }
            _ => {}
        }
        let stems_bytes = match kind {
            Kind::Cut { .. } | Kind::Bridge | Kind::Ring => true,
            Kind::Links { way, .. } => way.gate != Gate::Open,
            _ => false,
        };
        if stems_bytes {
            let effective = async {
                while self.wiring.kept_bytes() == kept {
                    sleep(LOOK_EVERY).await;
                }
            };
            // Where nobody has anything to say, nothing is lost.
            let _ = timeout(EFFECT_PATIENCE, effective).await;
        }
        Ok(())
    }

    fn break_node(
        &mut self,
        number: usize,
        kind: &Kind,
        place: u64,
        pick: u64,
    ) -> anyhow::Result<()> {
        let seat = self.seats.get_mut(&place).context("there is no such node")?;
        match kind {
            Kind::Kill { .. } => {
                seat.down.insert(number);
                seat.kill(Stop::Crash)?;
            }
            Kind::Power { .. } => {
                seat.down.insert(number);
                // Nobody hears that it is gone.
                self.wiring.cut(number, place, Direction::Both, super::fault::Others::All);
                seat.cut_power()?;
            }
            Kind::Stop { .. } => seat.freeze(number)?,
            Kind::Cut { direction, from, .. } => {
                self.wiring.cut(number, place, *direction, *from);
            }
            Kind::Links { way, .. } => self.wiring.worsen(number, place, way),
            Kind::Reset { .. } => self.wiring.reset(place),
            Kind::HalfOpen { .. } => self.wiring.half_open(number, place),
            Kind::DiskFull { .. } => {
                if let Some(volume) = seat.volume.as_ref().filter(|_| !seat.is_dark) {
                    volume.fill()?;
                }
            }
            Kind::DiskError { .. } => match &seat.volume {
                Some(volume) if !seat.is_dark => {
                    volume.fail()?;
                    seat.is_dark = true;
                }
                Some(_) => {}
                None => trace(seat, number, Tampering::Error("EIO"), &self.journal)?,
            },
            Kind::SlowDisk { by_ms, .. } => {
                let by = Duration::from_millis(*by_ms);
                trace(seat, number, Tampering::Delay(by), &self.journal)?;
            }
            Kind::Rot { what, how, .. } => {
                seat.down.insert(number);
                seat.kill(Stop::Crash)?;
                let mut draws = Stream::new(self.seed, &format!("rot {pick}"));
                let damage: Option<Damage> = rot(&seat.data(), *what, *how, &mut draws)?;
                if let Some(damage) = damage {
                    self.book.note(What::Damaged { place, what: damage.to_string() });
                }
            }
            Kind::ClockFile { harm, .. } => {
                seat.down.insert(number);
                seat.kill(Stop::Crash)?;
                let mut draws = Stream::new(self.seed, &format!("clock file {place} {pick}"));
                harm_clock(&seat.data(), *harm, &mut draws)?;
            }
            Kind::WallClock { by_s, strobes, .. } => {
                let clock = seat.clock.as_mut().context("it has no clock of its own")?;
                tokio::task::block_in_place(|| clock.strobe(*by_s, *strobes, STROBE_EVERY))?;
                clock.jump(*by_s)?;
            }
            Kind::Wipe { .. } => {
                seat.down.insert(number);
                seat.wipe()?;
                self.orders.replace(place);
            }
            Kind::CopiedFolder { hidden, .. } => {
                tokio::task::block_in_place(|| self.impostors.copy(seat, *hidden))?;
            }
            Kind::Zombie { .. } => {
                seat.down.insert(number);
                seat.kill(Stop::Crash)?;
                tokio::task::block_in_place(|| self.impostors.bury(seat))?;
                seat.wipe()?;
                self.orders.replace(place);
            }
            Kind::Bridge
            | Kind::Ring
            | Kind::RollingRestart
            | Kind::ListenerCrash
            | Kind::CacheRot { .. }
            | Kind::StuckWatcher
            | Kind::Attack { .. } => {}
        }
        Ok(())
    }

    /// Heals something, and waits until it is.
    pub async fn heal(&mut self, number: usize, fault: &Fault) -> anyhow::Result<()> {
        let Some(places) = self.begun.remove(&number) else { return Ok(()) };
        self.wiring.heal(number);
        if let Some(stuck) = self.stuck.remove(&number) {
            stuck.abort();
        }
        self.attackers.end(number, self.book.now_ns())?;
        for place in places {
            let seat = self.seats.get_mut(&place).context("there is no such node")?;
            match &fault.what {
                Kind::Stop { .. } => seat.thaw(number)?,
                Kind::DiskFull { .. } => {
                    if let Some(volume) = seat.volume.as_ref().filter(|_| !seat.is_dark) {
                        volume.drain()?;
                    }
                }
                Kind::DiskError { .. } | Kind::SlowDisk { .. } => {
                    let is_ours = seat.tracer.as_ref().is_some_and(|(_, fault)| *fault == number);
                    if is_ours && let Some((tracer, _)) = seat.tracer.take() {
                        tracer.detach()?;
                    }
                    // A disk that failed is believed again by a new process only.
                    if matches!(fault.what, Kind::DiskError { .. }) {
                        seat.kill(Stop::Crash)?;
                    }
                }
                Kind::WallClock { by_s, .. } => {
                    seat.clock.as_mut().context("it has no clock of its own")?.jump(-by_s)?;
                }
                _ => {}
            }
            seat.down.remove(&number);
            if seat.down.is_empty() {
                tokio::task::block_in_place(|| seat.start())?;
            }
            if matches!(fault.what, Kind::Zombie { .. }) {
                self.impostors.start(seat)?;
            }
        }
        if matches!(fault.what, Kind::ListenerCrash) {
            self.joiners.iter_mut().try_for_each(Joiner::join)?;
        }
        self.book.note(What::FaultHealed { fault: number as u64 });
        Ok(())
    }

    /// Looks after processes that ended by themselves, as a supervisor and an operator do; says what happened.
    pub fn look(&mut self) -> anyhow::Result<Vec<String>> {
        let mut said = Vec::new();
        self.attackers.look(self.seats.values());
        for (&place, seat) in &mut self.seats {
            if let Some(why) = seat.look()? {
                if why.contains(GIVEN_UP) && self.spoilt == Some(place) {
                    seat.wipe()?;
                    self.orders.replace(place);
                }
                if self.orders.read(place, &why) {
                    seat.wipe()?;
                }
                said.push(format!("node {place} ended by itself: {why}"));
                self.restarts.insert(place, Instant::now() + RESTART_AFTER);
            }
            let is_due = self.restarts.get(&place).is_some_and(|at| *at <= Instant::now());
            if is_due && seat.down.is_empty() {
                self.restarts.remove(&place);
                seat.start()?;
            }
        }
        said.extend(self.impostors.look(&self.book, |place| self.seats.get(&place))?);
        for joiner in &mut self.joiners {
            if let Some(why) = joiner.look()? {
                said.push(format!("{} stopped listening: {why}", joiner.name));
                self.rejoins.insert(joiner.name.clone(), Instant::now() + RESTART_AFTER);
            }
            if self.rejoins.get(&joiner.name).is_some_and(|at| *at <= Instant::now()) {
                self.rejoins.remove(&joiner.name);
                joiner.join()?;
            }
        }
        Ok(said)
    }

    async fn rolling_restart(&mut self) -> anyhow::Result<()> {
        let places: Vec<u64> = self.seats.keys().copied().collect();
        for place in places {
            let seat = self.seats.get_mut(&place).context("there is no such node")?;
            tokio::task::block_in_place(|| seat.stop())?;
            if seat.down.is_empty() {
                seat.start()?;
            }
            // The next one is stopped once this one is back, or doesn't come.
            let back = self.standing.wait_for(|standing| standing.there.contains(&place));
            let _ = timeout(BACK_PATIENCE, back).await;
        }
        Ok(())
    }

    /// Places that some fault keeps from work.
    pub fn impaired(&self) -> BTreeSet<u64> {
        self.begun.values().flatten().copied().collect()
    }
}

fn named(places: &[u64]) -> String {
    match places {
        [] => String::new(),
        places => {
            let names: Vec<String> = places.iter().map(|place| format!("n{place}")).collect();
            format!(" ({})", names.join(", "))
        }
    }
}

/// Has syncs tampered with, unless they are already, or nothing runs.
fn trace(
    seat: &mut Seat,
    number: usize,
    tampering: Tampering,
    journal: &Arc<Journal>,
) -> anyhow::Result<()> {
    let Some(process) = seat.process().filter(|_| seat.tracer.is_none() && seat.frozen.is_none())
    else {
        return Ok(());
    };
    let injection =
        Injection { calls: SYNCS, tampering, one_in: NonZeroU16::MIN, paths: Vec::new() };
    let log = seat.log().with_file_name(format!("strace{number}.log"));
    match tokio::task::block_in_place(|| Tracer::attach(&process, &injection, &log, journal)) {
        Ok(tracer) => seat.tracer = Some((tracer, number)),
        // It ended by itself: whoever looks next finds that.
        Err(_) if !process.is_there() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
