//! Saves the node's map each second, and notices when the machine slept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jam_world::World;
use tokio::time::{MissedTickBehavior, interval};

use super::awake::Awake;
use super::clock::NodeClock;
use super::saved;

const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The node's clock in its data folder.
#[derive(Clone)]
pub struct Keeper {
    world: World,
    clock: Arc<NodeClock>,
    path: PathBuf,
    boot_id: Arc<str>,
}

impl Keeper {
    /// Finds the clock in a data folder, and goes on from there.
    pub fn open(world: &World, data: &std::path::Path) -> std::io::Result<Self> {
        let path = saved::path(data);
        let machine = world.clock.clone();
        let (boot_id, now) = (machine.boot_id(), Awake::look(machine.as_ref()));
        let saved = saved::load(world.disk.as_ref(), &path)?;
        let clock = NodeClock::resume(machine, saved.as_ref(), &boot_id, now);
        Ok(Self { world: world.clone(), clock: Arc::new(clock), path, boot_id: boot_id.into() })
    }

    /// The clock.
    pub fn clock(&self) -> Arc<NodeClock> {
        Arc::clone(&self.clock)
    }

    /// Runs for as long as the node does.
    pub async fn run(self) {
        let mut ticks = interval(SAVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.clock.notices_sleep();
            let keeper = self.clone();
            // A disk that is slow must not hold up the clock, and one that is full must not stop
            // the node: without the file, the next start takes a new epoch.
            if let Err(error) = self.world.try_blocking(move || keeper.save()).await {
                tracing::warn!(%error, "could not save the clock");
            }
        }
    }

    /// Saves it now.
    pub fn save(&self) -> std::io::Result<()> {
        let now = Awake::look(self.world.clock.as_ref());
        let saved = self.clock.to_save(&self.boot_id, now);
        saved::store(self.world.disk.as_ref(), &self.path, &saved)
    }
}
