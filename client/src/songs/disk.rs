//! Segments on this machine's disk, named by their hash, and a bound on what they take together.
//!
//! Several processes may share the folder: a file appears in one piece and is never written again. What it holds is
//! checked against its name each time it is read, so a damaged one is as good as none.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jam_proto::ids::TrackId;
use jam_world::{Meta, Open, World};

/// What a file has more in its name while it is written. Nobody waits for one that is older than a day.
const PART: &str = ".part";
const PART_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Bytes that are written between two looks at how much there is.
const LOOK_EVERY_BYTES: u64 = 16 << 20;

/// The folder.
#[derive(Clone, Debug)]
pub struct DiskCache {
    world: World,
    folder: PathBuf,
    bytes_max: u64,
    written: Arc<AtomicU64>,
}

impl DiskCache {
    /// Opens the folder, or makes it. Blocks.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(world: &World, folder: PathBuf, bytes_max: u64) -> io::Result<Self> {
        world.disk.make_folder(&folder)?;
        let cache = Self { world: world.clone(), folder, bytes_max, written: Arc::default() };
        cache.drop_old_parts()?;
        cache.evict(&BTreeSet::new())?;
        Ok(cache)
    }

    /// How many bytes the segments may take.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// A segment's bytes, if they are here and right. Blocks.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn load(&self, hash: &[u8; 32]) -> io::Result<Option<Vec<u8>>> {
        let name = name(hash);
        let Some(bytes) = self.read(&name)? else { return Ok(None) };
        if blake3::hash(&bytes) != *hash {
            self.remove(&name)?;
            return Ok(None);
        }
        // The time of its last use decides what has to go first.
        match self.world.disk.touch(&self.folder.join(name), self.world.clock.wall()) {
            // Another process may have made room just now; the bytes are here.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Some(bytes)),
        }
    }

    /// Keeps a segment that was checked. Blocks.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn store(&self, hash: &[u8; 32], bytes: &[u8]) -> io::Result<()> {
        self.write(&name(hash), bytes)
    }

    /// A song's manifest at a quality, as it was kept. Blocks.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn load_manifest(&self, track: &TrackId, kbps: u32) -> io::Result<Option<Vec<u8>>> {
        let name = manifest_name(track, kbps);
        let Some(kept) = self.read(&name)? else { return Ok(None) };
        let whole =
            kept.split_at_checked(32).filter(|(hash, wire)| blake3::hash(wire).as_bytes() == hash);
        match whole {
            Some((_, wire)) => Ok(Some(wire.to_vec())),
            None => self.remove(&name).map(|()| None),
        }
    }

    /// Keeps a manifest. Blocks.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn store_manifest(&self, track: &TrackId, kbps: u32, wire: &[u8]) -> io::Result<()> {
        let hash = blake3::hash(wire);
        self.write(&manifest_name(track, kbps), &[hash.as_bytes(), wire].concat())
    }

    /// Makes room if much was written since the last time: what was not used for longest goes, but none of `keep`. Blocks.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn tidy(&self, keep: &BTreeSet<[u8; 32]>) -> io::Result<()> {
        if self.written.load(Ordering::Relaxed) < LOOK_EVERY_BYTES.min(self.bytes_max / 8) {
            return Ok(());
        }
        self.evict(keep)
    }

    fn evict(&self, keep: &BTreeSet<[u8; 32]>) -> io::Result<()> {
        self.written.store(0, Ordering::Relaxed);
        let kept: BTreeSet<String> = keep.iter().map(name).collect();
        let mut files = self.files()?;
        files.sort_by_key(|(_, meta)| (meta.modified, meta.len));
        let mut bytes: u64 = files.iter().map(|(_, meta)| meta.len).sum();
        for (name, meta) in files {
            if bytes <= self.bytes_max {
                break;
            }
            if !name.ends_with(PART) && !kept.contains(&name) {
                self.remove(&name)?;
                bytes -= meta.len;
            }
        }
        Ok(())
    }

    fn drop_old_parts(&self) -> io::Result<()> {
        let now = self.world.clock.wall();
        for (name, meta) in self.files()? {
            let is_old = now.duration_since(meta.modified).is_ok_and(|age| age > PART_KEPT);
            if name.ends_with(PART) && is_old {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match self.world.disk.read(&self.folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Not synced, which takes seconds on a busy disk while music is waited for: what a power cut leaves of it is checked
    /// before it is used.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let part = self.folder.join(format!("{name}.{:08x}{PART}", rand::random::<u32>()));
        let disk = &self.world.disk;
        let written = disk
            .open(&part, Open::Anew)
            .and_then(|file| file.write_at(bytes, 0))
            .and_then(|()| disk.rename(&part, &self.folder.join(name)));
        if let Err(error) = written {
            // The first error is the one to tell.
            let _ = disk.remove(&part);
            return Err(error);
        }
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// What is in the folder, by name.
    fn files(&self) -> io::Result<Vec<(String, Meta)>> {
        let mut found = self.world.disk.list(&self.folder)?;
        found.retain(|(_, meta)| !meta.is_folder);
        Ok(found)
    }

    /// Removes a file, unless another process has done so.
    fn remove(&self, name: &str) -> io::Result<()> {
        match self.world.disk.remove(&self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn name(hash: &[u8; 32]) -> String {
    blake3::Hash::from(*hash).to_string()
}

fn manifest_name(track: &TrackId, kbps: u32) -> String {
    format!("{track}.{kbps}.manifest")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::*;

    fn cache(bytes_max: u64) -> (tempfile::TempDir, DiskCache) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("songs");
        let cache = DiskCache::open(&World::real(), path, bytes_max).expect("opens");
        (folder, cache)
    }

    fn store(cache: &DiskCache, bytes: &[u8]) -> [u8; 32] {
        let hash = blake3::hash(bytes).into();
        cache.store(&hash, bytes).expect("written");
        hash
    }

    #[test]
    fn wrong_bytes_are_never_used() {
        let (_folder, cache) = cache(1000);
        let hash = store(&cache, b"right");
        assert_eq!(cache.load(&hash).expect("readable").as_deref(), Some(&b"right"[..]));
        let path = cache.folder.join(name(&hash));
        fs::write(&path, b"rotten").expect("written");
        assert_eq!(cache.load(&hash).expect("readable"), None);
        assert!(!path.exists());

        let track = TrackId([7; 32]);
        cache.store_manifest(&track, 24, b"list").expect("written");
        assert_eq!(
            cache.load_manifest(&track, 24).expect("readable").as_deref(),
            Some(&b"list"[..])
        );
        assert_eq!(cache.load_manifest(&track, 0).expect("readable"), None);
        fs::write(cache.folder.join(manifest_name(&track, 24)), b"cut").expect("written");
        assert_eq!(cache.load_manifest(&track, 24).expect("readable"), None);
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_needed_stays() {
        let (_folder, cache) = cache(25);
        let segments: [&[u8]; 3] = [b"0123456789", b"abcdefghij", b"ABCDEFGHIJ"];
        let hashes: Vec<_> = segments.iter().map(|bytes| store(&cache, bytes)).collect();
        for (place, hash) in hashes.iter().enumerate() {
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + place as u64);
            cache.world.disk.touch(&cache.folder.join(name(hash)), used).expect("set");
        }
        cache.tidy(&BTreeSet::from([hashes[0]])).expect("evicts");
        let left: Vec<bool> =
            hashes.iter().map(|hash| cache.load(hash).expect("readable").is_some()).collect();
        assert_eq!(left, [true, false, true]);
    }
}
