//! `jamd`: reads its flags, runs one node, and says in one sentence why it could not.

mod allocator;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::ErrorKind;
use jam_cluster::config::{Args, ConfigError, LogFormat};
use jam_cluster::record::Recorder;
use jam_cluster::witness::{Nobody, Witness};
use jam_cluster::{node, server};
use jam_world::{LogLines, World};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

const FAILURE: u8 = 1;
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    #[cfg(feature = "planted")]
    jam_proto::planted::Bug::plant_as_told();
    allocator::give_back_early();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors.
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(WRONG_USAGE) };
        }
    };
    let log = LogLines::to_stderr("jamd");
    if let Err(error) = start_logging(&log, args.log_format, &args.log) {
        return fail(&log, WRONG_USAGE, &error);
    }
    let world = World::real().by(args.connect_to.clone());
    let witness: Arc<dyn Witness> = match &args.record {
        None => Arc::new(Nobody),
        Some(path) => match Recorder::open(&world, path) {
            Ok(recorder) => Arc::new(recorder),
            Err(error) => {
                return fail(&log, FAILURE, &format!("--record {}: {error}", path.display()));
            }
        },
    };
    let config = match args.check() {
        Ok(config) => config,
        Err(error @ ConfigError::Usage(_)) => return fail(&log, WRONG_USAGE, &error.to_string()),
        Err(error @ ConfigError::File(_)) => return fail(&log, FAILURE, &error.to_string()),
    };
    let runtime = match runtime(config.workers) {
        Ok(runtime) => runtime,
        Err(error) => return fail(&log, FAILURE, &format!("can't start: {error}")),
    };
    server::raise_descriptor_limit();
    let running = node::run(config, world, witness, Some(log.lost()), node::terminated());
    let ended = runtime.block_on(running);
    // What still runs (a song being decoded, a peer that does not answer) must not hold the exit up.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&log, FAILURE, &format!("{error:#}")),
    }
}

/// One worker needs no other thread to hand work to, and no way to wake it.
fn runtime(workers: usize) -> std::io::Result<Runtime> {
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers).enable_all().build()
}

fn start_logging(log: &LogLines, format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| format!("--log '{filter}' is no tracing filter: {error}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.writer());
    match format {
        LogFormat::Text => {
            lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init()
        }
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

/// The last line of the log. It goes the way of the others, so that a log that can't be written holds up no end.
fn fail(log: &LogLines, code: u8, sentence: &str) -> ExitCode {
    log.say(&format!("jamd: {sentence}"));
    ExitCode::from(code)
}
