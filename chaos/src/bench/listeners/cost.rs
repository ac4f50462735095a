//! What one listener takes of the machine.

use std::time::Duration;

use super::SETTLED_SECS;
use crate::bench::{proc_field, resident_kib, row};
use crate::cluster::{Cluster, monotonic_ns};

const MEASURED_SECS: f64 = 30.0;
/// Each counts.
const LOOKS: usize = 3;

/// A listener who leaves neither a recording nor a trace: writing those costs a quarter more.
pub(super) fn measure(cluster: &Cluster, room: &str) -> anyhow::Result<()> {
    let listener = cluster.listen_unrecorded("alone", room)?;
    std::thread::sleep(Duration::from_secs_f64(SETTLED_SECS));
    let (mut spent_ms, mut resident_mb) = (vec![], vec![]);
    for _ in 0..LOOKS {
        let (ticks, from_ns) = (cpu_ticks(listener.pid())?, monotonic_ns());
        std::thread::sleep(Duration::from_secs_f64(MEASURED_SECS / LOOKS as f64));
        let secs = (monotonic_ns() - from_ns) as f64 / 1e9;
        spent_ms.push((cpu_ticks(listener.pid())? - ticks) * 10.0 / secs);
        resident_mb.push(resident_kib(listener.pid())? / 1024.0);
    }
    listener.leave()?;
    row("one listener's CPU, ms in a second", &spent_ms);
    row("one listener's memory, MB", &resident_mb);
    Ok(())
}

/// CPU time of a process in clock ticks of 10 ms.
fn cpu_ticks(pid: u32) -> anyhow::Result<f64> {
    proc_field(pid, "stat", |line| {
        let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    })
}
