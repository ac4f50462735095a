//! What a simulation logs, by its own time.

use std::fmt;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::time::Time;

struct Simulated(Arc<Time>);

impl FormatTime for Simulated {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        write!(out, "{:>9.3}", self.0.now_ns() as f64 * 1e-9)
    }
}

/// Logs to standard error what `JAM_LOG` asks for, a tracing filter.
pub fn start(time: Arc<Time>) {
    let filter = EnvFilter::try_from_env("JAM_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_timer(Simulated(time)).with_ansi(false).init();
}
