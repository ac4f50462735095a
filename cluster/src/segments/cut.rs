//! Makes packs of originals.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use jam_media::{Manifest, Refusal, SegmentInfo};
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::Track;
use jam_world::{Cursor, File};

use super::shelf::Shelf;
use super::{Pack, Rendition, Segments, pack};
use crate::blobs::{SongError, is_song};
use crate::draft::Draft;

/// Segments that are kept in memory of a song for whose pack the disk has no room: about a minute.
const LOOSE_AHEAD: usize = 12;

/// Why a song was not cut.
#[derive(Debug, thiserror::Error)]
enum CutError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Cuts a song that is about to be taken, so that one that can't be cut is refused. Blocks. Without room for the pack it is cut
/// all the same, for the sake of the refusal.
///
/// # Errors
/// Those of the song.
pub(crate) fn cut_new(
    shelf: &Arc<Shelf>,
    file: Arc<dyn File>,
    track: &Track,
) -> Result<Option<Draft>, SongError> {
    match cut_into(shelf, file.clone(), track) {
        Ok((draft, _)) => Ok(Some(draft)),
        Err(CutError::Refused(refusal)) => Err(refusal.into()),
        Err(CutError::Disk(error)) => {
            tracing::warn!(%error, "no pack was written for a new song");
            cut(file, track, |_, _| Ok(())).map_err(of_song)?;
            Ok(None)
        }
    }
}

impl Segments {
    /// The pack that is on the shelf, if it is a whole one.
    pub(super) async fn find(&self, of: Rendition) -> Result<Option<Pack>, SongError> {
        let shelf = self.shelf.clone();
        let find = move || shelf.find(of)?.map_or(Ok(None), Pack::open);
        Ok(self.world.try_blocking(find).await?)
    }

    /// Makes a pack of a song that is here.
    pub(super) async fn make(&self, of: Rendition, track: &Track) -> Result<Pack, SongError> {
        let file = self.original(of.track).await?;
        let _permit = self.cutting.acquire().await.map_err(|_| SongError::Busy)?;
        let (shelf, track, id) = (self.shelf.clone(), track.clone(), of.track);
        let work = move || {
            if !is_song(&file, &id)? {
                return Ok(None);
            }
            match cut_into(&shelf, file.clone(), &track) {
                Ok((draft, _)) => {
                    shelf.take_in(of, draft)?;
                    shelf.find(of)?.map_or(Ok(None), |file| Ok(Pack::open(file)?))
                }
                Err(CutError::Disk(error)) => {
                    tracing::warn!(song = %id, %error, "the disk does not take a song's segments; they are cut when they are asked for");
                    Ok(Some(Pack::loose(cut(file, &track, |_, _| Ok(())).map_err(of_song)?)))
                }
                Err(error) => Err(of_song(error)),
            }
        };
        let made: Result<Option<Pack>, SongError> = self.world.heavy(work).await?;
        made?.ok_or_else(|| self.suspect(of.track))
    }

    /// Cuts a song once more, and keeps some of its segments in memory, from one of them on.
    pub(super) async fn cut_from(&self, of: Rendition, index: usize) -> Result<(), SongError> {
        let track = self.blobs.committed(&of.track).await?;
        let file = self.original(of.track).await?;
        let _permit = self.cutting.acquire().await.map_err(|_| SongError::Busy)?;
        let work = move || {
            let mut kept: Vec<(usize, [u8; 32], Bytes)> = Vec::new();
            let mut number = 0;
            if !is_song(&file, &of.track)? {
                return Ok(None);
            }
            cut(file, &track, |info, bytes| {
                if (index..index + LOOSE_AHEAD).contains(&number) {
                    kept.push((number, info.hash, bytes.into()));
                }
                number += 1;
                Ok(())
            })
            .map_err(of_song)?;
            Ok(Some(kept))
        };
        let done: Result<_, SongError> = self.world.heavy(work).await?;
        let kept = done?.ok_or_else(|| self.suspect(of.track))?;
        // The one that is asked for comes last, so that it is not the first to go.
        for (number, hash, bytes) in kept.into_iter().rev() {
            self.hot.keep(of, number, hash, bytes);
        }
        Ok(())
    }

    /// The pack of a rendition, whose bytes are kept like a song's.
    pub(super) async fn rendition(&self, blob: TrackId) -> Result<Pack, SongError> {
        let file = self.blobs.file(&blob).await.ok_or(SongError::NotHere(blob))?;
        let opened = self.world.try_blocking(move || Pack::open(file)).await?;
        opened.ok_or_else(|| self.suspect(blob))
    }

    async fn original(&self, id: TrackId) -> Result<Arc<dyn File>, SongError> {
        self.blobs.file(&id).await.ok_or(SongError::NotHere(id))
    }

    /// The original's bytes are not what they should be: they are repaired.
    fn suspect(&self, id: TrackId) -> SongError {
        self.blobs.doubt(&id);
        SongError::NotHere(id)
    }
}

fn cut_into(
    shelf: &Arc<Shelf>,
    file: Arc<dyn File>,
    track: &Track,
) -> Result<(Draft, Manifest), CutError> {
    let mut draft = shelf.drafts.begin()?;
    let manifest = cut(file, track, |_, bytes| draft.write(&bytes))?;
    draft.write(&pack::tail(&manifest))?;
    Ok((draft, manifest))
}

fn cut(
    file: Arc<dyn File>,
    track: &Track,
    mut take: impl FnMut(&SegmentInfo, Vec<u8>) -> io::Result<()>,
) -> Result<Manifest, CutError> {
    let source = jam_media::source(Cursor::new(file), track.bytes);
    jam_media::cut(source, track.frames, track.sample_rate, |info, bytes| Ok(take(info, bytes)?))
}

fn of_song(error: CutError) -> SongError {
    match error {
        CutError::Refused(refusal) => refusal.into(),
        CutError::Disk(error) => error.into(),
    }
}
