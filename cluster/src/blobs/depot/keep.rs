//! Keeps the depot complete, and no fuller than the log says.
//!
//! One node does it: the leader. What is to be done comes from the log as it is applied, and when a node begins to lead, and
//! a few times a day, from comparing what is there with what is committed; so there is nothing to remember, and
//! nothing that a crash could leave undone for good.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use jam_proto::ids::TrackId;
use tokio::time::{Instant, sleep};

use super::tally::one_more;
use super::{Data, DepotError, Listing, Outside, told};
use crate::blobs::Blobs;
use crate::blobs::serve::{ByteStream, Song};

/// A song that is there and not committed stays for this long after it was put, unless the log was seen to forget it: with
/// an older copy of the log, the newer songs must still be there for a newer copy.
const UNKNOWN_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// A list takes a request for each 1,000 songs.
const LIST_PATIENCE: u32 = 10;
/// After so many songs in a row that could not be put there, it is not about those songs.
const FAILURES_IN_A_ROW: u32 = 3;

/// How far this node is.
#[derive(Debug, Default)]
struct Round {
    /// When the depot was compared last, and in which term.
    compared: Option<(u64, Instant)>,
    /// Songs up to this one were tried before it failed too often: those behind it have their turn first.
    tried: Option<TrackId>,
}

impl Blobs {
    pub(in crate::blobs) async fn keep_outside(self: &Arc<Self>) {
        let Some(outside) = &self.outside else { return };
        let rhythm = outside.rhythm;
        let (mut round, mut pause) = (Round::default(), rhythm.pause_min);
        loop {
            match self.keep_once(outside, &mut round).await {
                Ok(()) => {
                    pause = rhythm.pause_min;
                    tokio::select! {
                        () = outside.wake.notified() => {}
                        () = sleep(rhythm.look_every) => {}
                    }
                }
                Err(error) => {
                    one_more(&outside.tally.failed);
                    let (error, owed) = (told(&error), outside.owed());
                    tracing::warn!(error, owed, again_in = ?pause, "the songs' store is not complete");
                    sleep(pause).await;
                    pause = (pause * 2).min(rhythm.pause_max);
                }
            }
        }
    }

    async fn keep_once(
        self: &Arc<Self>,
        outside: &Outside,
        round: &mut Round,
    ) -> Result<(), DepotError> {
        outside.claim().await?;
        let Some(term) = self.cluster.leads_in() else {
            outside.leave_to_leader();
            return self.put_owed(outside, None, round).await;
        };
        let is_due = |(in_term, at): &(u64, Instant)| {
            *in_term != term || at.elapsed() >= outside.rhythm.compare_every
        };
        if round.compared.as_ref().is_none_or(is_due) {
            if self.cluster.catch_up().await.is_err() {
                // Before that, what is committed is not known.
                return Ok(());
            }
            self.compare(outside).await?;
            round.compared = Some((term, Instant::now()));
        }
        let put = self.put_owed(outside, Some(term), round).await;
        self.remove_gone(outside, term).await.and(put)
    }

    async fn compare(&self, outside: &Outside) -> Result<(), DepotError> {
        // In this order: what is committed behind this is owed anyway.
        let committed: BTreeMap<_, _> = self.cluster.blobs().into_iter().collect();
        let patience = outside.rhythm.stalled_after * LIST_PATIENCE;
        let listed = outside.within(patience, outside.depot.list()).await?;
        let (owed, unknown) = difference(&committed, &listed, self.world.clock.wall());
        outside.tally.listed(listed.len());
        tracing::info!(
            listed = listed.len(),
            owed = owed.len(),
            unknown = unknown.len(),
            "compared the songs' store with the log"
        );
        let is_there = |id: &TrackId| {
            listed.get(id).is_some_and(|stored| committed.get(id) == Some(&stored.bytes))
        };
        outside.compared(owed, is_there);
        outside.give_back(unknown);
        Ok(())
    }

    /// Puts there what is owed, one song after the other: whoever leads has better things to do. `term`: that in which this
    /// node leads.
    async fn put_owed(
        self: &Arc<Self>,
        outside: &Outside,
        term: Option<u64>,
        round: &mut Round,
    ) -> Result<(), DepotError> {
        let (mut last, mut in_a_row, mut failure) = (round.tried.take(), 0, None);
        while let Some(id) = outside.owed_after(last) {
            last = Some(id);
            if self.cluster.leads_in() != term {
                break;
            }
            if self.cluster.blob(&id).is_none() {
                outside.settled(&id);
                continue;
            }
            // What this node lacks it fetches, and then it is its turn.
            let Some(song) = self.song(&id).await else { continue };
            match self.put(outside, id, song).await {
                Ok(()) => in_a_row = 0,
                Err(error) => {
                    tracing::debug!(song = %id, error = told(&error), "could not put a song into the songs' store");
                    in_a_row += 1;
                    failure = Some(error);
                }
            }
            if in_a_row == FAILURES_IN_A_ROW {
                round.tried = last;
                break;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn put(&self, outside: &Outside, id: TrackId, song: Song) -> Result<(), DepotError> {
        let bytes = song.length();
        let patience = Duration::from_secs(bytes / outside.rhythm.slowest_bytes_per_s);
        let put = outside.depot.put(&id, checked(id, song.bytes(0, bytes)));
        let put = outside.within(outside.rhythm.stalled_after + patience, put).await;
        if matches!(put, Err(DepotError::Unread(_))) {
            // Read again at once, and repaired if it has to be.
            self.doubt(&id);
        }
        put?;
        outside.settled(&id);
        one_more(&outside.tally.put);
        outside.tally.put_bytes.fetch_add(bytes, Relaxed);
        tracing::debug!(song = %id, bytes, "a song is in the songs' store");
        Ok(())
    }

    /// Removes what the log forgot. Nothing is put meanwhile, and nobody else removes or puts while this node leads.
    async fn remove_gone(&self, outside: &Outside, term: u64) -> Result<(), DepotError> {
        let mut gone = outside.take_gone();
        while let Some(id) = gone.first().copied() {
            let may_go = self.cluster.leads_in() == Some(term) && self.cluster.blob(&id).is_none();
            if may_go {
                let remove = outside.depot.remove(&id);
                if let Err(error) = outside.within(outside.rhythm.stalled_after, remove).await {
                    outside.give_back(gone);
                    return Err(error);
                }
                one_more(&outside.tally.removed);
                tracing::info!(song = %id, "removed a song from the songs' store: the cluster forgot it");
            }
            gone.remove(&id);
        }
        Ok(())
    }
}

/// What is to be put into a depot, and what is to go from there.
fn difference(
    committed: &BTreeMap<TrackId, u64>,
    listed: &Listing,
    now: SystemTime,
) -> (BTreeSet<TrackId>, BTreeSet<TrackId>) {
    let is_there = |id: &TrackId, bytes| listed.get(id).is_some_and(|stored| stored.bytes == bytes);
    let owed = committed.iter().filter(|(id, bytes)| !is_there(id, **bytes));
    let unknown = listed.iter().filter(|(id, stored)| {
        let is_old = now.duration_since(stored.since).is_ok_and(|age| age > UNKNOWN_KEPT);
        is_old && !committed.contains_key(id)
    });
    (owed.map(|(id, _)| *id).collect(), unknown.map(|(id, _)| *id).collect())
}

/// A song's bytes, ending in an error if they turn out not to be the song's.
fn checked(id: TrackId, bytes: ByteStream) -> Data {
    let read = (bytes, Some(blake3::Hasher::new()));
    stream::try_unfold(read, move |(mut bytes, hasher)| async move {
        let Some(mut hasher) = hasher else { return Ok(None) };
        match bytes.next().await {
            Some(chunk) => {
                let chunk = chunk?;
                hasher.update(&chunk);
                Ok(Some((chunk, (bytes, Some(hasher)))))
            }
            None if hasher.finalize().as_bytes() == &id.0 => Ok(None),
            None => Err(io::Error::other("its bytes do not have its hash")),
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::super::Stored;
    use super::*;

    #[test]
    fn what_is_owed_and_what_goes() {
        let now = SystemTime::UNIX_EPOCH + UNKNOWN_KEPT * 3;
        let [whole, lacking, cut, old, new] = [1, 2, 3, 4, 5].map(|n| TrackId([n; 32]));
        let committed = BTreeMap::from([(whole, 10), (lacking, 10), (cut, 10)]);
        let stored = |bytes, age| Stored { bytes, since: now - age };
        let listed = Listing::from([
            (whole, stored(10, UNKNOWN_KEPT * 2)),
            (cut, stored(9, Duration::ZERO)),
            (old, stored(10, UNKNOWN_KEPT * 2)),
            (new, stored(10, UNKNOWN_KEPT / 2)),
        ]);
        let (owed, unknown) = difference(&committed, &listed, now);
        assert_eq!(owed, BTreeSet::from([lacking, cut]));
        assert_eq!(unknown, BTreeSet::from([old]));
    }
}
