//! Whoever runs the cluster: replaces nodes whose disks were lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jam_cluster::refusal::code_of;
use jam_proto::wire::v1::ReplaceRequest;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_world::World;
use tokio::time::{sleep, timeout};

use super::Nodes;

const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the operator is told to do. Clones share it.
#[derive(Clone, Default)]
pub struct Orders(Arc<Mutex<VecDeque<u64>>>);

impl Orders {
    /// The node at this place lost its disk, or says itself that it is to be replaced.
    pub fn replace(&self, place: u64) {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !orders.contains(&place) {
            orders.push_back(place);
        }
    }

    /// A node ended, and this is the last that it said: an operator reads it, and does what it says. It may be said of a
    /// node that was replaced a moment ago: the disk of its successor is lost too. Whether the next start is to find an empty
    /// data folder.
    #[must_use]
    pub fn read(&self, place: u64, said: &str) -> bool {
        if said.contains(&format!("cluster replace {place}`")) {
            self.replace(place);
        }
        said.contains("move its data folder away and start jamd")
    }

    fn next(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Does what there is to do, for ever.
pub async fn run(world: &World, addresses: &[String], orders: Orders) {
    let mut nodes = Nodes::new(world, addresses, 0);
    loop {
        let Some(node) = orders.next() else {
            sleep(LOOK_EVERY).await;
            continue;
        };
        loop {
            nodes.go_on();
            if nodes.place() != node {
                let mut cluster = ClusterClient::new(nodes.current());
                let asked = timeout(PATIENCE, cluster.replace(ReplaceRequest { node })).await;
                match asked {
                    Ok(Ok(_)) => break,
                    // It is up: its disk is not lost, or not any more.
                    Ok(Err(status)) if code_of(&status) == Some("invalid") => break,
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_does_what_nodes_say() {
        let orders = Orders::default();
        let lost =
            "its disk was lost. Run `jam --servers n1:1 cluster replace 3`, then start this again";
        assert!(!orders.read(3, lost));
        let replaced = "node 100 was replaced by node 101; move its data folder away and start jamd --id 3 with an empty one";
        assert!(orders.read(3, replaced));
        assert_eq!((orders.next(), orders.next()), (Some(3), None), "101 waits already");
    }
}
