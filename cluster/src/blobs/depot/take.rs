//! Takes songs from the depot that no peer has.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt, TryStreamExt};
use jam_proto::ids::TrackId;
use tonic::Status;

use super::tally::one_more;
use super::{DepotError, told};
use crate::blobs::{Blobs, SongError};

/// Whether a song came from the depot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::blobs) enum TakenOutside {
    /// It is here now.
    Here,
    /// There is no depot, or it does not have the song.
    Missing,
    /// The depot may have it.
    Unknown,
}

impl Blobs {
    /// Takes a song from the depot, if there is one, and checks it.
    pub(in crate::blobs) async fn take_outside(&self, id: TrackId, bytes: u64) -> TakenOutside {
        let Some(outside) = &self.outside else { return TakenOutside::Missing };
        let (mut from_start, mut missing) = (false, false);
        let open = async |offset: u64| {
            from_start = offset == 0;
            let read = outside.depot.read(&id, offset);
            match outside.within(outside.rhythm.stalled_after, read).await {
                Ok(data) => Ok(data.map_err(SongError::Disk).boxed()),
                Err(DepotError::Missing) => {
                    // Another cluster's depot says nothing of this one's songs.
                    missing = outside.is_claimed.load(Ordering::Relaxed);
                    Err(SongError::Relayed(Status::not_found(told(&DepotError::Missing))))
                }
                Err(error) => Err(SongError::Relayed(Status::unavailable(told(&error)))),
            }
        };
        let taken = self.take(id, bytes, open, outside.rhythm.stalled_after, |_| ()).await;
        match taken {
            Ok(()) => {
                one_more(&outside.tally.taken);
                tracing::info!(song = %id, "took a song from the songs' store: no other node gave it");
                return TakenOutside::Here;
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
        if missing { TakenOutside::Missing } else { TakenOutside::Unknown }
    }
}
