//! The songs on this machine's disk: whole files named by their hash, parts of files that are on their way,
//! and a bound on what they take together.
//!
//! Several processes may share the folder. A part is written under a lock; a whole file appears in one piece and is
//! never written again. What a file holds is checked against its name before it is used for the first time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jam_proto::ids::TrackId;

/// A part that nobody touched for so long is not waited for any more.
const PART_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The folder.
#[derive(Clone, Debug)]
pub struct DiskCache {
    folder: PathBuf,
    bytes_max: u64,
}

/// A song on its way.
pub struct Part {
    path: PathBuf,
    whole: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    id: TrackId,
}

impl DiskCache {
    /// Opens the folder, or makes it.
    pub fn open(folder: PathBuf, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let cache = Self { folder, bytes_max };
        cache.drop_old_parts()?;
        Ok(cache)
    }

    /// How many bytes the songs may take.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The file of a whole song, its bytes checked against `id`. Takes a moment: it reads all of it.
    pub fn verified(&self, id: &TrackId) -> io::Result<Option<PathBuf>> {
        let path = self.whole(id);
        match super::hash(&path) {
            Ok((found, _)) if found == *id => {
                // The time of its last use decides what has to go first.
                File::options().append(true).open(&path)?.set_modified(SystemTime::now())?;
                Ok(Some(path))
            }
            Ok(_) => {
                fs::remove_file(&path)?;
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
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
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).append(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(Read::by_ref(&mut file))?;
        Ok(Some(Part { path, whole: self.whole(id), file, hasher, id: *id }))
    }

    /// Makes room: whole songs that were not used for longest go, but none of `keep`.
    pub fn evict(&self, keep: &[TrackId]) -> io::Result<()> {
        let kept: Vec<PathBuf> = keep.iter().map(|id| self.whole(id)).collect();
        let mut songs = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may have removed it meanwhile.
            if let Ok(meta) = entry.metadata()
                && meta.is_file()
            {
                songs.push((meta.modified()?, meta.len(), entry.path()));
            }
        }
        songs.sort();
        let mut bytes: u64 = songs.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, len, path) in songs {
            if bytes <= self.bytes_max {
                break;
            }
            let is_part = path.extension().is_some_and(|extension| extension == "part");
            if !is_part && !kept.contains(&path) {
                fs::remove_file(&path).or_else(unless_gone)?;
                bytes -= len;
            }
        }
        Ok(())
    }

    /// Bytes that these songs take now.
    pub fn bytes_of(&self, ids: &[TrackId]) -> u64 {
        ids.iter().filter_map(|id| fs::metadata(self.whole(id)).ok()).map(|meta| meta.len()).sum()
    }

    fn drop_old_parts(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_part = path.extension().is_some_and(|extension| extension == "part");
            let is_old = || -> io::Result<bool> {
                Ok(fs::metadata(&path)?.modified()?.elapsed().is_ok_and(|age| age > PART_KEPT))
            };
            if is_part && is_old().unwrap_or(false) {
                fs::remove_file(&path).or_else(unless_gone)?;
            }
        }
        Ok(())
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
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// All of it is here: the whole file, if it is what its id says. If not, the part is dropped and it starts over.
    pub fn finish(self) -> io::Result<Option<PathBuf>> {
        if !self.is_whole() {
            fs::remove_file(&self.path)?;
            return Ok(None);
        }
        // Not synced, which takes seconds on a busy disk while music is waited for: what a power cut
        // leaves of it is checked against its name before it is used.
        match fs::rename(&self.path, &self.whole) {
            // Another process finished this very part between our opening and our locking it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.whole.exists() => {}
            renamed => renamed?,
        }
        Ok(Some(self.whole))
    }
}

fn unless_gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(bytes: &[u8]) -> TrackId {
        TrackId(*blake3::hash(bytes).as_bytes())
    }

    fn cache(bytes_max: u64) -> (tempfile::TempDir, DiskCache) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = DiskCache::open(folder.path().join("songs"), bytes_max).expect("opens");
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
            File::options()
                .append(true)
                .open(path)
                .and_then(|file| file.set_modified(used))
                .expect("set");
        }
        cache.evict(&ids[..1]).expect("evicts");
        let left: Vec<bool> =
            ids.iter().map(|id| cache.verified(id).expect("readable").is_some()).collect();
        assert_eq!(left, [true, false, true]);
        assert_eq!(cache.bytes_of(&ids), 20);
    }
}
