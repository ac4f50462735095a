//! First figures: what a cluster of three and a listener can do on this machine.
//!
//! Every figure comes from real processes on loopback, started for it. Nothing is asserted: a figure is
//! recorded with its spread, and the command that repeats it stands beside it in `docs/benchmarks.md`.

mod commands;
mod failover;
mod listeners;

use std::path::Path;

use anyhow::Context;

use crate::cluster::Cluster;

/// How much of everything to do.
pub struct Effort {
    /// Seconds of commands, each run.
    pub secs: u64,
    /// Runs, leaders killed, listeners joined: of which the spread is shown.
    pub trials: usize,
}

/// Measures everything and prints it as Markdown tables.
pub fn run(songs: &[std::path::PathBuf], effort: &Effort) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let dir = tempfile::tempdir().context("can't make a temporary folder")?;
    let mut cluster = Cluster::start(dir.path(), 3)?;
    println!("| what | median | lowest | highest |\n| --- | --- | --- | --- |");
    memory("a node at rest, MB", &cluster)?;
    runtime.block_on(commands::measure(&mut cluster, effort))?;
    memory("a node after that, MB", &cluster)?;
    listeners::measure(&mut cluster, songs, effort.trials)?;
    runtime.block_on(failover::measure(&mut cluster, effort))?;
    Ok(())
}

fn memory(what: &str, cluster: &Cluster) -> anyhow::Result<()> {
    let resident: Vec<f64> =
        cluster.pids().map(|pid| Ok(resident_kib(pid)? / 1024.0)).collect::<anyhow::Result<_>>()?;
    row(what, &resident);
    Ok(())
}

/// Resident memory of a process, KiB.
fn resident_kib(pid: u32) -> anyhow::Result<f64> {
    proc_field(pid, "status", |line| {
        line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok()
    })
}

fn proc_field(pid: u32, file: &str, find: impl Fn(&str) -> Option<f64>) -> anyhow::Result<f64> {
    let path = Path::new("/proc").join(pid.to_string()).join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("process {pid} is gone"))?;
    text.lines().find_map(find).with_context(|| format!("{} says nothing of it", path.display()))
}

/// One line of the table; `values` in any order.
fn row(what: &str, values: &[f64]) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    if let (Some(low), Some(high)) = (sorted.first(), sorted.last()) {
        println!("| {what} | {:.1} | {low:.1} | {high:.1} |", sorted[sorted.len() / 2]);
    }
}
