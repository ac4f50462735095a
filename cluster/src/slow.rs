//! Those who take too little of what they are sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::lines::Lines;
use crate::metrics::Metrics;
use crate::watch::WatchHub;

/// Looks every second for watchers and connections that take nothing, and logs what else is counted.
pub async fn drop_slow(hub: Arc<WatchHub>, lines: Arc<Lines>, metrics: Arc<Metrics>) {
    loop {
        sleep(Duration::from_secs(1)).await;
        metrics.slow_watchers(hub.drop_slow(Instant::now()));
        metrics.stuck_connections(lines.close_stuck(Instant::now()));
        metrics.evictions.log();
    }
}
