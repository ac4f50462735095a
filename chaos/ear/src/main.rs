//! The `jam-ear` command.

use std::process::ExitCode;

use clap::Parser;
use jam_ear::command::Sound;

/// Exit codes, after Jepsen's.
const USAGE: u8 = 254;
const HARNESS: u8 = 255;

/// Judges what listeners heard; `jam-chaos sound` does the same.
///
/// Exit code 0: every promise held; 1: one was broken; 2: it can't be told; 254: wrong usage; 255: the judge itself failed.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: jam-ear --song docs/tunes/*.opus --heard ann.wav --heard bob.wav"
)]
struct Cli {
    #[command(flatten)]
    sound: Sound,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no error. There is nobody left to tell if they can't be printed.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.sound.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("jam-ear: {error:#}");
            ExitCode::from(HARNESS)
        }
    }
}
