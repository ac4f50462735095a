//! Saves the node's map each second, and notices when the machine slept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::clock::NodeClock;
use super::raw::{self, Awake};
use super::saved;

const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The node's clock in its data folder.
#[derive(Clone)]
pub struct Keeper {
    clock: Arc<NodeClock>,
    path: PathBuf,
    boot_id: Arc<str>,
}

impl Keeper {
    /// Finds the clock in a data folder, and goes on from there.
    pub fn open(data: &std::path::Path) -> std::io::Result<Self> {
        let path = saved::path(data);
        let boot_id = raw::boot_id();
        let clock = NodeClock::resume(saved::load(&path)?.as_ref(), &boot_id, Awake::look());
        Ok(Self { clock: Arc::new(clock), path, boot_id: boot_id.into() })
    }

    /// The clock.
    pub fn clock(&self) -> Arc<NodeClock> {
        Arc::clone(&self.clock)
    }

    /// Runs for as long as the node does.
    pub async fn run(self) {
        let mut ticks = interval(SAVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Awake::look();
        loop {
            ticks.tick().await;
            let now = Awake::look();
            if now.slept_since(&last) {
                tracing::warn!("this machine slept: its clock can't be continued");
                self.clock.breaks();
            }
            last = now;
            let keeper = self.clone();
            // A disk that is slow must not hold up the clock, and one that is full must not stop
            // the node: without the file, the next start takes a new epoch.
            let saved = tokio::task::spawn_blocking(move || keeper.save()).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%error, "could not save the clock");
            }
        }
    }

    /// Saves it now.
    pub fn save(&self) -> std::io::Result<()> {
        saved::store(&self.path, &self.clock.to_save(&self.boot_id, Awake::look()))
    }
}
