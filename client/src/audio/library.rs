//! The songs that are open: what decodes them, kept for the next time.

use std::sync::Arc;

use jam_proto::event::Entry;
use jam_proto::ids::{EntryId, TrackId};

use super::link::CHANNELS;
use super::plan::Song;
use super::{SongSource, Sound};

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

/// Opens songs, and keeps a few of them open.
pub struct Library {
    songs: Arc<dyn SongSource>,
    audible: bool,
    normalizes: bool,
    open: Vec<(EntryId, Box<dyn Sound>)>,
    /// Songs that can't be opened, and when to try again, by the caller's clock.
    not_before: Vec<(TrackId, i64)>,
}

/// The current song, the next, and the one before.
const OPEN_MAX: usize = 3;
/// So much of a song has to be here for it to be played: 50 ms, which is more than is rendered in one go, and than a fade takes.
const MOMENTS_PER_SECOND: u32 = 20;
/// After a song could not be opened.
const RETRY_NS: i64 = 1_000_000_000;

impl Library {
    /// Of the songs on this machine. If nothing is audible, nothing is decoded.
    pub fn new(songs: Arc<dyn SongSource>, audible: bool, normalizes: bool) -> Self {
        Self { songs, audible, normalizes, open: Vec::new(), not_before: Vec::new() }
    }

    /// What a song's samples are multiplied with, to be as loud as others.
    pub fn gain(&self, entry: &Entry) -> f32 {
        if self.normalizes { entry.gain.factor() } else { 1.0 }
    }

    /// Whether anything is to be heard.
    pub fn audible(&self) -> bool {
        self.audible
    }

    /// Whether a song can be played from a frame on: it is here for a moment at least, by what is known.
    pub fn has(&self, song: &Song, frame: u64, now_ns: i64) -> bool {
        let moment = u64::from(song.rate / MOMENTS_PER_SECOND);
        self.may_open(&song.track, now_ns) && self.songs.has(&song.track, frame, frame + moment)
    }

    /// Up to which frame a song can be played from one on.
    pub fn here_until(&self, song: &Song, frame: u64, now_ns: i64) -> u64 {
        match self.may_open(&song.track, now_ns) {
            true => self.songs.here_until(&song.track, frame).min(song.frames),
            false => frame,
        }
    }

    fn may_open(&self, track: &TrackId, now_ns: i64) -> bool {
        !self.not_before.iter().any(|(refused, again_at)| refused == track && *again_at > now_ns)
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
        let opened = self.songs.open(entry)?;
        if !self.audible {
            return Some(Box::new(Silence));
        }
        match opened {
            Ok(sound) => Some(sound),
            Err(error) => {
                tracing::warn!("can't play '{}': {error}", entry.title);
                self.refuse(entry.track, now_ns);
                None
            }
        }
    }
}
