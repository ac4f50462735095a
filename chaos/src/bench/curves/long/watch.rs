//! Looks at a long run once a second.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::AbortHandle;

use super::super::stage::Stage;
use super::super::usage::{disk_mib, rss_mib};
use super::Absence;

const EVERY: Duration = Duration::from_secs(1);
/// How often the loader looks whether it is held up itself.
const STALL_EVERY: Duration = Duration::from_millis(5);

/// What all clients' acknowledgements have in common.
pub struct Acks {
    /// When the run began.
    pub begun: Instant,
    /// How many came.
    pub count: AtomicU64,
    wanted: u64,
    last_us: AtomicU64,
    pause_us: AtomicU64,
    stall_us: AtomicU64,
}

/// One look. A node that is down has nothing but its disk.
#[derive(Serialize)]
pub struct Sample {
    /// Since the start.
    pub secs: f64,
    /// Commands acknowledged by then.
    pub commands: u64,
    /// The longest time without any acknowledgement that ended, or went on, in this second.
    pub pause_ms: f64,
    /// How long the loader itself was held up, at most: pauses below that are not the nodes' for certain.
    pub stall_ms: f64,
    /// Each node's memory, MiB.
    pub rss_mib: Vec<Option<f64>>,
    /// Each node's data folder, MiB.
    pub disk_mib: Vec<f64>,
}

impl Acks {
    /// Begins a run of `wanted` commands.
    pub fn new(wanted: u64) -> Self {
        let zero = AtomicU64::default;
        Self {
            begun: Instant::now(),
            wanted,
            count: zero(),
            last_us: zero(),
            pause_us: zero(),
            stall_us: zero(),
        }
    }

    /// Whether there is more to do.
    pub fn wanted(&self) -> bool {
        self.count.load(Relaxed) < self.wanted
    }

    /// A command was acknowledged.
    pub fn came(&self) {
        self.count.fetch_add(1, Relaxed);
        let now_us = self.now_us();
        let before_us = self.last_us.fetch_max(now_us, Relaxed);
        self.pause_us.fetch_max(now_us.saturating_sub(before_us), Relaxed);
    }

    /// The longest pause since the last call, ms. One that still goes on counts as far as it has come; what comes
    /// after the last command is none.
    fn take_pause_ms(&self) -> f64 {
        let since_us = self.now_us().saturating_sub(self.last_us.load(Relaxed));
        let going_on_us = if self.wanted() { since_us } else { 0 };
        self.pause_us.swap(0, Relaxed).max(going_on_us) as f64 / 1e3
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Looks once a second until all commands are acknowledged and the follower is back and level.
pub async fn sample(
    stage: &mut Stage,
    acks: &std::sync::Arc<Acks>,
    absence: &mut Absence,
) -> anyhow::Result<Vec<Sample>> {
    let watched = acks.clone();
    let _stalls = Stalls(tokio::spawn(async move { note_stalls(&watched).await }).abort_handle());
    let mut ticks = tokio::time::interval(EVERY);
    let mut samples = vec![look(stage, acks)?];
    ticks.tick().await;
    while acks.wanted() {
        ticks.tick().await;
        let seen = look(stage, acks)?;
        absence.go_on(stage, seen.commands, seen.secs).await?;
        samples.push(seen);
    }
    Ok(samples)
}

fn look(stage: &mut Stage, acks: &Acks) -> anyhow::Result<Sample> {
    stage.cluster.check_running()?;
    let nodes = 1..=stage.nodes();
    let pids: Vec<(usize, u32)> = stage.cluster.running().zip(stage.cluster.pids()).collect();
    let rss = |node| {
        let found = pids.iter().find(|(running, _)| *running == node);
        found.map(|(_, pid)| rss_mib(*pid)).transpose()
    };
    Ok(Sample {
        secs: acks.begun.elapsed().as_secs_f64(),
        commands: acks.count.load(Relaxed),
        pause_ms: acks.take_pause_ms(),
        stall_ms: acks.stall_us.swap(0, Relaxed) as f64 / 1e3,
        rss_mib: nodes.clone().map(rss).collect::<anyhow::Result<_>>()?,
        disk_mib: nodes.map(|node| disk_mib(&stage.data(node))).collect::<anyhow::Result<_>>()?,
    })
}

/// Sleeps again and again, and notes by how much it overslept.
async fn note_stalls(acks: &Acks) {
    loop {
        let due = Instant::now() + STALL_EVERY;
        tokio::time::sleep(STALL_EVERY).await;
        let late_us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        acks.stall_us.fetch_max(late_us, Relaxed);
    }
}

/// Ends the task when it is dropped.
struct Stalls(AbortHandle);

impl Drop for Stalls {
    fn drop(&mut self) {
        self.0.abort();
    }
}
