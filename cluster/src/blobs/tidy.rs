//! Clears away what nobody needs: unfinished files, and songs that the log does not have, or not any more.

use std::time::Duration;

use jam_proto::ids::TrackId;
use tokio::time::sleep;

use super::{Blobs, SongError};

/// Between two looks for files that have expired.
const TIDY_EVERY: Duration = Duration::from_secs(3600);

impl Blobs {
    /// The log has forgotten a song. Quick: may be called for each applied entry.
    ///
    /// Its bytes go at once, unless somebody counted on them within a day: that may be an upload of the same song that is to be
    /// committed behind this entry.
    pub fn forget(&self, id: &TrackId) {
        self.wanted().remove(id);
        if let Some(outside) = &self.outside {
            outside.forget(*id);
        }
        self.forgotten().insert(*id);
        self.wake_tidy.notify_one();
    }

    /// The state was replaced: only what it has is wanted.
    pub fn want_only(&self, has: impl Fn(&TrackId) -> bool) {
        self.wanted().retain(|id, _| has(id));
    }

    pub(super) async fn keep_tidy(&self) {
        loop {
            if let Err(error) = self.store.expire(self.world.clock.wall()) {
                tracing::error!(%error, "could not look for uploads that have expired");
            }
            self.drop_uncommitted(self.store.all_held()).await;
            let all_again = sleep(TIDY_EVERY);
            tokio::pin!(all_again);
            loop {
                tokio::select! {
                    () = &mut all_again => break,
                    () = self.wake_tidy.notified() => {
                        let forgotten = std::mem::take(&mut *self.forgotten());
                        self.drop_uncommitted(forgotten.into_iter().collect()).await;
                    }
                }
            }
        }
    }

    /// Removes those of these songs that are not committed and that nobody counted on within a day: songs that were
    /// forgotten, and uploads that found no quorum, and whose clients never came back.
    ///
    /// A copy here may be one of a majority whose commit this node has not applied yet, so it first catches
    /// up with the log.
    async fn drop_uncommitted(&self, mut songs: Vec<TrackId>) {
        songs.retain(|id| self.cluster.blob(id).is_none());
        if songs.is_empty() {
            return;
        }
        if let Err(status) = self.cluster.catch_up().await {
            tracing::debug!(%status, "songs that are not committed stay for now");
            return;
        }
        for id in songs {
            match self.remove_left(id).await {
                Ok(true) => {
                    self.tally.collected();
                    tracing::info!(song = %id, "removed a song that the cluster does not have");
                }
                Ok(false) => {}
                Err(error) => tracing::error!(song = %id, %error, "could not remove a song"),
            }
        }
    }

    async fn remove_left(&self, id: TrackId) -> Result<bool, SongError> {
        let cluster = self.cluster.clone();
        let is_committed = move || cluster.blob(&id).is_some();
        let removed = self.store.remove_left(id, self.world.clock.wall(), is_committed).await?;
        if removed {
            let shelf = self.shelf.clone();
            self.world.try_blocking(move || shelf.remove_all(&id)).await?;
        }
        Ok(removed)
    }
}
