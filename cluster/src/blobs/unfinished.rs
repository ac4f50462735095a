//! How many uploads that have not ended are kept, and which go first.

use std::io;
use std::time::SystemTime;

use jam_proto::ids::TrackId;

use super::SongError;
use super::pen::Via;
use super::room::Promise;
use super::slots::Origin;
use super::store::{Store, lock, parse_name};

/// What may be kept of uploads that have not ended.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    files: usize,
    bytes: u64,
}

/// In all.
const ALL: Bounds = Bounds { files: 128, bytes: 8 << 30 };
/// Of one origin: two of the largest songs, or an album that was broken off.
const PER_ORIGIN: Bounds = Bounds { files: 32, bytes: 4 << 30 };

/// An upload that nobody writes on just now.
struct Left {
    id: TrackId,
    origin: Option<Origin>,
    bytes: u64,
    modified: SystemTime,
}

impl Store {
    /// Makes way for `needed` more bytes of an upload from `origin`, and promises them. What has lain the longest goes first: beyond
    /// what is kept of one origin or of all, and as long as the disk lacks room. Blocks.
    pub(super) fn make_way(
        &self,
        id: TrackId,
        origin: Origin,
        needed: u64,
    ) -> Result<Promise, SongError> {
        let mut left = self.left()?;
        lock(&self.origins).insert(id, origin);
        let own = |one: &Left| one.origin == Some(origin);
        while let Some(at) = oldest_beyond(&left, PER_ORIGIN, needed, own)
            .or_else(|| oldest_beyond(&left, ALL, needed, |_| true))
        {
            self.drop_left(&left.remove(at))?;
        }
        loop {
            match self.room.promise(needed) {
                Err(SongError::DiskFull { .. }) if !left.is_empty() => {
                    self.drop_left(&left.remove(0))?;
                }
                promised => return promised,
            }
        }
    }

    /// Oldest first.
    fn left(&self) -> io::Result<Vec<Left>> {
        let listed = self.disk().list(&self.uploads)?;
        let mut origins = lock(&self.origins);
        let writing = lock(&self.writing);
        let mut left = Vec::new();
        let mut there = Vec::new();
        for (name, meta) in listed {
            let Some(id) = name.strip_suffix(".part").and_then(parse_name) else { continue };
            there.push(id);
            if !writing.contains(&(id, Via::Upload)) {
                let origin = origins.get(&id).copied();
                left.push(Left { id, origin, bytes: meta.len, modified: meta.modified });
            }
        }
        origins.retain(|id, _| there.contains(id) || writing.contains(&(*id, Via::Upload)));
        left.sort_by_key(|one| (one.modified, one.id));
        Ok(left)
    }

    fn drop_left(&self, left: &Left) -> io::Result<()> {
        // Nobody begins to write on it meanwhile.
        let writing = lock(&self.writing);
        if writing.contains(&(left.id, Via::Upload)) {
            return Ok(());
        }
        match self.disk().remove(&self.unfinished_path(&left.id, Via::Upload)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                tracing::info!(song = %left.id, bytes = left.bytes, "removed an upload that had not ended, to make room");
                Ok(())
            }
        }
    }
}

/// The oldest of those that are meant, if one more upload of `needed` bytes made them too many.
fn oldest_beyond(
    left: &[Left],
    bounds: Bounds,
    needed: u64,
    is_meant: impl Fn(&Left) -> bool,
) -> Option<usize> {
    let meant = || left.iter().filter(|one| is_meant(one));
    let bytes: u64 = meant().map(|one| one.bytes).sum();
    let is_beyond = meant().count() >= bounds.files || bytes.saturating_add(needed) > bounds.bytes;
    left.iter().position(is_meant).filter(|_| is_beyond)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::IpAddr;
    use std::sync::Arc;

    use jam_world::World;

    use super::*;

    fn id(n: u8) -> TrackId {
        TrackId([n; 32])
    }

    async fn begin(store: &Arc<Store>, n: u8, origin: Origin) {
        let pen = store.pen(id(n), Via::Upload).await;
        drop(store.make_way(id(n), origin, 4).expect("there is room"));
        fs::write(pen.path(), b"part").expect("writes");
        let age = std::time::Duration::from_secs(1000 - u64::from(n));
        store.disk().touch(&pen.path(), SystemTime::now() - age).expect("touches");
    }

    #[tokio::test]
    async fn the_oldest_of_an_origin_go_first_and_never_what_is_written() {
        let data = tempfile::tempdir().expect("a folder");
        let store = Arc::new(Store::open(&World::real(), data.path()).expect("opens"));
        let (many, other) =
            (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        begin(&store, 0, other).await;
        for n in 1..=PER_ORIGIN.files as u8 {
            begin(&store, n, many).await;
        }
        let written = store.pen(id(1), Via::Upload).await;
        begin(&store, 100, many).await;
        let has = |n| store.unfinished(&id(n), Via::Upload) > 0;
        assert!(
            has(0) && has(1) && has(2) && has(100),
            "one of them is written on, and does not count"
        );
        drop(written);
        begin(&store, 101, many).await;
        assert!(has(0) && !has(1) && !has(2) && has(3) && has(101));
    }
}
