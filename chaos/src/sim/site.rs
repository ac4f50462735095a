//! Machines that are wired to each other, and the processes on them: what a director breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::links::Links;
use super::machine::Machine;
use super::process::Process;
use super::time::{STEP, Time};
use crate::seed::Stream;

/// Segments that wait at a card.
const TCP_SEGMENTS: usize = 4096;

/// The site. All that it does happens between two steps.
pub struct Site {
    time: Arc<Time>,
    sim: turmoil::Sim<'static>,
    links: Links,
    places: BTreeMap<String, Place>,
    draws: Stream,
}

struct Place {
    machine: Machine,
    process: Option<Process>,
    /// The faults that keep its process stopped.
    stopped_by: BTreeSet<u64>,
    /// Its monotonic clock when that began, ns.
    stopped_ns: i64,
    /// The faults that keep it asleep.
    asleep_by: BTreeSet<u64>,
}

impl Place {
    fn running(&mut self) -> Option<&mut Process> {
        let stands_still = !self.stopped_by.is_empty() || !self.asleep_by.is_empty();
        self.process.as_mut().filter(|_| !stands_still)
    }
}

impl Site {
    /// One whose messages take between `latency_ms.0` and `latency_ms.1`, most of them far less than that.
    pub fn new(seed: u64, latency_ms: (u64, u64), time: &Arc<Time>) -> Self {
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .enable_random_order()
            .tick_duration(STEP)
            .tcp_capacity(TCP_SEGMENTS)
            .min_message_latency(Duration::from_millis(latency_ms.0))
            .max_message_latency(Duration::from_millis(latency_ms.1))
            .simulation_duration(Duration::MAX)
            .build();
        Self {
            time: time.clone(),
            sim,
            links: Links::default(),
            places: BTreeMap::new(),
            draws: Stream::new(seed, "order of processes"),
        }
    }

    /// Wires a machine.
    pub fn add(&mut self, machine: &Machine) {
        let card = machine.card();
        self.sim.host(machine.name(), move || {
            let card = card.clone();
            async move {
                card.run().await;
                Ok(())
            }
        });
        self.links.add(machine.name());
        let place = Place {
            machine: machine.clone(),
            process: None,
            stopped_by: BTreeSet::new(),
            stopped_ns: 0,
            asleep_by: BTreeSet::new(),
        };
        self.places.insert(machine.name().to_owned(), place);
    }

    /// Starts a process on a machine that has none.
    ///
    /// # Errors
    /// If the operating system gives no runtime.
    pub fn start(
        &mut self,
        machine: &str,
        main: impl Future<Output = ()> + 'static,
    ) -> anyhow::Result<()> {
        let process = Process::start(main).context("can't start a simulated process")?;
        self.place(machine).process = Some(process);
        Ok(())
    }

    /// A machine by its name.
    pub fn machine(&mut self, machine: &str) -> &Machine {
        &self.place(machine).machine
    }

    /// Whether the machine has a process whose work is not done.
    pub fn is_running(&self, machine: &str) -> bool {
        let process = self.places.get(machine).and_then(|place| place.process.as_ref());
        process.is_some_and(Process::is_running)
    }

    /// Kills the machine's process: its connections are closed, and what it had written is there.
    pub fn kill(&mut self, machine: &str) {
        // First of all: what destructors write doesn't count.
        self.place(machine).machine.kill();
        self.end(machine);
    }

    /// The machine has no power any more, and its disk is dark until [`Machine::power_up`]. Nobody is told: the fault
    /// is to be healed once it has power again.
    pub fn cut_power(&mut self, fault: u64, machine: &str) {
        self.isolate(fault, machine);
        self.place(machine).machine.cut_power();
        self.end(machine);
    }

    /// Nothing gets from a machine or to it.
    pub fn isolate(&mut self, fault: u64, machine: &str) {
        self.links.isolate(&self.sim, fault, machine);
    }

    /// Stops the machine's process, as SIGSTOP does: the machine goes on.
    pub fn stop(&mut self, fault: u64, machine: &str) {
        let now_ns = self.time.now_ns();
        let place = self.place(machine);
        if place.process.is_some() && place.stopped_by.insert(fault) && place.stopped_by.len() == 1
        {
            place.stopped_ns = place.machine.clocks().mono_at(now_ns);
        }
    }

    /// The machine sleeps: it stands still with all its clocks but two, and what is sent to it waits.
    pub fn suspend(&mut self, fault: u64, machine: &str) {
        self.links.hold_all(&self.sim, fault, machine);
        let place = self.place(machine);
        place.asleep_by.insert(fault);
        place.machine.suspend();
    }

    /// Nothing gets from one machine to another.
    pub fn cut(&mut self, fault: u64, from: &str, to: &str) {
        self.links.cut(&self.sim, fault, from, to);
    }

    /// What two machines send to each other waits.
    pub fn hold(&mut self, fault: u64, one: &str, other: &str) {
        self.links.hold(&self.sim, fault, one, other);
    }

    /// A fault has no hold on anything any more: machines wake, stopped processes go on as after SIGCONT, links are whole.
    pub fn heal(&mut self, fault: u64) {
        let now_ns = self.time.now_ns();
        self.links.heal(&self.sim, fault);
        for place in self.places.values_mut() {
            if place.asleep_by.remove(&fault) && place.asleep_by.is_empty() {
                place.machine.wake();
            }
            if place.stopped_by.remove(&fault)
                && place.stopped_by.is_empty()
                && let Some(process) = &mut place.process
            {
                let since_ns = place.machine.clocks().mono_at(now_ns) - place.stopped_ns;
                process.leap(Duration::from_nanos(since_ns.max(0).unsigned_abs()));
            }
        }
    }

    /// Goes on by [`STEP`].
    ///
    /// # Errors
    /// Those of turmoil.
    pub fn step(&mut self) -> anyhow::Result<()> {
        self.time.set(self.sim.elapsed());
        self.sim.step().map_err(|error| anyhow::anyhow!("the network: {error}"))?;
        let mut running: Vec<&mut Process> =
            self.places.values_mut().filter_map(Place::running).collect();
        while !running.is_empty() {
            let next = self.draws.below(running.len() as u64) as usize;
            running.swap_remove(next).step();
        }
        Ok(())
    }

    /// True time that has passed.
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// The address of a machine, for those who don't go by names.
    pub fn lookup(&self, machine: &str) -> std::net::IpAddr {
        self.sim.lookup(machine)
    }

    fn end(&mut self, machine: &str) {
        let place = self.place(machine);
        place.process = None;
        place.stopped_by.clear();
        // The card's connections go with it; the card itself comes back at once.
        self.sim.crash(machine);
        self.sim.bounce(machine);
    }

    fn place(&mut self, machine: &str) -> &mut Place {
        self.places.get_mut(machine).expect("it was added")
    }
}

#[cfg(test)]
mod tests;
