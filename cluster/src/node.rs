//! placeholder
use crate::config::Config;
/// placeholder
pub async fn run(_config: Config, _stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    Ok(())
}
/// placeholder
pub async fn terminated() {}
