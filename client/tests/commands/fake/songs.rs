//! Uploads to a node for tests.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use jam_proto::ids::TrackId;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1 as log;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1 as wire;
use tonic::{Code, Request, Response, Status, Streaming};
use wire::songs_server::Songs;

use super::{FakeNode, refusal};

#[tonic::async_trait]
impl Songs for FakeNode {
    async fn have(
        &self,
        request: Request<wire::HaveRequest>,
    ) -> Result<Response<wire::HaveReply>, Status> {
        let state = self.state();
        let id = request.into_inner().id;
        let track = TrackId::from_wire(&id).ok().and_then(|id| state.shard.track(&id).cloned());
        let offset = state.parts.get(&id).map_or(0, Vec::len) as u64;
        Ok(Response::new(wire::HaveReply { track, offset }))
    }

    async fn upload(
        &self,
        request: Request<Streaming<wire::UploadChunk>>,
    ) -> Result<Response<wire::UploadReply>, Status> {
        let mut chunks = request.into_inner();
        let first = chunks.next().await.ok_or_else(|| Status::invalid_argument("empty"))??;
        let start = first.start.ok_or_else(|| Status::invalid_argument("no start"))?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let mut state = self.state();
            let part = state.parts.entry(start.id.clone()).or_default();
            part.extend_from_slice(&chunk.data);
            let have = part.len();
            if state.break_upload_at.is_some_and(|at| have >= at) {
                state.break_upload_at = None;
                return Err(Status::unavailable("the connection broke"));
            }
        }
        let mut state = self.state();
        let bytes = state.parts.remove(&start.id).unwrap_or_default();
        if bytes.len() as u64 != start.bytes
            || blake3::hash(&bytes).as_bytes() != start.id.as_slice()
        {
            return Err(refusal(
                Code::InvalidArgument,
                "invalid",
                "the bytes are not those of the id",
            ));
        }
        if !bytes.starts_with(b"song") {
            return Err(refusal(
                Code::InvalidArgument,
                "unsupported_song",
                "this is not a song in a format that Jam knows",
            ));
        }
        let track = wire::Track {
            id: start.id,
            title: start.file_name,
            frames: 44_100 * 60,
            sample_rate: 44_100,
            channels: 2,
            bytes: start.bytes,
            ..wire::Track::default()
        };
        let op = Op::RegisterTrack(log::RegisterTrack { track: Some(track), ..Default::default() });
        let Outcome::Track(track) = state.apply(op) else {
            return Err(Status::internal("not registered"));
        };
        let missing_frames = if bytes.ends_with(b"cut") { 1152 } else { 0 };
        Ok(Response::new(wire::UploadReply { track: Some(track), missing_frames }))
    }

    type FetchStream = Pin<Box<dyn Stream<Item = Result<wire::FetchChunk, Status>> + Send>>;
    async fn fetch(
        &self,
        _: Request<wire::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn doubt(
        &self,
        _: Request<wire::DoubtRequest>,
    ) -> Result<Response<wire::DoubtReply>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }
}
