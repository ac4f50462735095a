//! What operators ask of it.

use jam_proto::wire::v1 as wire;
use tonic::{Request, Response, Status};
use wire::cluster_server::Cluster;

use super::{CLUSTER_ID, FakeNode, Fault};

#[tonic::async_trait]
impl Cluster for FakeNode {
    async fn status(
        &self,
        _: Request<wire::ClusterStatusRequest>,
    ) -> Result<Response<wire::ClusterStatusReply>, Status> {
        let node = wire::NodeStatus {
            id: 1,
            address: self.address(),
            role: "leader".into(),
            applied: 7,
            alive: true,
            place: 1,
        };
        let fault = self.state().fault;
        let leader = if matches!(fault, Fault::NoQuorum | Fault::Elects(_)) { 0 } else { 1 };
        let other = |id: u64| wire::NodeStatus {
            id,
            address: "127.0.0.1:1".into(),
            role: "voter".into(),
            ..wire::NodeStatus::default()
        };
        // A majority is gone, or it is there and elects.
        let nodes = match fault {
            Fault::NoQuorum => vec![node, other(2), other(3)],
            _ => vec![node],
        };
        let reply = wire::ClusterStatusReply {
            cluster_id: CLUSTER_ID.to_vec(),
            leader,
            term: 1,
            epoch: 1,
            level: 1,
            answered_by: 1,
            nodes,
        };
        Ok(Response::new(reply))
    }

    async fn transfer(
        &self,
        _: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::TransferReply>, Status> {
        Ok(Response::new(wire::TransferReply { leader: 1 }))
    }

    async fn replace(
        &self,
        _: Request<wire::ReplaceRequest>,
    ) -> Result<Response<wire::ReplaceReply>, Status> {
        Ok(Response::new(wire::ReplaceReply { replacement: 4, state: "catching up".into() }))
    }

    async fn raise_level(
        &self,
        _: Request<wire::RaiseLevelRequest>,
    ) -> Result<Response<wire::RaiseLevelReply>, Status> {
        Ok(Response::new(wire::RaiseLevelReply { level: 1 }))
    }

    async fn lost_songs(
        &self,
        request: Request<wire::LostSongsRequest>,
    ) -> Result<Response<wire::LostSongsReply>, Status> {
        let mark = request.into_inner().mark;
        let song = wire::LostSong {
            id: vec![9; 32],
            title: "gone".into(),
            marked: mark == [9; 32],
            ..Default::default()
        };
        Ok(Response::new(wire::LostSongsReply { songs: vec![song] }))
    }

    async fn snapshot(
        &self,
        _: Request<wire::SnapshotRequest>,
    ) -> Result<Response<wire::SnapshotReply>, Status> {
        Ok(Response::new(wire::SnapshotReply { index: 7 }))
    }
}
