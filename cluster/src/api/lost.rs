//! For operators: the songs that are lost, and to say that one is.

use jam_proto::ids::TrackId;
use jam_proto::wire::v1::cluster_client::ClusterClient;
use jam_proto::wire::v1::{LostSongsReply, LostSongsRequest};
use tokio::time::{Duration, Instant};

use super::cluster::ClusterService;
use crate::forward::{Kind, Leader, Way};
use crate::links::{Failed, judge};
use crate::lost;
use crate::refusal::Refusal;

const TIMEOUT: Duration = Duration::from_secs(5);

impl ClusterService {
    /// Answers here, or has the leader answer: only the leader knows what all the others said.
    pub(super) async fn lost_songs_at_leader(
        &self,
        request: LostSongsRequest,
    ) -> Result<LostSongsReply, Refusal> {
        // To mark a song twice does nothing.
        let kind = if request.mark.is_empty() { Kind::Read } else { Kind::Edit };
        let asked = self.forwarder.at_leader(kind, Instant::now() + TIMEOUT, |leader| {
            let request = request.clone();
            async move {
                match leader {
                    Leader::Here => self.lost_songs_here(request).await,
                    Leader::There(Way { channel, .. }) => {
                        let request = self.forwarder.links().request(request);
                        let reply = ClusterClient::new(channel).lost_songs(request).await;
                        reply.map(tonic::Response::into_inner).map_err(|status| judge(&status))
                    }
                }
            }
        });
        asked.await
    }

    pub(super) async fn lost_songs_here(
        &self,
        request: LostSongsRequest,
    ) -> Result<LostSongsReply, Failed> {
        let standing = self.group.standing();
        if standing.leader != Some(standing.id) {
            return Err(Failed::NotTaken(Refusal::NotLeader));
        }
        if !request.mark.is_empty() {
            let id =
                TrackId::from_wire(&request.mark).map_err(|error| Failed::Refused(error.into()))?;
            let marked = lost::mark_for_operator(&self.group, &self.blobs, &id).await;
            marked.map_err(|refusal| match refusal {
                Refusal::Unknown => Failed::Lost,
                Refusal::NotLeader | Refusal::NoQuorum | Refusal::NoLeader => {
                    Failed::NotTaken(refusal)
                }
                refusal => Failed::Refused(refusal),
            })?;
        }
        Ok(LostSongsReply { songs: lost::list(&self.group, &self.blobs) })
    }
}
