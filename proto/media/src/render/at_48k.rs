//! A song at 48 kHz, from its first frame on.

use super::RENDITION_RATE;
use crate::{Decoder, Filter, Refusal};

/// Reads a song in order, resampled if need be: frame k is the song's sound k/48000 s after its first frame. What lies
/// before it and behind its end is silence.
pub(super) struct At48k {
    decoder: Decoder,
    /// None: it has the rate already.
    resampler: Option<Resampler>,
}

struct Resampler {
    filter: Filter,
    in_rate: u64,
    /// The output frame that comes next.
    next: u64,
    /// The song's frames from `from` on, as many as are still needed.
    left: Vec<f32>,
    right: Vec<f32>,
    from: i64,
    /// What was decoded, before it is parted.
    decoded: Vec<f32>,
}

impl At48k {
    pub(super) fn of(decoder: Decoder, sample_rate: u32) -> Self {
        let resampler = (sample_rate != RENDITION_RATE).then(|| Resampler::new(sample_rate));
        Self { decoder, resampler }
    }

    /// Fills `out` with the next interleaved stereo frames.
    ///
    /// # Errors
    /// If the song can't be read: what would be a moment's silence to a player would stay in a rendition.
    pub(super) fn read(&mut self, out: &mut [f32]) -> Result<(), Refusal> {
        match &mut self.resampler {
            Some(resampler) => resampler.read(&mut self.decoder, out),
            None => fill(&mut self.decoder, out),
        }
        let failure = self.decoder.failure().map(str::to_owned);
        failure.map_or(Ok(()), |why| Err(Refusal::Unreadable(why)))
    }
}

impl Resampler {
    fn new(sample_rate: u32) -> Self {
        let filter = Filter::new(f64::from(sample_rate) / f64::from(RENDITION_RATE));
        // Silence before the song, as far as its first frame's filter reaches back.
        let before = filter.taps() / 2 - 1;
        Self {
            filter,
            in_rate: u64::from(sample_rate),
            next: 0,
            left: vec![0.0; before],
            right: vec![0.0; before],
            from: -(before as i64),
            decoded: Vec::new(),
        }
    }

    fn read(&mut self, song: &mut Decoder, out: &mut [f32]) {
        let frames = out.len() as u64 / 2;
        let (first, last) = (self.span_of(self.next), self.span_of(self.next + frames - 1));
        self.take_in(first, last + self.filter.taps() as i64, song);
        for (frame, k) in out.as_chunks_mut::<2>().0.iter_mut().zip(self.next..) {
            let at = (self.span_of(k) - self.from) as usize;
            let span = at..at + self.filter.taps();
            let rest = k * self.in_rate % u64::from(RENDITION_RATE);
            // Counted anew for each frame, so that nothing adds up in hours.
            let fraction = rest as f64 / f64::from(RENDITION_RATE);
            *frame = self.filter.at(fraction, &self.left[span.clone()], &self.right[span]);
        }
        self.next += frames;
    }

    /// The first of the song's frames that output frame `k` is made of.
    fn span_of(&self, k: u64) -> i64 {
        let whole = k * self.in_rate / u64::from(RENDITION_RATE);
        whole as i64 - (self.filter.taps() as i64 / 2 - 1)
    }

    /// Holds the song's frames from `first` on up to `end`.
    fn take_in(&mut self, first: i64, end: i64, song: &mut Decoder) {
        let past = (first - self.from).clamp(0, self.left.len() as i64);
        self.left.drain(..past as usize);
        self.right.drain(..past as usize);
        self.from += past;
        let more = (end - self.from - self.left.len() as i64).max(0) as usize;
        self.decoded.resize(more * 2, 0.0);
        fill(song, &mut self.decoded);
        self.left.extend(self.decoded.iter().step_by(2));
        self.right.extend(self.decoded.iter().skip(1).step_by(2));
    }
}

/// Reads all of `out`, which is silence behind the song's end.
fn fill(song: &mut Decoder, out: &mut [f32]) {
    let frames = song.read(out);
    out[frames * 2..].fill(0.0);
}
