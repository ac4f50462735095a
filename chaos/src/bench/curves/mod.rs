//! How cost grows: with rooms, queues, watchers and time, on clusters of its own.
//!
//! Clients speak the public API themselves, one connection and one session each, opened before anything is
//! timed, so that what is measured is the nodes and not the loader's start. Nothing is asserted: every figure
//! is printed, as a Markdown table and as one line of JSON, and the curves are drawn.

mod audience;
mod growth;
mod load;
mod long;
mod plot;
mod spread;
mod stage;
mod steady;
mod usage;

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Curve {
    /// Commands/s, memory and latency against rooms, queue length and watchers; draws the curves.
    Growth(growth::Growth),
    /// Memory, disk and pauses over many commands, with snapshots built, sent and installed; draws them.
    Long(long::Long),
    /// CPU of three idle nodes.
    Idle(steady::Idle),
    /// Leader changes while other processes keep the cores busy.
    Busy(steady::Busy),
}

/// Measures, and prints what came of it.
pub fn run(curve: &Curve) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        match curve {
            Curve::Growth(args) => growth::run(args).await,
            Curve::Long(args) => long::run(args).await,
            Curve::Idle(args) => steady::idle(args).await,
            Curve::Busy(args) => steady::busy(args).await,
        }
    })
}
