//! Songs that are whole files on this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jam_media::Decoder;
use jam_proto::event::Entry;
use jam_proto::ids::TrackId;

use super::{SongSource, Sound};

/// Files by the song that they hold.
#[derive(Debug, Default)]
pub struct SongFiles(Mutex<BTreeMap<TrackId, PathBuf>>);

impl SongFiles {
    /// A file is here from now on.
    pub fn add(&self, track: TrackId, path: PathBuf) {
        self.files().insert(track, path);
    }

    /// It is not here any more. Where it was.
    pub fn remove(&self, track: &TrackId) -> Option<PathBuf> {
        self.files().remove(track)
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<TrackId, PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SongSource for SongFiles {
    fn open(&self, entry: &Entry) -> Option<Result<Box<dyn Sound>, String>> {
        let path = self.files().get(&entry.track)?.clone();
        let opened = jam_media::file(&path).map_err(|error| error.to_string()).and_then(|file| {
            Decoder::open(file, entry.frames, entry.sample_rate).map_err(|error| error.to_string())
        });
        Some(match opened {
            Ok(decoder) => Ok(Box::new(decoder)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        })
    }

    fn has(&self, track: &TrackId, _from: u64, _to: u64) -> bool {
        self.files().contains_key(track)
    }

    fn here_until(&self, track: &TrackId, frame: u64) -> u64 {
        if self.files().contains_key(track) { u64::MAX } else { frame }
    }
}

impl Sound for Decoder {
    fn seek(&mut self, frame: u64) {
        Decoder::seek(self, frame);
    }
    fn read(&mut self, out: &mut [f32]) -> usize {
        Decoder::read(self, out)
    }
    fn failure(&self) -> Option<&str> {
        Decoder::failure(self)
    }
}
