//! One simulated computer.

use std::fmt;
use std::sync::Arc;

use jam_world::World;

use super::card::Card;
use super::clock::Clocks;
use super::disk::Disk;
use super::net::Net;
use super::time::Time;
use super::work::Inline;

/// A computer: its clocks, its disk and its network card. Its processes come and go; there is one at a time.
#[derive(Clone)]
pub struct Machine {
    name: Arc<str>,
    clocks: Arc<Clocks>,
    disk: Arc<Disk>,
    card: Arc<Card>,
}

impl Machine {
    /// One that is switched on, with an empty disk. What the seed gives it depends on its name and nothing else.
    pub fn new(seed: u64, name: &str, time: &Arc<Time>) -> Self {
        let clocks = Arc::new(Clocks::new(seed, name, time.clone()));
        let disk = Arc::new(Disk::new(seed, name, clocks.clone()));
        Self { name: name.into(), clocks, disk, card: Arc::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a process that is started now gets. What an earlier one was given fails from now on.
    pub fn world(&self) -> World {
        let life = self.disk.begin_life();
        let disk = &self.disk;
        World {
            clock: self.clocks.clone(),
            net: Arc::new(Net { card: self.card.clone(), disk: disk.clone(), life }),
            disk: Arc::new(disk.handle(life)),
            work: Arc::new(Inline { disk: disk.clone(), life }),
        }
    }

    /// Ends the life of its process. All that was written stays, also what was not synced.
    pub(super) fn kill(&self) {
        self.disk.end_life();
    }

    /// Ends the life of its process, and loses what was not synced, or some of it. The disk is dark until
    /// [`Machine::power_up`].
    pub(super) fn cut_power(&self) {
        self.disk.end_life();
        self.disk.cut_power();
    }

    /// Boots it after the power was cut.
    pub fn power_up(&self) {
        self.disk.power_up();
        self.clocks.boot();
    }

    /// Begins a suspend: its raw and monotonic clock stop.
    pub(super) fn suspend(&self) {
        self.clocks.suspend();
    }

    /// Ends a suspend.
    pub(super) fn wake(&self) {
        self.clocks.wake();
    }

    /// Sets its time of day to so much off what it is.
    pub fn jump_wall(&self, by_ns: i64) {
        self.clocks.jump_wall(by_ns);
    }

    /// Its network card.
    pub(super) fn card(&self) -> Arc<Card> {
        self.card.clone()
    }

    /// Its disk, to break it.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Its clocks, to judge by them.
    pub fn clocks(&self) -> &Arc<Clocks> {
        &self.clocks
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Machine").field(&self.name).finish()
    }
}
