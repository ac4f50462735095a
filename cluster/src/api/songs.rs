//! Songs for clients: what the cluster has, uploads, and bytes.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use jam_proto::ids::TrackId;
use jam_proto::limits::{CHUNK_BYTES_MAX, REQUEST_BYTES_MAX};
use jam_proto::wire::v1::songs_server::{Songs, SongsServer};
use jam_proto::wire::v1::{
    DoubtReply, DoubtRequest, FetchRequest, HaveReply, HaveRequest, UploadChunk, UploadReply,
};
use tonic::{Request, Response, Status, Streaming};

use super::origin;
use crate::blobs::{Added, Blobs, Received, SongError};

/// The service, with its limits.
pub fn service(blobs: Arc<Blobs>) -> SongsServer<impl Songs> {
    SongsServer::new(Service { blobs })
        .max_decoding_message_size(CHUNK_BYTES_MAX + REQUEST_BYTES_MAX)
}

struct Service {
    blobs: Arc<Blobs>,
}

#[tonic::async_trait]
impl Songs for Service {
    type FetchStream = crate::blobs::ChunkStream;

    async fn have(&self, request: Request<HaveRequest>) -> Result<Response<HaveReply>, Status> {
        let id = TrackId::from_wire(&request.get_ref().id).map_err(SongError::from)?;
        let reply = match self.blobs.have(&id) {
            Ok(track) => HaveReply { track: Some(track), offset: 0 },
            Err(offset) => HaveReply { track: None, offset },
        };
        Ok(Response::new(reply))
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadChunk>>,
    ) -> Result<Response<UploadReply>, Status> {
        let origin = origin::line(&request);
        let mut chunks = request.into_inner();
        let first = chunks.message().await?;
        let (start, data) =
            first.and_then(|first| Some((first.start?, first.data))).ok_or_else(|| {
                SongError::Invalid(
                    "the first message of an upload must say what it is of".to_owned(),
                )
            })?;
        let start = Received {
            id: TrackId::from_wire(&start.id).map_err(SongError::from)?,
            bytes: start.bytes,
            offset: start.offset,
            file_name: start.file_name,
            origin,
        };
        let rest = chunks.map(|chunk| chunk.map(|chunk| chunk.data));
        let data = stream::iter([Ok(data)]).chain(rest);
        let Added { track, missing_frames } = self.blobs.upload(start, data).await?;
        Ok(Response::new(UploadReply { track: Some(track), missing_frames }))
    }

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        Ok(Response::new(self.blobs.read(request.get_ref()).await?))
    }

    async fn doubt(&self, request: Request<DoubtRequest>) -> Result<Response<DoubtReply>, Status> {
        let id = TrackId::from_wire(&request.get_ref().id).map_err(SongError::from)?;
        self.blobs.doubt(&id);
        Ok(Response::new(DoubtReply {}))
    }
}
