//! The songs that are open: what decodes them, kept for the next time.

use std::io;
use std::path::Path;
use std::sync::Arc;

use jam_media::{Decoder, Source};
use jam_proto::event::Entry;
use jam_proto::ids::{EntryId, TrackId};
use jam_world::{Cursor, Disk, Open};

use super::SongSource;
use super::link::CHANNELS;

/// A song as samples.
pub trait Sound: Send {
    /// Goes to a frame.
    fn seek(&mut self, frame: u64);
    /// Fills `out` with the next frames, interleaved stereo, and says how many; fewer only at the
    /// end.
    fn read(&mut self, out: &mut [f32]) -> usize;
    /// Why the rest is silence, if so.
    fn failure(&self) -> Option<&str>;
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

/// What plays where nothing is to be heard.
struct Silence;

impl Sound for Silence {
    fn seek(&mut self, _frame: u64) {}
    fn read(&mut self, out: &mut [f32]) -> usize {
        out.fill(0.0);
        out.len() / CHANNELS
    }
    fn failure(&self) -> Option<&str> {
        None
    }
}

/// Opens songs from files, and keeps a few of them open.
pub struct Library {
    disk: Arc<dyn Disk>,
    songs: Arc<dyn SongSource>,
    audible: bool,
    normalizes: bool,
    open: Vec<(EntryId, Box<dyn Sound>)>,
    /// Songs that can't be opened, and when to try again, by the caller's clock.
    not_before: Vec<(TrackId, i64)>,
}

/// The current song, the next, and the one before.
const OPEN_MAX: usize = 3;
/// After a song could not be opened.
const RETRY_NS: i64 = 1_000_000_000;

impl Library {
    /// Of the songs on this machine's disk. If nothing is audible, nothing is decoded.
    pub fn new(
        disk: Arc<dyn Disk>,
        songs: Arc<dyn SongSource>,
        audible: bool,
        normalizes: bool,
    ) -> Self {
        Self { disk, songs, audible, normalizes, open: Vec::new(), not_before: Vec::new() }
    }

    /// What a song's samples are multiplied with, to be as loud as others.
    pub fn gain(&self, entry: &Entry) -> f32 {
        if self.normalizes { entry.gain.factor() } else { 1.0 }
    }

    /// Whether anything is to be heard.
    pub fn audible(&self) -> bool {
        self.audible
    }

    /// Whether the song's file is here and can be opened, by what is known.
    pub fn has(&self, track: &TrackId, now_ns: i64) -> bool {
        let refused = self
            .not_before
            .iter()
            .any(|(refused, again_at)| refused == track && *again_at > now_ns);
        !refused && self.songs.path(track).is_some()
    }

    /// The song, at any position. It is the caller's until it is given back.
    pub fn take(&mut self, entry: &Entry, now_ns: i64) -> Option<Box<dyn Sound>> {
        match self.open.iter().position(|(id, _)| *id == entry.id) {
            Some(index) => Some(self.open.remove(index).1),
            None => self.open(entry, now_ns),
        }
    }

    /// The song can't be played now; it is tried again after a while.
    fn refuse(&mut self, track: TrackId, now_ns: i64) {
        self.not_before.push((track, now_ns + RETRY_NS));
    }

    /// Takes a song back, for the next time.
    pub fn give_back(&mut self, id: EntryId, sound: Box<dyn Sound>) {
        if let Some(failure) = sound.failure() {
            // It is opened anew: the file may have been replaced.
            tracing::warn!("a part of entry {id} is silence: {failure}");
            return;
        }
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push((id, sound));
    }

    /// Opens a song ahead of time, since that may take a while.
    pub fn prepare(&mut self, entry: &Entry, now_ns: i64) {
        if self.open.iter().all(|(id, _)| *id != entry.id)
            && let Some(sound) = self.open(entry, now_ns)
        {
            self.give_back(entry.id, sound);
        }
    }

    fn open(&mut self, entry: &Entry, now_ns: i64) -> Option<Box<dyn Sound>> {
        self.not_before.retain(|(_, again_at)| *again_at > now_ns);
        if self.not_before.iter().any(|(refused, _)| *refused == entry.track) {
            return None;
        }
        let path = self.songs.path(&entry.track)?;
        if !self.audible {
            return Some(Box::new(Silence));
        }
        let opened = self.file(&path).map_err(|error| error.to_string()).and_then(|file| {
            Decoder::open(file, entry.frames, entry.sample_rate).map_err(|error| error.to_string())
        });
        match opened {
            Ok(decoder) => Some(Box::new(decoder)),
            Err(error) => {
                tracing::warn!("can't play '{}' from {}: {error}", entry.title, path.display());
                self.refuse(entry.track, now_ns);
                None
            }
        }
    }

    fn file(&self, path: &Path) -> io::Result<Source> {
        let file = self.disk.open(path, Open::Read)?;
        let bytes = file.len()?;
        Ok(jam_media::source(Cursor::new(file), bytes))
    }
}
