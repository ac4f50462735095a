//! Which node leads, as somebody outside sees it.

use std::time::Duration;

use anyhow::Context;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::{ClusterStatusReply, ClusterStatusRequest};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Endpoint;

/// A node that does not answer within this has no say. Nodes ask each other first, for half a second at most.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Which nodes to ask.
#[derive(clap::Args)]
pub struct Leader {
    /// Where they listen.
    #[arg(required = true, value_name = "HOST:PORT")]
    nodes: Vec<String>,
}

impl Leader {
    /// The place in the list of the node that leads, counted from 0.
    ///
    /// # Errors
    /// If no node leads by the newest term that anybody knows of, or if that node does not answer itself.
    pub async fn find(&self) -> anyhow::Result<usize> {
        let mut asked = JoinSet::new();
        for (index, address) in self.nodes.iter().cloned().enumerate() {
            asked.spawn(async move {
                let answer = timeout(ANSWER_MAX, ask(address)).await.ok()?.ok()?;
                Some((index, answer))
            });
        }
        let answers: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
        let newest = answers.iter().map(|(_, answer)| answer.term).max();
        let leads = |answer: &ClusterStatusReply| {
            Some(answer.term) == newest && answer.leader == answer.answered_by
        };
        let leader = answers.iter().find(|(_, answer)| leads(answer));
        leader.map(|(index, _)| *index).context("none of these nodes leads now")
    }
}

async fn ask(address: String) -> anyhow::Result<ClusterStatusReply> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    Ok(ClusterClient::new(channel).status(ClusterStatusRequest {}).await?.into_inner())
}
