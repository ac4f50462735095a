//! Looks after the copies here: each is read now and then and checked against its hash. One that is damaged, cut off or
//! gone is not served or counted from the moment it is found, and fetched anew from a peer.
//!
//! Whoever got wrong bytes from here says so ([`Blobs::doubt`]), and that copy is read next. Doubted copies are read at the
//! same pace as all others, one at a time, so that doubting costs a node no more than that.

use std::io;
use std::time::Duration;

use jam_proto::ids::TrackId;
use tokio::time::sleep;

use super::store::Copied;
use super::whole::{Damage, Found};
use super::{Blobs, SongError, Want};

/// How gently songs are read.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes a second.
    pub bytes_per_s: u64,
    /// Between two passes over all of them: a library of a few songs need not be read without end.
    pub pause: Duration,
}

impl Pace {
    /// So many megabytes a second.
    pub fn mb_per_s(megabytes: u64) -> Self {
        Self { bytes_per_s: megabytes * 1_000_000, pause: Duration::from_secs(600) }
    }
}

/// Bytes read at once.
const CHUNK_BYTES: u64 = 256 << 10;
/// A file that is gone, or is longer or shorter, is noticed without reading it: so many files are looked at, so often.
const LOOKED_AT_ONCE: usize = 512;
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Songs that may be doubted and not read yet.
const DOUBTED_MAX: usize = 1024;

impl Blobs {
    /// Somebody got wrong bytes from here. Whether there is a copy to read again.
    pub fn doubt(&self, id: &TrackId) -> bool {
        let mut doubted = self.doubted();
        let taken = self.store.held(id).is_some() && doubted.len() < DOUBTED_MAX;
        if taken && doubted.insert(*id) {
            tracing::warn!(song = %id, "somebody got other bytes from here than this song's; it is read again");
            self.wake_doubt.notify_one();
        }
        taken
    }

    pub(super) async fn keep_doubts_checked(&self) {
        loop {
            let next = self.doubted().first().copied();
            let Some(id) = next else {
                self.wake_doubt.notified().await;
                continue;
            };
            if let Some(copy) = self.store.copy(&id) {
                self.examine(id, copy).await;
            }
            // Only now: who doubts it while it is read needs no other look.
            self.doubted().remove(&id);
        }
    }

    pub(super) async fn keep_scrubbed(&self) {
        loop {
            let mut last = None;
            while let Some((id, copy)) = self.store.held_after(last, 1).pop() {
                self.examine(id, copy).await;
                last = Some(id);
            }
            sleep(self.pace.pause).await;
        }
    }

    /// Looks at all copies in turn, without reading them.
    pub(super) async fn keep_looked_at(&self) {
        let mut last = None;
        loop {
            let songs = self.store.held_after(last, LOOKED_AT_ONCE);
            last = songs.last().map(|(id, _)| *id).filter(|_| songs.len() == LOOKED_AT_ONCE);
            let store = self.store.clone();
            let look = move || {
                let looked =
                    songs.into_iter().map(|(id, copy)| (id, copy, store.look_at(&id, copy)));
                looked.collect::<Vec<_>>()
            };
            for (id, copy, found) in self.world.blocking(look).await.unwrap_or_default() {
                self.judge(id, copy, found).await;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Reads a copy, and sees to it that it is repaired if that has to be.
    async fn examine(&self, id: TrackId, copy: Copied) {
        let found = self.read_through(id, copy).await;
        self.judge(id, copy, found).await;
    }

    async fn judge(&self, id: TrackId, copy: Copied, found: io::Result<Found<()>>) {
        match found {
            Ok(Ok(())) => {}
            Ok(Err(damage)) => self.lose(id, copy, damage).await,
            // No proof that the bytes are gone, and they may be the only ones.
            Err(error) => {
                self.tally.unreadable();
                tracing::error!(song = %id, %error, "could not read a song to check it; it stays");
            }
        }
    }

    async fn read_through(&self, id: TrackId, copy: Copied) -> io::Result<Found<()>> {
        let store = self.store.clone();
        let file = match self.world.try_blocking(move || store.open_copy(&id, copy)).await? {
            Ok(file) => file,
            Err(damage) => return Ok(Err(damage)),
        };
        let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
        while at < copy.bytes {
            let count = CHUNK_BYTES.min(copy.bytes - at);
            let file = file.clone();
            let read = move || {
                let mut chunk = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
                file.read_exact_at(&mut chunk, at)?;
                hasher.update(&chunk);
                Ok(hasher)
            };
            hasher = match self.world.try_blocking(read).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(Err(Damage::Length));
                }
                read => read?,
            };
            at += count;
            self.tally.scrubbed(count);
            sleep(Duration::from_secs_f64(count as f64 / self.pace.bytes_per_s as f64)).await;
        }
        let is_right = hasher.finalize().as_bytes() == &id.0;
        Ok(if is_right { Ok(()) } else { Err(Damage::Bytes) })
    }

    /// A copy is no good: from here on it is not served and does not count, and a good one is fetched.
    pub(super) async fn lose(&self, id: TrackId, copy: Copied, damage: Damage) {
        if !self.store.disown(&id, copy) {
            return;
        }
        self.tally.damaged();
        tracing::error!(song = %id, %damage, "this node's copy of a song is no good; a good one is fetched");
        // First it is out of the way: what is fetched gets its place.
        if let Err(error) = self.store.set_aside(id).await {
            tracing::error!(song = %id, %error, "could not set a damaged song aside");
        }
        if let Some(bytes) = self.cluster.blob(&id) {
            self.wanted().insert(id, Want::new(bytes, true));
            self.wake.notify_one();
        }
    }

    /// For somebody who is about to count on the copy here: whether there is one, and it is right. It is read in full.
    pub(super) async fn count_on(&self, id: TrackId) -> Result<Option<u64>, SongError> {
        let Some(before) = self.store.copy(&id) else { return Ok(None) };
        match self.store.count_on(id).await? {
            Some(Ok(copy)) => Ok(Some(copy.bytes)),
            Some(Err(damage)) => {
                self.lose(id, before, damage).await;
                Ok(None)
            }
            None => Ok(None),
        }
    }
}
