//! Who leads, and who is there: asked of every node itself, past all links.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::{ClusterStatusReply, ClusterStatusRequest};
use jam_world::World;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

const LOOK_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(400);

/// How the cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The place of the node that leads, if one does.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// The places of the nodes that answer.
    pub there: BTreeSet<u64>,
}

/// Looks at nodes for ever; `addresses` by place.
pub async fn look_out(addresses: Vec<String>, tell: watch::Sender<Standing>) {
    let world = World::real();
    let channels: Vec<Channel> = addresses
        .iter()
        .map(|address| {
            let uri = format!("http://{address}");
            world.channel(Endpoint::from_shared(uri).expect("our own addresses are good"))
        })
        .collect();
    loop {
        let answers = join_all(channels.iter().map(|channel| ask(channel.clone()))).await;
        let standing = sum_up(answers);
        tell.send_if_modified(|before| {
            let changed = *before != standing;
            *before = standing;
            changed
        });
        sleep(LOOK_EVERY).await;
    }
}

async fn ask(channel: Channel) -> Option<ClusterStatusReply> {
    let mut cluster = ClusterClient::new(channel);
    let asked = timeout(PATIENCE, cluster.status(ClusterStatusRequest {})).await;
    asked.ok()?.ok().map(tonic::Response::into_inner)
}

/// The newest leader that says so itself.
fn sum_up(answers: Vec<Option<ClusterStatusReply>>) -> Standing {
    let mut standing = Standing::default();
    for (place, answer) in (1..).zip(answers) {
        let Some(answer) = answer else { continue };
        standing.there.insert(place);
        if answer.leader != 0 && answer.leader == answer.answered_by && answer.term > standing.term
        {
            (standing.leader, standing.term) = (Some(place), answer.term);
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_leader_does_not_count() {
        let answer = |answered_by, leader, term| {
            Some(ClusterStatusReply { answered_by, leader, term, ..ClusterStatusReply::default() })
        };
        let standing = sum_up(vec![answer(1, 1, 3), None, answer(3, 3, 4)]);
        assert_eq!((standing.leader, standing.term), (Some(3), 4));
        assert_eq!(standing.there, [1, 3].into());
        assert_eq!(sum_up(vec![answer(1, 2, 3)]).leader, None);
    }
}
