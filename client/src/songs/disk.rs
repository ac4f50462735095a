//! The songs on this machine's disk: whole files named by their hash, parts of files that are on their way,
//! and a bound on what they take together.
//!
//! Several processes may share the folder. A part is written under a lock; a whole file appears in one piece and is
//! never written again. What a file holds is checked against its name before it is used for the first time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jam_proto::ids::TrackId;
use jam_world::{Cursor, Disk, File, Meta, Open, World};

/// A part that nobody touched for so long is not waited for any more.
const PART_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The folder.
#[derive(Clone, Debug)]
pub struct DiskCache {
    world: World,
    folder: PathBuf,
    bytes_max: u64,
}

/// A song on its way.
pub struct Part {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    whole: PathBuf,
    file: Arc<dyn File>,
    hasher: blake3::Hasher,
    id: TrackId,
    _lock: Box<dyn Send + Sync>,
}

impl DiskCache {
    /// Opens the folder, or makes it. Blocks.
    pub fn open(world: &World, folder: PathBuf, bytes_max: u64) -> io::Result<Self> {
        world.disk.make_folder(&folder)?;
        let cache = Self { world: world.clone(), folder, bytes_max };
        cache.drop_old_parts()?;
        Ok(cache)
    }

    /// How many bytes the songs may take.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The file of a whole song, its bytes checked against `id`. Takes a moment: it reads all of it.
    pub fn verified(&self, id: &TrackId) -> io::Result<Option<PathBuf>> {
        let (disk, path) = (&self.world.disk, self.whole(id));
        let file = match disk.open(&path, Open::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (found, _) = super::hash(Cursor::new(file))?;
        if found == *id {
            // The time of its last use decides what has to go first.
            disk.touch(&path, self.world.clock.wall())?;
            Ok(Some(path))
        } else {
            disk.remove(&path)?;
            Ok(None)
        }
    }

    /// The part of a song, with what an earlier fetch left of it. If another process is at it, a part of our own.
    pub fn part(&self, id: &TrackId) -> io::Result<Part> {
        let shared = self.folder.join(format!("{id}.part"));
        if let Some(part) = self.lock_part(shared, id)? {
            return Ok(part);
        }
        let own = self.folder.join(format!("{id}.{:08x}.part", rand::random::<u32>()));
        self.lock_part(own, id)?.ok_or_else(|| io::ErrorKind::AlreadyExists.into())
    }

    fn lock_part(&self, path: PathBuf, id: &TrackId) -> io::Result<Option<Part>> {
        let disk = self.world.disk.clone();
        let Some(lock) = disk.lock(&path)? else { return Ok(None) };
        let file = disk.open(&path, Open::Change)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(Cursor::new(file.clone()))?;
        let whole = self.whole(id);
        Ok(Some(Part { disk, path, whole, file, hasher, id: *id, _lock: lock }))
    }

    /// Makes room: whole songs that were not used for longest go, but none of `keep`.
    pub fn evict(&self, keep: &[TrackId]) -> io::Result<()> {
        let kept: Vec<String> = keep.iter().map(TrackId::to_string).collect();
        let mut songs = self.files()?;
        songs.sort_by_key(|(_, meta)| (meta.modified, meta.len));
        let mut bytes: u64 = songs.iter().map(|(_, meta)| meta.len).sum();
        for (name, meta) in songs {
            if bytes <= self.bytes_max {
                break;
            }
            if !is_part(&name) && !kept.contains(&name) {
                self.remove(&name)?;
                bytes -= meta.len;
            }
        }
        Ok(())
    }

    /// Bytes that these songs take now.
    pub fn bytes_of(&self, ids: &[TrackId]) -> u64 {
        let look = |id| self.world.disk.look(&self.whole(id)).ok();
        ids.iter().filter_map(look).map(|meta| meta.len).sum()
    }

    fn drop_old_parts(&self) -> io::Result<()> {
        let now = self.world.clock.wall();
        for (name, meta) in self.files()? {
            let is_old = now.duration_since(meta.modified).is_ok_and(|age| age > PART_KEPT);
            if is_part(&name) && is_old {
                self.remove(&name)?;
            }
        }
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

    fn whole(&self, id: &TrackId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

impl Part {
    /// How many bytes are here.
    pub fn bytes(&self) -> u64 {
        self.hasher.count()
    }

    /// Whether that is all of it.
    pub fn is_whole(&self) -> bool {
        TrackId(*self.hasher.finalize().as_bytes()) == self.id
    }

    /// Adds the bytes that follow.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.bytes())?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// All of it is here: the whole file, if it is what its id says. If not, the part is dropped and it starts over.
    pub fn finish(self) -> io::Result<Option<PathBuf>> {
        if !self.is_whole() {
            self.disk.remove(&self.path)?;
            return Ok(None);
        }
        // Not synced, which takes seconds on a busy disk while music is waited for: what a power cut
        // leaves of it is checked against its name before it is used.
        self.disk.rename(&self.path, &self.whole)?;
        Ok(Some(self.whole))
    }
}

fn is_part(name: &str) -> bool {
    name.ends_with(".part")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::*;

    fn id_of(bytes: &[u8]) -> TrackId {
        TrackId(*blake3::hash(bytes).as_bytes())
    }

    fn cache(bytes_max: u64) -> (tempfile::TempDir, DiskCache) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("songs");
        let cache = DiskCache::open(&World::real(), path, bytes_max).expect("opens");
        (folder, cache)
    }

    fn store(cache: &DiskCache, bytes: &[u8]) -> PathBuf {
        let mut part = cache.part(&id_of(bytes)).expect("opens");
        part.append(bytes).expect("written");
        part.finish().expect("renamed").expect("the right bytes")
    }

    #[test]
    fn a_part_goes_on_where_it_was() {
        let (_folder, cache) = cache(1000);
        let id = id_of(b"hello world");
        let mut part = cache.part(&id).expect("opens");
        part.append(b"hello ").expect("written");
        drop(part);
        assert_eq!(cache.verified(&id).expect("readable"), None);
        let mut part = cache.part(&id).expect("opens");
        assert_eq!(part.bytes(), 6);
        part.append(b"world").expect("written");
        let path = part.finish().expect("renamed").expect("the right bytes");
        assert_eq!(cache.verified(&id).expect("readable"), Some(path));
    }

    #[test]
    fn two_at_once_do_not_mix() {
        let (_folder, cache) = cache(1000);
        let id = id_of(b"song");
        let mut first = cache.part(&id).expect("opens");
        let mut second = cache.part(&id).expect("opens");
        first.append(b"so").expect("written");
        second.append(b"song").expect("written");
        first.append(b"ng").expect("written");
        assert!(second.finish().expect("renamed").is_some());
        assert!(first.finish().expect("renamed").is_some());
        assert!(cache.verified(&id).expect("readable").is_some());
    }

    #[test]
    fn wrong_bytes_are_never_used() {
        let (_folder, cache) = cache(1000);
        let id = id_of(b"right");
        let mut part = cache.part(&id).expect("opens");
        part.append(b"wrong").expect("written");
        assert_eq!(part.finish().expect("removed"), None);
        assert_eq!(cache.part(&id).expect("opens").bytes(), 0);
        let path = store(&cache, b"right");
        fs::write(&path, b"rotten").expect("written");
        assert_eq!(cache.verified(&id).expect("readable"), None);
        assert!(!path.exists());
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_needed_stays() {
        let (_folder, cache) = cache(25);
        let songs: [&[u8]; 3] = [b"0123456789", b"abcdefghij", b"ABCDEFGHIJ"];
        let ids: Vec<TrackId> = songs.iter().map(|song| id_of(song)).collect();
        for (place, song) in songs.iter().enumerate() {
            let path = store(&cache, song);
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + place as u64);
            cache.world.disk.touch(&path, used).expect("set");
        }
        cache.evict(&ids[..1]).expect("evicts");
        let left: Vec<bool> =
            ids.iter().map(|id| cache.verified(id).expect("readable").is_some()).collect();
        assert_eq!(left, [true, false, true]);
        assert_eq!(cache.bytes_of(&ids), 20);
    }
}
