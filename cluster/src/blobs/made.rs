//! What is made of songs here: covers, waveforms, renditions. Each is named by its hash, and kept as durably as a song.

use std::io;
use std::sync::Arc;

use futures_util::future::try_join_all;
use jam_media::SongInfo;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::{Derived, Track};

use super::pen::Via;
use super::room::Promise;
use super::{Blobs, SongError};
use crate::draft::Draft;
use crate::media;

impl Blobs {
    /// Begins to write something that is made here. Blocks.
    pub(crate) fn draft(&self) -> io::Result<Draft> {
        self.store.drafts.begin()
    }

    /// Keeps what was written, durably on this node.
    pub(crate) async fn keep(&self, name: String, draft: Draft) -> Result<Derived, SongError> {
        let (id, bytes) = (draft.id(), draft.bytes());
        let derived = Derived { name, id: id.to_wire(), bytes };
        let right = self.store.pen(id, Via::Whole).await;
        let keep = move || right.store.take_in(&id, draft.path());
        self.world.try_blocking(keep).await.map_err(|error| SongError::of_write(error, bytes))?;
        Ok(derived)
    }

    /// Keeps what was found in a song while it was inspected.
    pub(super) async fn keep_found(&self, found: Found) -> Result<Vec<Derived>, SongError> {
        let mut kept = Vec::new();
        for (name, bytes) in found.to_keep {
            let store = self.store.clone();
            let write = move || {
                let mut draft = store.drafts.begin()?;
                draft.write(&bytes).map(|()| draft)
            };
            let draft = self.world.try_blocking(write).await;
            let draft = draft.map_err(|error| SongError::of_write(error, 0))?;
            kept.push(self.keep(name.to_owned(), draft).await?);
        }
        Ok(kept)
    }

    /// Returns once a majority holds all of these durably.
    pub(crate) async fn spread(self: &Arc<Self>, derived: &[Derived]) -> Result<(), SongError> {
        let copies = derived.iter().map(|one| async move {
            let id = TrackId::from_wire(&one.id)?;
            self.copy_to_majority(id, one.bytes).await.map(drop)
        });
        try_join_all(copies).await.map(drop)
    }

    /// Inspects a song once more that is here, for its cover and its waveform.
    pub(crate) async fn find_again(
        self: &Arc<Self>,
        id: TrackId,
        track: &Track,
    ) -> Result<Vec<Derived>, SongError> {
        let file = self.file(&id).await.ok_or(SongError::NotHere(id))?;
        let bytes = track.bytes;
        let found = self.heavy(move || Ok(media::ingest(file, id, bytes, "")?.1)).await?;
        self.keep_found(found).await
    }

    /// Promises room on the disk for so many more bytes.
    pub(crate) fn promise(&self, bytes: u64) -> Result<Promise, SongError> {
        self.store.room.promise(bytes)
    }

    /// What was made of a track under a name, if it is committed.
    pub(crate) fn derived(track: &Track, name: &str) -> Option<TrackId> {
        let found = track.derived.iter().find(|one| one.name == name)?;
        TrackId::from_wire(&found.id).ok()
    }
}

/// What was found in a song, by name.
#[derive(Debug, Default)]
pub(crate) struct Found {
    to_keep: Vec<(&'static str, Vec<u8>)>,
    /// Frames that are missing at the song's end.
    pub(super) missing_frames: u64,
}

impl Found {
    /// Takes it from what is known of a song.
    pub(crate) fn take(info: &mut SongInfo) -> Self {
        let waveform = Some(("waveform", std::mem::take(&mut info.waveform)));
        let cover = info.cover.take().map(|cover| ("cover", cover.bytes.into_vec()));
        let to_keep = waveform.into_iter().chain(cover).collect();
        Self { to_keep, missing_frames: info.missing_frames }
    }
}
