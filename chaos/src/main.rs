//! The `jam-chaos` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use jam_chaos::attack::Attacker;
use jam_chaos::bench::Bench;
use jam_chaos::live::batch::{Shrink, Soak};
use jam_chaos::live::command::{self, Check, Doctor, Replay, Run};
use jam_chaos::live::selftest::Selftest;
use jam_chaos::sim::command::Sim;
use jam_chaos::sim::entropy;
use jam_ear::command::Sound;

/// Exit codes, after Jepsen's.
const USAGE: u8 = 254;
const HARNESS: u8 = 255;

/// Breaks Jam clusters and judges whether the promises held.
///
/// Exit code 0: every promise held; 1: one was broken; 2: it can't be told; 254: wrong usage; 255: the
/// judge itself failed.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name the scenarios.
    List,
    /// Break a real cluster as a scenario says, and judge it.
    #[command(after_help = "Example: jam-chaos run leader-loss --seed 7")]
    Run(Run),
    /// Run the very schedule of an earlier run.
    Replay(Replay),
    /// Judge an earlier run anew, from what it left.
    Check(Check),
    /// Run seed after seed for hours.
    Soak(Soak),
    /// Plant bugs in real processes, and see whether the judges find them.
    Selftest(Selftest),
    /// Find a smaller schedule that still breaks a promise.
    Shrink(Shrink),
    /// Say which faults this machine allows, and clean up after runs that were killed.
    Doctor(Doctor),
    /// Judge what listeners heard.
    #[command(
        after_help = "Example: jam-chaos sound --song docs/tunes/*.opus --heard ann.wav --heard bob.wav"
    )]
    Sound(Sound),
    /// Run the whole cluster in one process, by seed.
    #[command(after_help = "Example: jam-chaos sim --seeds 1..20 --profile rough")]
    Sim(Sim),
    /// Attack a cluster; `jam-chaos run hostile` calls it.
    #[command(hide = true)]
    Attack(Attacker),
    /// Measure; `scripts/bench` calls it.
    #[command(subcommand)]
    Bench(Bench),
}

fn main() -> ExitCode {
    entropy::begin_as_told();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no error. There is nobody left to tell if
            // they can't be printed.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::List => {
            command::list();
            Ok(0)
        }
        Command::Run(run) => run.run(),
        Command::Replay(replay) => replay.run(),
        Command::Check(check) => check.run(),
        Command::Soak(soak) => soak.run(),
        Command::Selftest(selftest) => selftest.run(),
        Command::Shrink(shrink) => shrink.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Sound(sound) => sound.run(),
        Command::Sim(sim) => sim.run(),
        Command::Attack(attacker) => attacker.run().map(|()| 0),
        Command::Bench(bench) => bench.run().map(|()| 0),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("jam-chaos: {error:#}");
            ExitCode::from(HARNESS)
        }
    }
}
