//! What a cluster does that nothing happens to: the CPU it takes, and that it keeps its leader.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use super::load::{Seeks, closed_loop};
use super::spread::{Spread, table};
use super::stage::Stage;
use super::usage::{Memory, cpu_us, memory};

/// How long to look at three idle nodes.
#[derive(clap::Args)]
pub struct Idle {
    /// Seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    secs: u64,
    /// The song that is stored.
    #[arg(long, value_name = "FILE", default_value = "docs/tunes/lantern-street.mp3")]
    song: PathBuf,
}

/// How busy the machine is, and for how long.
#[derive(clap::Args)]
pub struct Busy {
    /// Busy-loop processes beside the cluster.
    #[arg(long, default_value_t = 2)]
    loops: usize,
    /// Seconds of an idle cluster, and as many of a loaded one.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    secs: u64,
    /// Clients that make the load.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// The song that is queued.
    #[arg(long, value_name = "FILE", default_value = "docs/tunes/lantern-street.mp3")]
    song: PathBuf,
}

#[derive(Serialize)]
struct AtRest {
    secs: f64,
    cpu_percent_of_a_core: Vec<f64>,
    memory: Vec<Memory>,
    leader_changes: u64,
}

#[derive(Serialize)]
struct Beside {
    loops: usize,
    secs: u64,
    idle_leader_changes: u64,
    loaded_leader_changes: u64,
    loaded_commands_per_sec: f64,
    loaded_p50_ms: f64,
    loaded_p99_ms: f64,
}

/// Measures three idle nodes.
pub async fn idle(idle: &Idle) -> anyhow::Result<()> {
    let stage = Stage::start(&idle.song, 0, &[]).await?;
    stage.settle().await?;
    let each = || stage.cluster.pids().map(|pid| cpu_us([pid])).collect::<anyhow::Result<Vec<_>>>();
    let (before_us, begun) = (each()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(idle.secs)).await;
    let (after_us, secs) = (each()?, begun.elapsed().as_secs_f64());
    let spent = before_us.iter().zip(after_us);
    let seen = AtRest {
        secs,
        cpu_percent_of_a_core: spent.map(|(from, to)| (to - from) / secs / 1e4).collect(),
        memory: memory(stage.cluster.pids())?,
        leader_changes: stage.leader_changes().await?,
    };
    let cpu = Spread::of(seen.cpu_percent_of_a_core.iter().copied());
    let rss = Spread::of(seen.memory.iter().map(|node| node.rss_mib));
    let figures = [
        ["CPU of an idle node, % of a core".to_owned(), cpu.to_string()],
        ["its memory, MiB".to_owned(), rss.to_string()],
        [format!("leader changes in {secs:.0} s"), seen.leader_changes.to_string()],
    ];
    println!("{}\n{}", table(["what", "figure"], figures), serde_json::to_string(&seen)?);
    Ok(())
}

/// Counts leader changes beside busy loops.
pub async fn busy(busy: &Busy) -> anyhow::Result<()> {
    let mut stage = Stage::start(&busy.song, busy.clients, &[]).await?;
    let rooms = stage.make_rooms(busy.clients).await?;
    let _loops = (0..busy.loops).map(|_| BusyLoop::start()).collect::<anyhow::Result<Vec<_>>>()?;
    let before = stage.leader_changes().await?;
    tokio::time::sleep(Duration::from_secs(busy.secs)).await;
    let idle_leader_changes = stage.leader_changes().await? - before;
    let clients = std::mem::take(&mut stage.clients);
    let rooms: std::sync::Arc<[String]> = rooms.into();
    let script = |at| Seeks { rooms: rooms.clone(), at, stride: busy.clients };
    let (rate, _clients) = closed_loop(clients, busy.secs, script).await?;
    let seen = Beside {
        loops: busy.loops,
        secs: busy.secs,
        idle_leader_changes,
        loaded_leader_changes: stage.leader_changes().await? - before - idle_leader_changes,
        loaded_commands_per_sec: rate.per_sec,
        loaded_p50_ms: rate.p50_ms,
        loaded_p99_ms: rate.p99_ms,
    };
    let Beside { loops, secs, .. } = seen;
    let figures = [
        [
            format!("leader changes of an idle cluster in {secs} s"),
            seen.idle_leader_changes.to_string(),
        ],
        ["the same, loaded".to_owned(), seen.loaded_leader_changes.to_string()],
        ["its commands/s".to_owned(), format!("{:.0}", rate.per_sec)],
        ["their p50, ms".to_owned(), format!("{:.1}", rate.p50_ms)],
        ["their p99, ms".to_owned(), format!("{:.1}", rate.p99_ms)],
    ];
    let head = format!("beside {loops} busy loops");
    println!("{}\n{}", table([&head, "figure"], figures), serde_json::to_string(&seen)?);
    Ok(())
}

/// A process that takes all of a core that it can get. Dropping it ends it.
struct BusyLoop(Child);

impl BusyLoop {
    fn start() -> anyhow::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(shell.spawn().context("can't start a busy loop")?))
    }
}

impl Drop for BusyLoop {
    fn drop(&mut self) {
        // It ends only by this; either way it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
