//! What a node's process takes: memory, CPU and disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// A clock tick of `/proc`, in microseconds: Linux shows CPU time in hundredths of a second.
const TICK_US: f64 = 10_000.0;

/// Memory of a process, MiB.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Resident.
    pub rss_mib: f64,
    /// Resident, pages shared with other processes counted in part.
    pub pss_mib: f64,
    /// The most that was ever resident.
    pub peak_mib: f64,
}

/// Memory of each process.
pub fn memory(pids: impl IntoIterator<Item = u32>) -> anyhow::Result<Vec<Memory>> {
    pids.into_iter().map(memory_of).collect()
}

/// Memory of a process. PSS walks all its pages, so this is not for every second.
fn memory_of(pid: u32) -> anyhow::Result<Memory> {
    let rollup = proc_text(pid, "smaps_rollup")?;
    let status = proc_text(pid, "status")?;
    Ok(Memory {
        rss_mib: mib(&rollup, "Rss:")?,
        pss_mib: mib(&rollup, "Pss:")?,
        peak_mib: mib(&status, "VmHWM:")?,
    })
}

/// Resident memory of a process, MiB.
pub fn rss_mib(pid: u32) -> anyhow::Result<f64> {
    mib(&proc_text(pid, "status")?, "VmRSS:")
}

fn mib(text: &str, name: &str) -> anyhow::Result<f64> {
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).with_context(|| format!("the system does not tell {name}"))
}

/// CPU time that the processes have taken together, in user and system mode, µs. In steps of 10 ms each.
pub fn cpu_us(pids: impl IntoIterator<Item = u32>) -> anyhow::Result<f64> {
    pids.into_iter().map(cpu_us_of).sum()
}

fn cpu_us_of(pid: u32) -> anyhow::Result<f64> {
    let stat = proc_text(pid, "stat")?;
    // The name, in brackets, may hold spaces. User and system time are the 14th and 15th field (proc(5)).
    let ticks = stat.rsplit_once(") ").and_then(|(_, fields)| {
        let mut fields = fields.split(' ').skip(11).map(str::parse::<f64>);
        Some(fields.next()?.ok()? + fields.next()?.ok()?)
    });
    ticks.map(|ticks| ticks * TICK_US).context("the system does not tell the CPU time")
}

fn proc_text(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = Path::new("/proc").join(pid.to_string()).join(file);
    fs::read_to_string(path).with_context(|| format!("process {pid} is gone"))
}

/// What the files below a folder take on the disk, MiB, as `du` counts it.
pub fn disk_mib(folder: &Path) -> anyhow::Result<f64> {
    Ok(blocks(folder)? as f64 / 2048.0)
}

/// In blocks of 512 bytes. A file that goes while we look counts as gone.
fn blocks(path: &Path) -> anyhow::Result<u64> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(0) };
    let mut sum = meta.blocks();
    if meta.is_dir() {
        for item in fs::read_dir(path)? {
            sum += blocks(&item?.path())?;
        }
    }
    Ok(sum)
}
