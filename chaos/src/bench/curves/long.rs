//! A long run: does memory or disk grow with the number of commands, and does anything ever hold them up?
//!
//! While a closed loop of clients edits some rooms, the nodes build snapshots and cut their logs. In mid-run a
//! follower is killed, and comes back once the log that it lacks is gone: so a snapshot is sent and installed too.

mod report;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;
use tokio::task::JoinSet;

use super::load::{Client, Edits, Script};
use super::spread::percentile;
use super::stage::Stage;
use super::usage::{Memory, cpu_us, memory};
use watch::{Acks, Sample, sample};

/// What the nodes log of snapshots; the rest as by default.
const LOG: &str = "info,openraft=error,sled=warn,h2=warn,openraft::core::sm::worker=info,\
                   openraft::replication::snapshot_transmitter=info";
/// The log's own words (openraft 0.10) for a snapshot begun, sent and installed.
const BUILT: &str = "worker_loop: build snapshot";
const SENT: &str = "finished sending full_snapshot";
const INSTALLED: &str = "Done install complete snapshot";
/// Of all commands: how many come before the follower is killed.
const KILLED_AFTER: f64 = 0.4;
/// Log entries that the follower may have got after it was last asked.
const FROM_THEN_ON: u64 = 1000;

/// How much to do.
#[derive(clap::Args)]
pub struct Long {
    /// Commands.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    commands: u64,
    /// Rooms that they edit.
    #[arg(long, default_value_t = 8)]
    rooms: usize,
    /// Clients that send them.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Log entries between two snapshots.
    #[arg(long, default_value_t = 20_000)]
    snapshot_every: u64,
    /// The song that is queued.
    #[arg(long, value_name = "FILE", default_value = "docs/tunes/lantern-street.mp3")]
    song: PathBuf,
    /// Where the pictures go.
    #[arg(long, value_name = "FOLDER", default_value = "docs/plots")]
    plots: PathBuf,
}

/// What happened.
#[derive(Serialize)]
pub struct Story {
    /// Acknowledged commands.
    pub commands: u64,
    /// Seconds that they took.
    pub secs: f64,
    /// The time until the acknowledgement, median, ms.
    pub p50_ms: f64,
    /// The same, 99th percentile.
    pub p99_ms: f64,
    /// The same, highest.
    pub max_ms: f64,
    /// CPU time of the nodes that never fell for each command, µs.
    pub cpu_us_per_command: f64,
    /// Snapshots begun, by all nodes together.
    pub built: usize,
    /// Snapshots sent to the follower that was away.
    pub sent: usize,
    /// Snapshots that it installed.
    pub installed: usize,
    /// Terms that passed; no leader was harmed, so any is one too many.
    pub leader_changes: u64,
    /// The follower that was killed.
    pub follower: usize,
    /// When it was, and when it was started again and had caught up: seconds since the start.
    pub killed_secs: Option<f64>,
    /// When it was started again.
    pub returned_secs: Option<f64>,
    /// When it had caught up.
    pub level_secs: Option<f64>,
    /// Each node's memory when all was over.
    pub memory: Vec<Memory>,
    /// Once a second.
    pub samples: Vec<Sample>,
}

/// Runs it, prints it and draws it.
pub async fn run(long: &Long) -> anyhow::Result<()> {
    let snapshot_every = long.snapshot_every.to_string();
    let flags = ["--log", LOG, "--snapshot-every", &snapshot_every];
    let mut stage = Stage::start(&long.song, long.clients, &flags).await?;
    let rooms = stage.make_rooms(long.rooms).await?;
    let follower = stage.cluster.running().find(|node| *node != stage.leader);
    let follower = follower.context("there is no follower")?;
    let unharmed: Vec<u32> = stage
        .cluster
        .running()
        .zip(stage.cluster.pids())
        .filter(|(node, _)| *node != follower)
        .map(|(_, pid)| pid)
        .collect();

    let acks = Arc::new(Acks::new(long.commands));
    let before_us = cpu_us(unharmed.iter().copied())?;
    let mut loops = JoinSet::new();
    for (index, client) in std::mem::take(&mut stage.clients).into_iter().enumerate() {
        let script = Edits {
            room: rooms[index % rooms.len()].clone(),
            track: stage.track.clone(),
            middle: 0,
            step: 0,
            entry: 0,
        };
        loops.spawn(send(client, script, acks.clone()));
    }
    let mut absence = Absence::new(long, follower);
    let samples = sample(&mut stage, &acks, &mut absence).await?;
    let secs = acks.begun.elapsed().as_secs_f64();
    let spent_us = cpu_us(unharmed)? - before_us;
    let mut taken_ms = Vec::new();
    while let Some(ended) = loops.join_next().await {
        taken_ms.extend(ended??);
    }
    taken_ms.sort_unstable_by(f64::total_cmp);
    stage.cluster.wait_for_all()?;

    let mut logged = [0; 3];
    for node in stage.cluster.running() {
        let log = stage.log(node)?;
        for (count, words) in logged.iter_mut().zip([BUILT, SENT, INSTALLED]) {
            *count += log.matches(words).count();
        }
    }
    let [built, sent, installed] = logged;
    let commands = acks.count.load(Relaxed);
    let story = Story {
        commands,
        secs,
        p50_ms: percentile(&taken_ms, 50),
        p99_ms: percentile(&taken_ms, 99),
        max_ms: percentile(&taken_ms, 100),
        cpu_us_per_command: spent_us / commands as f64,
        built,
        sent,
        installed,
        leader_changes: stage.leader_changes().await?,
        follower,
        killed_secs: absence.killed_secs,
        returned_secs: absence.returned_secs,
        level_secs: absence.level_secs,
        memory: memory(stage.cluster.pids())?,
        samples,
    };
    println!("{}", report::table_of(&story));
    println!("{}", serde_json::to_string(&story)?);
    report::draw(&story, &long.plots)
}

/// Sends commands until there were enough of all clients' together. Milliseconds of each.
async fn send(mut client: Client, mut script: Edits, acks: Arc<Acks>) -> anyhow::Result<Vec<f64>> {
    let (mut taken_ms, mut last) = (Vec::new(), None);
    while acks.wanted() {
        let (room, kind) = script.next(last.as_ref());
        let sent = Instant::now();
        last = Some(client.submit(room, kind).await?);
        taken_ms.push(sent.elapsed().as_secs_f64() * 1e3);
        acks.came();
    }
    Ok(taken_ms)
}

/// The follower's absence: from when, for how long.
pub struct Absence {
    follower: usize,
    kill_at: u64,
    /// The last log index that it had applied.
    applied: u64,
    killed_secs: Option<f64>,
    returned_secs: Option<f64>,
    level_secs: Option<f64>,
}

impl Absence {
    fn new(long: &Long, follower: usize) -> Self {
        Self {
            follower,
            kill_at: (long.commands as f64 * KILLED_AFTER) as u64,
            applied: 0,
            killed_secs: None,
            returned_secs: None,
            level_secs: None,
        }
    }

    /// Does what is due once `commands` were acknowledged.
    async fn go_on(&mut self, stage: &mut Stage, commands: u64, secs: f64) -> anyhow::Result<()> {
        if self.killed_secs.is_none() {
            if commands >= self.kill_at {
                self.applied =
                    stage.applied(self.follower).await?.context("the follower is down")?;
                stage.cluster.kill(self.follower)?;
                self.killed_secs = Some(secs);
            }
        } else if self.returned_secs.is_none() {
            if stage.purged().await? > self.applied + FROM_THEN_ON {
                stage.cluster.start_node(self.follower)?;
                self.returned_secs = Some(secs);
            }
        } else if self.level_secs.is_none() && stage.is_level(self.follower).await? {
            self.level_secs = Some(secs);
        }
        Ok(())
    }
}
