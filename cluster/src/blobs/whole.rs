//! What happens to whole songs in the store: they come in, are counted on, set aside and removed.
//!
//! All of it is done with the right to the song ([`Via::Whole`]), so that nobody counts on a copy that another one is about
//! to remove.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use jam_proto::ids::TrackId;
use jam_world::{File, Open};

use super::pen::Via;
use super::store::{Copied, Store, has_expired, is_song};

/// What is wrong with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is no file.
    #[error("its file is gone")]
    Deleted,
    /// It is longer or shorter.
    #[error("its file has another length")]
    Length,
    /// Its bytes are not the song's.
    #[error("its bytes do not have its hash")]
    Bytes,
}

/// A copy as it was found.
pub(super) type Found<T> = Result<T, Damage>;

impl Store {
    /// Opens a copy, if it looks whole. Blocks. An error of the disk is no proof of damage.
    pub(super) fn open_copy(&self, id: &TrackId, copy: Copied) -> io::Result<Found<Arc<dyn File>>> {
        let file = match self.disk().open(&self.place(id), Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(Damage::Deleted));
            }
            opened => opened?,
        };
        Ok(if file.len()? == copy.bytes { Ok(file) } else { Err(Damage::Length) })
    }

    /// As [`Store::open_copy`], without opening it.
    pub(super) fn look_at(&self, id: &TrackId, copy: Copied) -> io::Result<Found<()>> {
        match self.disk().look(&self.place(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(Damage::Deleted)),
            looked => Ok(if looked?.len == copy.bytes { Ok(()) } else { Err(Damage::Length) }),
        }
    }

    /// Gives a verified file the name of the song, durably. Blocks.
    pub(super) fn take_in(&self, id: &TrackId, from: &Path) -> io::Result<()> {
        let disk = self.disk();
        disk.touch(from, self.world.clock.wall())?;
        let file = disk.open(from, Open::Change)?;
        let length = file.len()?;
        file.sync_all()?;
        let place = self.place(id);
        let folder = place.parent().unwrap_or(&self.songs);
        disk.make_folder(folder)?;
        // Also if it was there: whoever made it may have failed to make its name durable.
        disk.sync_folder(&self.songs)?;
        disk.rename(from, &place)?;
        disk.sync_folder(folder)?;
        self.count(*id);
        self.add(*id, length);
        Ok(())
    }

    /// For somebody who is about to count on a copy: it is read, and won't be cleared away as one that nobody came back for,
    /// also after a power cut. `None`: there is none.
    pub async fn count_on(self: &Arc<Self>, id: TrackId) -> io::Result<Option<Found<Copied>>> {
        let right = self.pen(id, Via::Whole).await;
        let Some(copy) = self.copy(&id) else { return Ok(None) };
        let read = move || {
            let store = &right.store;
            if let Err(damage) = store.open_copy(&id, copy)? {
                return Ok(Some(Err(damage)));
            }
            let place = store.place(&id);
            if !is_song(&store.disk().open(&place, Open::Read)?, &id)? {
                return Ok(Some(Err(Damage::Bytes)));
            }
            store.disk().touch(&place, store.world.clock.wall())?;
            store.disk().open(&place, Open::Change)?.sync_all()?;
            store.count(id);
            Ok(Some(Ok(copy)))
        };
        self.world.try_blocking(read).await
    }

    /// Moves a disowned copy out of the way. There is one for each song at most, and it goes a day after the last try to repair
    /// the song.
    pub async fn set_aside(self: &Arc<Self>, id: TrackId) -> io::Result<()> {
        let right = self.pen(id, Via::Whole).await;
        let work = move || {
            let store = &right.store;
            if store.copy(&id).is_some() {
                // A good one has its place already.
                return Ok(());
            }
            let (disk, place) = (store.disk(), store.place(&id));
            match disk.rename(&place, &store.unfinished_path(&id, Via::Aside)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                renamed => renamed?,
            }
            store.renew_aside(&id)?;
            // Or it would be taken for a good one after a power cut.
            disk.sync_folder(&store.uploads)?;
            disk.sync_folder(place.parent().unwrap_or(&store.songs))
        };
        self.world.try_blocking(work).await
    }

    /// Reads a copy once more that was set aside: what was misread may be right. If it is, it is back in its place.
    pub async fn put_back(self: &Arc<Self>, id: TrackId) -> io::Result<bool> {
        let right = self.pen(id, Via::Whole).await;
        let work = move || {
            let store = &right.store;
            let aside = store.unfinished_path(&id, Via::Aside);
            let read = store.disk().open(&aside, Open::Read);
            match read.and_then(|file| is_song(&file, &id)) {
                Ok(true) => store.take_in(&id, &aside).map(|()| true),
                Ok(false) => store.renew_aside(&id).map(|()| false),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.world.try_blocking(work).await
    }

    fn renew_aside(&self, id: &TrackId) -> io::Result<()> {
        self.disk().touch(&self.unfinished_path(id, Via::Aside), self.world.clock.wall())
    }

    /// Whether a copy is set aside.
    pub(super) fn has_aside(&self, id: &TrackId) -> bool {
        self.disk().look(&self.unfinished_path(id, Via::Aside)).is_ok()
    }

    /// Removes a copy that was set aside. Whether there was one.
    pub async fn drop_aside(self: &Arc<Self>, id: TrackId) -> io::Result<bool> {
        let right = self.pen(id, Via::Whole).await;
        let work = move || {
            let store = &right.store;
            match store.disk().remove(&store.unfinished_path(&id, Via::Aside)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                removed => removed.map(|()| true),
            }
        };
        self.world.try_blocking(work).await
    }

    /// Removes a whole song that is not committed, if nobody has counted on it for a day, and says whether it did.
    pub async fn remove_left(
        self: &Arc<Self>,
        id: TrackId,
        now: SystemTime,
        is_committed: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<bool> {
        let right = self.pen(id, Via::Whole).await;
        let work = move || {
            let store = &right.store;
            let place = store.place(&id);
            let Some(copy) = store.copy(&id) else { return Ok(false) };
            let is_old = store.is_left(&id) && has_expired(&store.disk().look(&place)?, now);
            if !is_old || is_committed() {
                return Ok(false);
            }
            store.remove(&id);
            // A commit that came before this look is seen here, and one that comes behind it finds no copy.
            let removed = match is_committed() {
                true => Ok(false),
                false => store.disk().remove(&place).map(|()| true),
            };
            if !matches!(removed, Ok(true)) {
                store.add(id, copy.bytes);
            }
            removed
        };
        self.world.try_blocking(work).await
    }
}
