//! Takes songs from the depot that no peer has.

use futures_util::{StreamExt, TryStreamExt};
use jam_proto::ids::TrackId;
use tonic::Status;

use super::tally::one_more;
use super::told;
use crate::blobs::{Blobs, SongError};

impl Blobs {
    /// Takes a song from the depot, if there is one, and checks it. Whether it is here now.
    pub(in crate::blobs) async fn take_outside(&self, id: TrackId, bytes: u64) -> bool {
        let Some(outside) = &self.outside else { return false };
        let mut from_start = false;
        let open = async |offset: u64| {
            from_start = offset == 0;
            let read = outside.depot.read(&id, offset);
            match outside.within(outside.rhythm.stalled_after, read).await {
                Ok(data) => Ok(data.map_err(SongError::Disk).boxed()),
                Err(error) => Err(SongError::Relayed(Status::unavailable(told(&error)))),
            }
        };
        let taken = self.take(id, bytes, open, outside.rhythm.stalled_after, |_| ()).await;
        match taken {
            Ok(()) => {
                one_more(&outside.tally.taken);
                tracing::info!(song = %id, "took a song from the songs' store: no other node gave it");
                return true;
            }
            // If it went on where a peer's bytes ended, those may have been the wrong ones: the next try begins anew.
            Err(SongError::HashMismatch) if from_start => {
                one_more(&outside.tally.wrong);
                outside.spoilt(id);
                tracing::error!(
                    song = %id,
                    "the songs' store gave wrong bytes; they are not used, and replaced once this node has the song"
                );
            }
            Err(error) => {
                tracing::warn!(song = %id, %error, "could not take a song from the songs' store");
            }
        }
        false
    }
}
