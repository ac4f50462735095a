//! Reads what is here once more, since what was right when it came may go bad on the disk, and tells what is wrong with that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jam_proto::ids::TrackId;
use tokio::time::sleep;

use super::cache::SongCache;
use super::local::LocalRendition;
use crate::news::News;

/// One of the segments that are ready is read so often.
const REREAD_EVERY: Duration = Duration::from_secs(1);

/// A segment's place among all: song, quality, number.
type Place = (TrackId, u32, usize);

impl SongCache {
    /// Reads what is ready in turn, for ever. What has gone bad is fetched again.
    pub(super) async fn keep_checked(&self) {
        let mut last = None;
        loop {
            sleep(REREAD_EVERY).await;
            let Some((place, rendition)) = self.next_ready(last) else { continue };
            last = Some(place);
            let shelf = self.shelf.clone();
            let read = move || Ok(shelf.load(&rendition, place.2).map(drop));
            if let Ok(None) = self.on_disk(read).await {
                self.reporter.tell(News::Trouble(
                    "a song in the cache went bad on the disk; it is fetched again".to_owned(),
                ));
            }
        }
    }

    /// A segment could not be written: it is kept in memory, as all that come after it.
    pub(super) fn tell_unwritable(&self, error: &io::Error) {
        if !self.told_unwritable.swap(true, Ordering::Relaxed) {
            self.reporter.tell(News::Trouble(format!(
                "can't write the song cache: {error}; songs are kept in memory; free some space or pass --cache-dir"
            )));
        }
    }

    /// The one behind the last one; the first one behind the very last.
    fn next_ready(&self, last: Option<Place>) -> Option<(Place, Arc<LocalRendition>)> {
        let mut first = None;
        let mut next: Option<(Place, Arc<LocalRendition>)> = None;
        for (track, known) in self.known.load().iter() {
            for rendition in known.song.renditions().iter() {
                let count = rendition.manifest.segments().len();
                for index in (0..count).filter(|index| rendition.is_ready(*index)) {
                    let place = (*track, rendition.kbps, index);
                    let least = if Some(place) > last { &mut next } else { &mut first };
                    if least.as_ref().is_none_or(|(least, _)| place < *least) {
                        *least = Some((place, rendition.clone()));
                    }
                }
            }
        }
        next.or(first)
    }
}
