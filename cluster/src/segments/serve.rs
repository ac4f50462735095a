//! Segments for clients, over gRPC.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use jam_proto::ids::TrackId;
use jam_proto::limits::REQUEST_BYTES_MAX;
use jam_proto::wire::v1::segments_server::{self, SegmentsServer};
use jam_proto::wire::v1::{
    ManifestsReply, ManifestsRequest, Rendition as WireRendition, SegmentChunk, SegmentRequest,
};
use tonic::{Request, Response, Status};

use super::{Rendition, Segments};
use crate::blobs::SongError;

/// Bytes of one message: a listener measures its line by what has come, and sees only whole ones.
const CHUNK_BYTES: usize = 16 << 10;

/// Makes what goes with the last bytes of a segment, to show that sound was fetched.
pub type Receipt = Arc<dyn Fn() -> Vec<u8> + Send + Sync>;

/// The service, with its limits.
pub fn service(
    segments: Arc<Segments>,
    receipt: Receipt,
) -> SegmentsServer<impl segments_server::Segments> {
    SegmentsServer::new(Service { segments, receipt }).max_decoding_message_size(REQUEST_BYTES_MAX)
}

struct Service {
    segments: Arc<Segments>,
    receipt: Receipt,
}

#[tonic::async_trait]
impl segments_server::Segments for Service {
    type SegmentStream = Pin<Box<dyn Stream<Item = Result<SegmentChunk, Status>> + Send>>;

    async fn manifests(
        &self,
        request: Request<ManifestsRequest>,
    ) -> Result<Response<ManifestsReply>, Status> {
        let request = request.get_ref();
        let track = TrackId::from_wire(&request.track).map_err(SongError::from)?;
        let mut renditions = Vec::new();
        for (kbps, pack) in self.segments.packs(track).await? {
            renditions.push(WireRendition {
                kbps,
                hash: pack.hash().to_vec(),
                bytes: pack.bytes(),
                manifest: if request.kbps.contains(&kbps) { pack.wire() } else { Bytes::new() },
            });
        }
        Ok(Response::new(ManifestsReply { renditions }))
    }

    async fn segment(
        &self,
        request: Request<SegmentRequest>,
    ) -> Result<Response<Self::SegmentStream>, Status> {
        let request = request.get_ref();
        let track = TrackId::from_wire(&request.track).map_err(SongError::from)?;
        let of = Rendition { track, kbps: request.kbps };
        let bytes = self.segments.segment(of, request.index as usize, &request.hash).await?;
        let offset = request.offset as usize;
        if offset > bytes.len() {
            let length = bytes.len();
            let message = format!("the segment has {length} bytes; there are none at {offset}");
            return Err(SongError::Invalid(message).into());
        }
        let receipt = Bytes::from((self.receipt)());
        let chunks = stream::unfold(bytes.slice(offset..), move |mut left| {
            let receipt = receipt.clone();
            async move {
                if left.is_empty() {
                    return None;
                }
                let data = left.split_to(left.len().min(CHUNK_BYTES));
                let receipt = if left.is_empty() { receipt } else { Bytes::new() };
                Some((Ok(SegmentChunk { data, receipt }), left))
            }
        });
        Ok(Response::new(Box::pin(chunks)))
    }
}
