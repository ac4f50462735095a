//! A song, its segments, and what must be true of both.
#![allow(missing_docs, dead_code)]

use std::path::Path;
use std::sync::Arc;

use jam_media::{
    Manifest, Refusal, SEGMENT_BYTES_MAX, SEGMENT_SECS_MAX, SEGMENTER, SegmentDecoder, SongInfo,
    cut, file, inspect,
};

use crate::common::{LIMITS, all, open};

pub const EXACT: f32 = 0.0;
/// Opus never forgets all it heard. At most 0.0015 was measured, with noise at 24 kbit/s.
pub const OPUS: f32 = 5e-3;
/// Perceptual noise substitution: each decoder makes up noise of its own, of the loudness that the packet
/// says. At most 0.17 was measured, where the noise is 0.1 loud and the limit of two such is what counts.
pub const AAC_NOISE: f32 = 0.3;

/// A song in pieces.
pub struct Pieces {
    pub manifest: Arc<Manifest>,
    pub segments: Vec<Vec<u8>>,
}

impl Pieces {
    pub fn of(path: &Path, info: &SongInfo) -> Self {
        let mut segments = Vec::new();
        let source = file(path).expect("the file was made before");
        let manifest = cut(source, info.frames, info.sample_rate, |segment, bytes| {
            assert_eq!(segment.bytes as usize, bytes.len());
            segments.push(bytes);
            Ok::<_, Refusal>(())
        });
        let manifest = manifest.unwrap_or_else(|refusal| panic!("{path:?}: {refusal}"));
        Self { manifest: Arc::new(manifest), segments }
    }

    pub fn decoder(&self) -> SegmentDecoder {
        SegmentDecoder::new(self.manifest.clone()).expect("the song was decoded before")
    }

    /// A segment's frames, from one of them on, by a decoder that has seen nothing else.
    pub fn alone(&self, index: usize, from: u64) -> Vec<f32> {
        let mut decoder = self.decoder();
        decoder.take(index, self.segments[index].clone()).expect("it was just cut");
        decoder.seek(from);
        rest(&mut decoder)
    }

    /// All of it, by one decoder.
    pub fn in_a_row(&self) -> Vec<f32> {
        let mut decoder = self.decoder();
        let mut samples = Vec::new();
        for (index, bytes) in self.segments.iter().enumerate() {
            decoder.take(index, bytes.clone()).expect("it was just cut");
            samples.extend(rest(&mut decoder));
        }
        samples
    }

    fn bytes(&self) -> usize {
        self.segments.iter().map(Vec::len).sum::<usize>() + self.manifest.encode().len()
    }
}

fn rest(decoder: &mut SegmentDecoder) -> Vec<f32> {
    let mut samples = Vec::new();
    let mut chunk = [0.0; 2 * 1009];
    loop {
        match decoder.read(&mut chunk) {
            0 => return samples,
            frames => samples.extend_from_slice(&chunk[..frames * 2]),
        }
    }
}

/// The largest difference of two samples.
pub fn difference(some: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(some.len(), expected.len());
    some.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// All that must be true of any song. `bound`: how far off a segment that is decoded alone may be.
pub fn is_the_song(path: &Path, bound: f32) -> Pieces {
    let info = inspect(file(path).expect("the file was made before"), LIMITS)
        .unwrap_or_else(|refusal| panic!("{path:?}: {refusal}"));
    let pieces = Pieces::of(path, &info);
    let name = path.display();
    is_sound(&pieces, &info);
    let again = Pieces::of(path, &info);
    assert!(again.manifest == pieces.manifest && again.segments == pieces.segments, "{name}");

    let whole = all(&mut open(path, &info));
    let mut row = pieces.decoder();
    let mut worst = 0f32;
    for (index, segment) in pieces.manifest.segments().iter().enumerate() {
        let expected = &whole[segment.first_frame as usize * 2..segment.end() as usize * 2];
        row.take(index, pieces.segments[index].clone()).expect("it was just cut");
        assert_eq!(row.position(), segment.first_frame);
        assert_eq!(difference(&rest(&mut row), expected), 0.0, "{name}: {index} in a row");
        let alone = pieces.alone(index, segment.first_frame);
        worst = worst.max(difference(&alone, expected));
    }
    assert_eq!(row.position(), info.frames);
    // Prerolls and the manifest are all that comes on top; short songs have some bytes of headers.
    let bytes = std::fs::metadata(path).expect("a file").len() as usize;
    assert!(pieces.bytes() <= bytes + bytes / 16 + 4096, "{name}: {} of {bytes}", pieces.bytes());
    assert!(worst <= bound, "{name}: off by {worst}");
    any_frame(&pieces, &whole, bound, &name.to_string());
    pieces
}

/// What the manifest promises.
pub fn is_sound(pieces: &Pieces, info: &SongInfo) {
    let manifest = &pieces.manifest;
    assert_eq!(manifest.frames(), info.frames);
    assert_eq!(manifest.sample_rate(), info.sample_rate);
    assert_eq!(manifest.channels(), info.channels);
    assert_eq!(manifest.segmenter(), SEGMENTER);
    assert!(manifest.codec().starts_with(&info.codec), "{} {}", manifest.codec(), info.codec);
    assert_eq!(manifest.segments().len(), pieces.segments.len());
    let mut next = 0;
    for (segment, bytes) in manifest.segments().iter().zip(&pieces.segments) {
        assert_eq!(segment.first_frame, next);
        assert!(segment.frames <= u64::from(SEGMENT_SECS_MAX * info.sample_rate));
        assert!(bytes.len() <= SEGMENT_BYTES_MAX);
        assert_eq!(segment.hash, *blake3::hash(bytes).as_bytes());
        next = segment.end();
    }
    assert_eq!(next, info.frames);
    let wire = manifest.encode();
    assert!(wire.len() <= 64 + manifest.extra_data().len() + 43 * pieces.segments.len());
    assert_eq!(Manifest::decode(&wire).as_ref(), Ok(&**manifest));
    for (frame, index) in [(0, Some(0)), (next - 1, Some(pieces.segments.len() - 1)), (next, None)]
    {
        assert_eq!(manifest.segment_at(frame), index);
    }
}

/// The first and last frames of segments, and some in between, in no order.
fn any_frame(pieces: &Pieces, whole: &[f32], bound: f32, name: &str) {
    let frames = pieces.manifest.frames();
    let mut state = 12_345u64;
    for _ in 0..2 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let frame = (state >> 20) % frames;
        let index = pieces.manifest.segment_at(frame).expect("a frame of the song");
        let segment = pieces.manifest.segments()[index];
        let alone = pieces.alone(index, segment.first_frame);
        let expected = &whole[segment.first_frame as usize * 2..segment.end() as usize * 2];
        assert!(difference(&alone, expected) <= bound, "{name}: {index}");
        let mut decoder = pieces.decoder();
        decoder.take(index, pieces.segments[index].clone()).expect("it was just cut");
        for frame in [frame, segment.end() - 1, segment.end(), segment.first_frame, frame] {
            decoder.seek(frame);
            assert_eq!(decoder.position(), frame);
            let from = (frame - segment.first_frame) as usize * 2;
            assert!(rest(&mut decoder) == alone[from..], "{name} at {frame}");
        }
    }
}
