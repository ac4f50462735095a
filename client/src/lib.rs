//! Listen together: the jam command line and the player behind it.
//!
//! ```text
//!  cli ─▶ commands ─▶ session ─▶ connection ─▶ nodes      edits: numbered, written down, sent until settled
//!
//!  join ─▶ listener:
//!        follow (the room) ─┐
//!        clock (its time)  ─┼─▶ audio (the player)         each goes on with what it has when another falls silent
//!        songs (the bytes) ─┘
//! ```

pub mod audio;
mod calibrate;
pub mod cli;
pub mod clock;
mod commands;
pub mod connection;
pub mod error;
pub mod follow;
mod join;
pub mod listener;
pub mod news;
pub mod nodes;
pub mod output;
pub mod refusal;
pub mod session;
mod signals;
pub mod songs;
pub mod text;

use std::process::ExitCode;

use cli::Cli;
use error::Failure;
use output::Output;

/// The `jam` command: reads the command line, does what it says, and returns the exit code.
pub fn run() -> ExitCode {
    #[cfg(feature = "planted")]
    jam_proto::planted::Bug::plant_as_told();
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output::new(cli.options.json);
    let is_done = cli.verb.changes_something();
    let ended =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => {
                let ended = runtime.block_on(commands::run(&cli.options, cli.verb, output));
                // A blocking read that hangs (a file on a dead network disk) must not keep the process.
                runtime.shutdown_background();
                ended
            }
            Err(error) => Err(Failure::local("can't start", error)),
        };
    let unwritten = |why: &std::io::Error| Failure::Unwritten { is_done, why: why.to_string() };
    match ended.and_then(|()| output::unwritten().map_or(Ok(()), |why| Err(unwritten(why)))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.fail(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Help and version are no failure; all else is wrong usage, told as clap tells it, or as JSON where that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let asked_for_json = std::env::args_os().any(|arg| arg == "--json") || cli::is_json_set();
    if error.use_stderr() && asked_for_json {
        let text = error.to_string();
        let sentence =
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Output::new(true).fail(&Failure::Usage(sentence));
    } else {
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
