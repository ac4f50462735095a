//! A song at one quality, at the song's own rate: segment after segment through one decoder.

use std::sync::Arc;

use jam_media::SegmentDecoder;

use super::local::LocalRendition;
use super::sound::Shelf;
use crate::audio::CHANNELS;
use crate::audio::resample::{Input, Resampler};

/// What reads segments.
pub(super) struct Strand {
    rendition: Arc<LocalRendition>,
    /// The segment that is read: the decoder may be a little ahead of it.
    index: usize,
    feed: Feed,
    converter: Option<Converter>,
}

/// The frames of a rendition, at its own rate.
struct Feed {
    decoder: SegmentDecoder,
    /// What the decoder has.
    taken: usize,
    /// What it takes next.
    next: Option<(usize, Vec<u8>)>,
    /// Frames of silence that come first.
    silence: u64,
}

/// To the song's rate.
struct Converter {
    resampler: Resampler,
    /// Own frames for each of the song's.
    step: f64,
}

impl Strand {
    /// At a frame of the song; `None`: it can't be loaded.
    pub(super) fn open(rendition: &Arc<LocalRendition>, frame: u64, shelf: &Shelf) -> Option<Self> {
        let index = rendition.segment_at(frame)?;
        let bytes = shelf.load(rendition, index)?;
        let mut decoder = SegmentDecoder::new(rendition.manifest.clone())
            .inspect_err(|error| tracing::warn!("a song can't be decoded: {error}"))
            .ok()?;
        decoder
            .take(index, bytes)
            .inspect_err(|error| tracing::warn!("a segment can't be decoded: {error}"))
            .ok()?;
        let mut feed = Feed { decoder, taken: index, next: None, silence: 0 };
        let converter = if rendition.is_in_step() {
            feed.decoder.seek(frame);
            None
        } else {
            Some(feed.begin(rendition, index, frame))
        };
        let mut strand = Self { rendition: rendition.clone(), index, feed, converter };
        // Early, so that there is time to fetch one that went bad.
        strand.prepare(shelf);
        Some(strand)
    }

    pub(super) fn rendition(&self) -> &Arc<LocalRendition> {
        &self.rendition
    }

    /// The song's frame behind the segment that is read.
    pub(super) fn end(&self) -> u64 {
        self.rendition.span(self.index).1
    }

    /// Whether the segment after that one is loaded.
    pub(super) fn goes_on(&self) -> bool {
        self.feed.taken > self.index || self.feed.next.is_some()
    }

    /// Loads the segment after that one, if it is here. Whether it is loaded.
    pub(super) fn prepare(&mut self, shelf: &Shelf) -> bool {
        if !self.goes_on() {
            let index = self.index + 1;
            self.feed.next = shelf.load(&self.rendition, index).map(|bytes| (index, bytes));
        }
        self.goes_on()
    }

    /// Goes on to the segment after that one; `false`: it is not here, or there is none.
    pub(super) fn pass(&mut self) -> bool {
        let goes_on = self.goes_on();
        self.index += usize::from(goes_on);
        goes_on
    }

    /// Reads frames of the song. What is not here is silence.
    pub(super) fn read(&mut self, out: &mut [f32]) {
        match &mut self.converter {
            Some(converter) => converter.resampler.run(out, converter.step, &mut self.feed),
            None => self.feed.feed(out),
        }
    }
}

impl Feed {
    /// Goes to the place from which a converter needs it.
    fn begin(&mut self, rendition: &LocalRendition, index: usize, frame: u64) -> Converter {
        let (own, song) = (rendition.manifest.sample_rate(), rendition.song_rate());
        let mut resampler = Resampler::new(own, song);
        let step = f64::from(own) / f64::from(song);
        // Whole frames and the rest, exactly.
        let whole = rendition.own_frame(frame);
        let rest = u128::from(frame) * u128::from(own) - u128::from(whole) * u128::from(song);
        let fraction = rest as f64 / f64::from(song);
        let preroll = resampler.preroll();
        resampler.begin(preroll as f64 + fraction, step);
        let first = rendition.manifest.segments()[index].first_frame;
        self.silence = (first + preroll).saturating_sub(whole);
        self.decoder.seek((whole + self.silence) - preroll);
        Converter { resampler, step }
    }
}

impl Input for Feed {
    fn feed(&mut self, out: &mut [f32]) {
        let silence = (self.silence as usize * CHANNELS).min(out.len());
        let (silent, mut rest) = out.split_at_mut(silence);
        silent.fill(0.0);
        self.silence -= (silence / CHANNELS) as u64;
        while !rest.is_empty() {
            let count = self.decoder.read(rest);
            rest = &mut rest[count * CHANNELS..];
            if count > 0 {
                continue;
            }
            let took = self.next.take().is_some_and(|(index, bytes)| {
                self.taken = index;
                self.decoder.take(index, bytes).is_ok()
            });
            if !took {
                rest.fill(0.0);
                return;
            }
        }
    }
}
