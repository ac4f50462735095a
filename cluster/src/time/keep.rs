//! Saves the node's map each second, and notices when the machine slept.

use std::sync::Arc;
use std::time::Duration;

use jam_world::World;
use tokio::time::{MissedTickBehavior, interval};

use super::awake::Awake;
use super::clock::NodeClock;
use super::saved::{Files, Saved};

const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Of so many saves one is synced, beginning with the first: after a power cut at most 30 s of time are lost with the file,
/// for two syncs of the disk in that while.
const SYNC_ONE_IN: u32 = 30;

/// The node's clock in its data folder.
#[derive(Clone)]
pub struct Keeper {
    world: World,
    clock: Arc<NodeClock>,
    files: Files,
    boot_id: Arc<str>,
}

impl Keeper {
    /// Finds the clock in a data folder, and goes on from there.
    pub fn open(world: &World, data: &std::path::Path) -> std::io::Result<Self> {
        let files = Files::of(data);
        let machine = world.clock.clone();
        let (boot_id, now) = (machine.boot_id(), Awake::look(machine.as_ref()));
        let saved = files.load(world.disk.as_ref())?;
        let clock = NodeClock::resume(machine, saved.as_ref(), &boot_id, now);
        Ok(Self { world: world.clone(), clock: Arc::new(clock), files, boot_id: boot_id.into() })
    }

    /// The clock.
    pub fn clock(&self) -> Arc<NodeClock> {
        Arc::clone(&self.clock)
    }

    /// Runs for as long as the node does.
    pub async fn run(self) {
        let mut ticks = interval(SAVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in (0..SYNC_ONE_IN).cycle() {
            ticks.tick().await;
            self.clock.notices_sleep();
            let keeper = self.clone();
            let save = move || if number == 0 { keeper.save_synced() } else { keeper.save() };
            // A disk that is slow must not hold up the clock, and one that is full must not stop
            // the node: without the file, the next start takes a new epoch.
            if let Err(error) = self.world.try_blocking(save).await {
                tracing::warn!(%error, "could not save the clock");
            }
        }
    }

    fn save(&self) -> std::io::Result<()> {
        self.files.store(self.world.disk.as_ref(), &self.now())
    }

    /// Saves it now, so that a power cut leaves it.
    pub fn save_synced(&self) -> std::io::Result<()> {
        self.files.store_synced(self.world.disk.as_ref(), &self.now())
    }

    fn now(&self) -> Saved {
        let now = Awake::look(self.world.clock.as_ref());
        self.clock.to_save(&self.boot_id, now)
    }
}
