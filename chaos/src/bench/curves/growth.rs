//! How cost grows with the number of rooms, the length of a queue, and the number of watchers.
//!
//! Every point gets a new cluster with as many log entries behind it as the others, so that what is different is
//! only what the point is about.

mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use jam_proto::limits::QUEUE_ENTRIES_MAX;
use serde::Serialize;

use super::audience::Audience;
use super::load::{Edits, Rate, Script, Seeks, closed_loop, seek};
use super::spread::{Spread, percentile};
use super::stage::Stage;
use super::usage::{Memory, cpu_us, memory};

/// Commands whose way to the watchers is timed, at each number of watchers.
const WATCHED_COMMANDS: u64 = 200;

/// How much to measure.
#[derive(clap::Args)]
pub struct Growth {
    /// Numbers of rooms that commands are spread over.
    #[arg(long, value_name = "COUNT", num_args = 1.., default_values_t = [1, 100, 10_000])]
    rooms: Vec<usize>,
    /// Lengths of a room's queue.
    #[arg(long, value_name = "COUNT", num_args = 1.., default_values_t = [1, 100, 10_000])]
    queue: Vec<usize>,
    /// Numbers of watchers of one room.
    #[arg(long, value_name = "COUNT", num_args = 1.., default_values_t = [1, 100, 1000])]
    watchers: Vec<usize>,
    /// Clients that send commands.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Seconds of commands in a run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    secs: u64,
    /// Runs at each point.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    trials: u64,
    /// The song that is queued.
    #[arg(long, value_name = "FILE", default_value = "docs/tunes/lantern-street.mp3")]
    song: PathBuf,
    /// Where the pictures go.
    #[arg(long, value_name = "FOLDER", default_value = "docs/plots")]
    plots: PathBuf,
}

/// All that was measured.
#[derive(Serialize)]
pub struct Curves {
    /// By number of rooms.
    pub rooms: Vec<RoomsPoint>,
    /// By number of rooms, then of watchers.
    pub watching: Vec<WatchPoint>,
    /// By length of the queue.
    pub queue: Vec<QueuePoint>,
    /// In all runs together; nothing was broken, so any is one too many.
    pub leader_changes: u64,
}

/// Commands spread over so many rooms.
#[derive(Serialize)]
pub struct RoomsPoint {
    /// Rooms.
    pub rooms: usize,
    /// What the clients saw.
    pub load: Load,
    /// Each node's, before any load, after a snapshot.
    pub at_rest: Vec<Memory>,
    /// Each node's, after the load.
    pub after_load: Vec<Memory>,
}

/// Commands in one room with a queue of this length.
#[derive(Serialize)]
pub struct QueuePoint {
    /// Entries, when the commands began.
    pub entries: usize,
    /// Seeks only.
    pub seeks: Load,
    /// Seek, queue at the end, move to the middle, take out.
    pub edits: Load,
}

/// One room with so many watchers, beside so many rooms.
#[derive(Serialize)]
pub struct WatchPoint {
    /// Rooms.
    pub rooms: usize,
    /// Watchers, shared out among the nodes.
    pub watchers: usize,
    /// From sending a command to the last watcher's hearing of it, median, ms.
    pub p50_ms: f64,
    /// The same, 99th percentile.
    pub p99_ms: f64,
    /// Each node's, before the watchers came.
    pub before: Vec<Memory>,
    /// Each node's, while they watched.
    pub during: Vec<Memory>,
}

/// Some runs of commands.
#[derive(Serialize)]
pub struct Load {
    /// Acknowledged commands per second.
    pub per_sec: Spread,
    /// The time until the acknowledgement, median, ms.
    pub p50_ms: Spread,
    /// The same, 99th percentile.
    pub p99_ms: Spread,
    /// CPU time of the three nodes together for each command, µs.
    pub cpu_us_per_command: Spread,
}

/// Measures all curves, prints them and draws them.
pub async fn run(growth: &Growth) -> anyhow::Result<()> {
    let mut curves = Curves { rooms: vec![], watching: vec![], queue: vec![], leader_changes: 0 };
    for rooms in &growth.rooms {
        growth
            .measure_rooms(*rooms, &mut curves)
            .await
            .with_context(|| format!("{rooms} rooms"))?;
    }
    for entries in &growth.queue {
        let point = growth.measure_queue(*entries, &mut curves);
        point.await.with_context(|| format!("{entries} entries"))?;
    }
    println!("{}", report::tables(&curves));
    println!("{}", serde_json::to_string(&curves)?);
    report::draw(&curves, &growth.plots)
}

impl Growth {
    async fn measure_rooms(&self, count: usize, curves: &mut Curves) -> anyhow::Result<()> {
        let mut stage = Stage::start(&self.song, self.clients, &[]).await?;
        let rooms: Arc<[String]> = stage.make_rooms(count).await?.into();
        let most = self.rooms.iter().copied().max().unwrap_or(count);
        // As many log entries as the point with the most rooms needed to make them.
        let fill =
            (0..2 * (most - count)).map(|at| (rooms[at % count].clone(), vec![seek(at as u64)]));
        stage.share_out(fill.collect()).await?;
        // One more room, in which nothing happened: a watcher gets all of the last seconds when it comes.
        let quiet = stage.make_rooms(1).await?;
        stage.settle().await?;
        let at_rest = memory(stage.cluster.pids())?;
        for watchers in &self.watchers {
            curves.watching.push(watch(&mut stage, count, &quiet[0], *watchers).await?);
        }
        let load = self.load(&mut stage, |client| Seeks {
            rooms: rooms.clone(),
            at: client,
            stride: self.clients,
        });
        let load = load.await?;
        let after_load = memory(stage.cluster.pids())?;
        curves.leader_changes += stage.leader_changes().await?;
        curves.rooms.push(RoomsPoint { rooms: count, load, at_rest, after_load });
        Ok(())
    }

    async fn measure_queue(&self, length: usize, curves: &mut Curves) -> anyhow::Result<()> {
        let mut stage = Stage::start(&self.song, self.clients, &[]).await?;
        let rooms: Arc<[String]> = stage.make_rooms(1).await?.into();
        // A run may end while each client has an entry of its own in the queue.
        let entries = length.min(QUEUE_ENTRIES_MAX - self.clients * self.trials as usize);
        stage.fill(&rooms[0], entries).await?;
        let seeks = self.load(&mut stage, |client| Seeks {
            rooms: rooms.clone(),
            at: client,
            stride: self.clients,
        });
        let seeks = seeks.await?;
        let track = stage.track.clone();
        let middle = if entries > 2 { entries as u64 / 2 + 1 } else { 0 };
        let edits = self.load(&mut stage, |_| Edits {
            room: rooms[0].clone(),
            track: track.clone(),
            middle,
            step: 0,
            entry: 0,
        });
        let edits = edits.await?;
        curves.leader_changes += stage.leader_changes().await?;
        curves.queue.push(QueuePoint { entries, seeks, edits });
        Ok(())
    }

    /// Runs the load some times over.
    async fn load<S: Script>(
        &self,
        stage: &mut Stage,
        script: impl Fn(usize) -> S,
    ) -> anyhow::Result<Load> {
        let mut runs: Vec<(Rate, f64)> = Vec::new();
        for _ in 0..self.trials {
            let clients = std::mem::take(&mut stage.clients);
            let before_us = cpu_us(stage.cluster.pids())?;
            let (rate, clients) = closed_loop(clients, self.secs, &script).await?;
            let spent_us = cpu_us(stage.cluster.pids())? - before_us;
            stage.clients = clients;
            runs.push((rate, spent_us));
        }
        let spread = |figure: fn(&(Rate, f64)) -> f64| Spread::of(runs.iter().map(figure));
        Ok(Load {
            per_sec: spread(|(rate, _)| rate.per_sec),
            p50_ms: spread(|(rate, _)| rate.p50_ms),
            p99_ms: spread(|(rate, _)| rate.p99_ms),
            cpu_us_per_command: spread(|(rate, spent_us)| spent_us / rate.commands as f64),
        })
    }
}

/// Times commands in `room`, one of `rooms` and more, until all its watchers have heard of them.
async fn watch(
    stage: &mut Stage,
    rooms: usize,
    room: &str,
    watchers: usize,
) -> anyhow::Result<WatchPoint> {
    let addresses: Vec<String> =
        stage.cluster.running().map(|node| stage.cluster.address(node)).collect();
    let before = memory(stage.cluster.pids())?;
    let mut audience = Audience::gather(&addresses, room, watchers).await?;
    let client = stage.clients.first_mut().context("nobody sends commands")?;
    let mut taken_ms = Vec::new();
    for count in 0..WATCHED_COMMANDS {
        let sent = Instant::now();
        let revision = client.submit(room, seek(count)).await?.revision;
        let heard = audience.all_heard(revision).await?;
        taken_ms.push(heard.duration_since(sent).as_secs_f64() * 1e3);
    }
    let during = memory(stage.cluster.pids())?;
    taken_ms.sort_unstable_by(f64::total_cmp);
    Ok(WatchPoint {
        rooms,
        watchers,
        p50_ms: percentile(&taken_ms, 50),
        p99_ms: percentile(&taken_ms, 99),
        before,
        during,
    })
}
