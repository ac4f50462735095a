//! Figures: what a cluster and its listeners can do on this machine.
//!
//! Every figure comes from real processes on loopback. Nothing is asserted: a figure is recorded with its
//! spread, and the command that repeats it stands beside it in `docs/benchmarks.md`. Load on a cluster, and other
//! systems beside it, come from a harness of their own, which `scripts/bench` calls; what it needs from Jam is here.

mod curves;
mod leader;
mod listeners;
mod prepare;
mod segment;

use std::path::Path;

use anyhow::Context;
use jam_proto::ids::RoomCode;

/// What to measure, or to get ready for a measurement.
#[derive(clap::Subcommand)]
pub enum Bench {
    /// How soon a listener hears, what it takes, and how far two of them are apart.
    #[command(after_help = "Example: jam-chaos bench listen --song docs/tunes/*.mp3 --trials 5")]
    Listen(listeners::Listen),
    /// Make a room and open sessions, for a load generator that can do neither.
    #[command(
        after_help = "Example: jam-chaos bench prepare --servers 127.0.0.1:7701 --room 2345-6789-ABCD --prefix a-load-generator- --sessions 0-99,1000"
    )]
    Prepare(prepare::Prepare),
    /// Print which of the given nodes leads, counted from 0.
    #[command(after_help = "Example: jam-chaos bench leader 127.0.0.1:7701 127.0.0.1:7702")]
    Leader(leader::Leader),
    /// Print what a segment of a song is asked for by, as JSON.
    #[command(
        after_help = "Example: jam-chaos bench segment docs/tunes/lantern-street.mp3 --index 0"
    )]
    Segment(segment::Segment),
    /// How cost grows, and what it is at rest.
    #[command(flatten)]
    Curve(curves::Curve),
}

impl Bench {
    /// Does it, and prints what came out.
    ///
    /// # Errors
    /// If a process can't be started, or what is waited for does not come about.
    pub fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Listen(listen) => listen.run(),
            Self::Curve(curve) => curves::run(curve),
            Self::Segment(segment) => segment.run(),
            Self::Prepare(prepare) => block_on(prepare.run()),
            Self::Leader(leader) => {
                println!("{}", block_on(leader.find())?);
                Ok(())
            }
        }
    }
}

fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
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

/// One line of a table; `values` in any order.
fn row(what: &str, values: &[f64]) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    if let (Some(low), Some(high)) = (sorted.first(), sorted.last()) {
        println!("| {what} | {:.1} | {low:.1} | {high:.1} |", sorted[sorted.len() / 2]);
    }
}

fn room_code(text: &str) -> Result<RoomCode, String> {
    RoomCode::parse(text).map_err(|invalid| invalid.to_string())
}
