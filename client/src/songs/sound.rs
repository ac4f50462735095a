//! A song as samples, read along while its segments come, at the best quality that is here.
//!
//! Whether and where the song is here is for the player to ask first; a hole in it is silence. From one quality to
//! another it goes within a segment's last moments, in a short cross-fade of two decoders: the qualities are the same
//! sound on the same time line, so nothing is to be heard but, maybe, the difference.

use std::sync::Arc;

use tokio::sync::Notify;

use super::disk::DiskCache;
use super::local::{LocalRendition, LocalSong};
use super::strand::Strand;
use crate::audio::{CHANNELS, Sound};

/// A song that is being read.
pub struct SegmentSound {
    song: Arc<LocalSong>,
    shelf: Shelf,
    /// The frame that is read next.
    at: u64,
    strand: Option<Strand>,
    /// The end of the segment for which it is decided what follows.
    decided: u64,
    /// What it goes over to, and from which frame on.
    next: Option<(Strand, u64)>,
    /// What the other one sounds like meanwhile.
    mixed: Vec<f32>,
    failure: Option<String>,
}

/// Where segments are, and who is to hear of those that are not.
#[derive(Clone)]
pub struct Shelf {
    /// The files.
    pub disk: DiskCache,
    /// Told when one that was promised can't be loaded.
    pub lost: Arc<Notify>,
}

/// A cross-fade lasts for 10 ms. It begins so long before the segment ends that it is over 10 ms before.
const FADES_PER_SECOND: u32 = 100;
/// Of what is to follow so much has to be here for going over to it: half a second.
const WORTH_IT: u32 = 2;
/// So many frames before a segment that is here may be missing: what a resampler wants before its first frame.
const SMALL_GAP: u64 = 1024;

impl Shelf {
    /// Loads a segment. Blocks. If it is not there or not right, it is ready no more.
    pub fn load(&self, rendition: &LocalRendition, index: usize) -> Option<Vec<u8>> {
        if !rendition.is_ready(index) {
            return None;
        }
        if let Some(held) = rendition.held(index) {
            return Some(held);
        }
        let hash = &rendition.manifest.segments().get(index)?.hash;
        match self.disk.load(hash) {
            Ok(Some(bytes)) => return Some(bytes),
            Ok(None) => tracing::warn!("a segment in the song cache is gone or went bad"),
            Err(error) => tracing::warn!("can't read the song cache: {error}"),
        }
        rendition.set_ready(index, false);
        self.lost.notify_one();
        None
    }
}

impl SegmentSound {
    /// At its beginning.
    pub fn new(song: Arc<LocalSong>, shelf: Shelf) -> Self {
        Self {
            song,
            shelf,
            at: 0,
            strand: None,
            decided: 0,
            next: None,
            mixed: Vec::new(),
            failure: None,
        }
    }

    /// Reads some frames, at least one.
    fn step(&mut self, out: &mut [f32]) -> u64 {
        if self.strand.is_none() {
            self.strand = self.open();
        }
        let Some(strand) = &mut self.strand else { return self.gap(out) };
        let wanted = (out.len() / CHANNELS) as u64;
        let fade = u64::from(self.song.rate / FADES_PER_SECOND).max(1);
        let end = strand.end();
        let decides_at = end.saturating_sub(2 * fade);
        if self.at < decides_at {
            let count = wanted.min(decides_at - self.at);
            strand.read(&mut out[..count as usize * CHANNELS]);
            return count;
        }
        if self.next.is_none() && self.decided != end && end < self.song.frames {
            self.decided = end;
            self.decide(end, fade);
        }
        match &self.next {
            Some((_, from)) => self.cross(out, *from, fade),
            None => self.read_to(out, end),
        }
    }

    /// What follows the segment that is read: at the best quality that is here.
    fn decide(&mut self, end: u64, fade: u64) {
        let Some(strand) = &mut self.strand else { return };
        let far = (end + u64::from(self.song.rate / WORTH_IT)).min(self.song.frames);
        for rendition in self.song.renditions().iter() {
            if Arc::ptr_eq(rendition, strand.rendition()) {
                if strand.prepare(&self.shelf) {
                    return;
                }
            } else if self.at + fade + fade / 2 <= end
                && rendition.covers(self.at, far)
                && let Some(next) = Strand::open(rendition, self.at, &self.shelf)
            {
                self.next = Some((next, self.at));
                return;
            }
        }
    }

    /// Reads on to the segment's end.
    fn read_to(&mut self, out: &mut [f32], end: u64) -> u64 {
        let Some(strand) = &mut self.strand else { return 0 };
        let count = ((out.len() / CHANNELS) as u64).min(end.saturating_sub(self.at));
        strand.read(&mut out[..count as usize * CHANNELS]);
        if self.at + count >= end {
            if strand.pass() {
                // Early, so that there is time to fetch one that went bad.
                strand.prepare(&self.shelf);
            } else {
                self.strand = None;
            }
        }
        count
    }

    /// Reads both, and goes from one to the other.
    fn cross(&mut self, out: &mut [f32], from: u64, fade: u64) -> u64 {
        let (Some(strand), Some((next, _))) = (&mut self.strand, &mut self.next) else { return 0 };
        let passed = self.at - from;
        let count = ((out.len() / CHANNELS) as u64).min(fade - passed);
        let out = &mut out[..count as usize * CHANNELS];
        strand.read(out);
        self.mixed.resize(out.len(), 0.0);
        next.read(&mut self.mixed);
        let pairs = out.chunks_exact_mut(CHANNELS).zip(self.mixed.chunks_exact(CHANNELS));
        for (n, (frame, other)) in pairs.enumerate() {
            let share = (passed + n as u64 + 1) as f32 / fade as f32;
            for (sample, other) in frame.iter_mut().zip(other) {
                *sample += (other - *sample) * share;
            }
        }
        if passed + count == fade {
            self.strand = self.next.take().map(|(next, _)| next);
            self.decided = 0;
        }
        count
    }

    fn open(&self) -> Option<Strand> {
        let all = self.song.renditions();
        all.iter().find_map(|rendition| Strand::open(rendition, self.at, &self.shelf))
    }

    /// Silence where nothing is here.
    fn gap(&mut self, out: &mut [f32]) -> u64 {
        let wanted = (out.len() / CHANNELS) as u64;
        let all = self.song.renditions();
        let soon = all.iter().filter_map(|rendition| {
            let index = rendition.segment_at(self.at + SMALL_GAP)?;
            let (start, _) = rendition.span(index);
            (rendition.is_ready(index) && start > self.at).then(|| start - self.at)
        });
        let count = match soon.min() {
            Some(gap) => wanted.min(gap),
            None => {
                self.failure = Some("a part of it is not here (any more)".to_owned());
                wanted
            }
        };
        out[..count as usize * CHANNELS].fill(0.0);
        count
    }
}

impl Sound for SegmentSound {
    fn seek(&mut self, frame: u64) {
        if frame != self.at {
            (self.strand, self.next) = (None, None);
            (self.at, self.decided) = (frame, 0);
        }
    }

    fn read(&mut self, out: &mut [f32]) -> usize {
        let left = self.song.frames.saturating_sub(self.at);
        let wanted = ((out.len() / CHANNELS) as u64).min(left) as usize;
        let mut done = 0;
        while done < wanted {
            let count = self.step(&mut out[done * CHANNELS..wanted * CHANNELS]);
            self.at += count;
            done += count as usize;
        }
        done
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn kbps(&self) -> Option<u32> {
        self.strand.as_ref().map(|strand| strand.rendition().kbps)
    }
}

#[cfg(test)]
mod tests;
