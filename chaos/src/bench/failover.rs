//! From `kill -9` of the leader to the next acknowledged command.

use std::time::{Duration, Instant};

use super::commands::Client;
use super::{Effort, row};
use crate::cluster::Cluster;

/// An attempt that takes longer is given up and made again at the next node.
const ATTEMPT: Duration = Duration::from_millis(100);

/// Kills the leader again and again; each time the node comes back before the next.
pub async fn measure(cluster: &mut Cluster, effort: &Effort) -> anyhow::Result<()> {
    let mut gaps = Vec::new();
    for trial in 0..effort.trials {
        let leader = cluster.wait_for_leader()?;
        let mut client = Client::open(&cluster.address(leader), 900_000_000 + trial as u64).await?;
        let others = cluster.running().filter(|node| *node != leader).collect::<Vec<_>>();
        client.next().await?;
        let killed = Instant::now();
        cluster.kill(leader)?;
        acknowledged(&mut client, cluster, &others).await?;
        gaps.push(killed.elapsed().as_secs_f64() * 1e3);
        cluster.start_node(leader)?;
        cluster.wait_for_all()?;
    }
    row(
        &format!(
            "kill -9 of the leader to the next acknowledged command, ms, {} times",
            effort.trials
        ),
        &gaps,
    );
    Ok(())
}

async fn acknowledged(
    client: &mut Client,
    cluster: &Cluster,
    nodes: &[usize],
) -> anyhow::Result<()> {
    let give_up = Instant::now() + crate::cluster::PATIENCE;
    let mut fresh = true;
    for node in nodes.iter().cycle() {
        anyhow::ensure!(Instant::now() < give_up, "no command was acknowledged again");
        if client.redial(&cluster.address(*node)).await.is_err() {
            continue;
        }
        let attempt = async {
            if std::mem::take(&mut fresh) { client.next().await } else { client.again().await }
        };
        if let Ok(Ok(_)) = tokio::time::timeout(ATTEMPT, attempt).await {
            return Ok(());
        }
    }
    anyhow::bail!("there is no other node")
}
