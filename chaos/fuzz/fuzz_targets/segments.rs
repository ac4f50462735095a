//! Bytes as a manifest: refused, or encoded as they were. Bytes as a segment, under a manifest that calls it right: refused,
//! or as long as the manifest says.
#![no_main]

use std::sync::Arc;

use jam_media::{Manifest, SegmentDecoder};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    manifest: Vec<u8>,
    frames: u16,
    preroll_frames: u16,
    seek: u16,
    segment: Vec<u8>,
}

fuzz_target!(|input: Input| {
    if let Ok(manifest) = Manifest::decode(&input.manifest) {
        assert_eq!(manifest.encode(), input.manifest);
        let last = manifest.segments().last().expect("it has some");
        assert_eq!(last.end(), manifest.frames());
        assert_eq!(manifest.segment_at(last.first_frame), Some(manifest.segments().len() - 1));
        // Whatever its codec is, and its headers are.
        let _ = SegmentDecoder::new(Arc::new(manifest));
    }
    let Ok(manifest) = Manifest::decode(&around(&input)) else { return };
    let mut decoder = SegmentDecoder::new(Arc::new(manifest)).expect("it is 16-bit mono");
    if decoder.take(0, input.segment).is_err() {
        return;
    }
    let frames = u64::from(input.frames);
    let mut samples = [0.0; 2 * 1000];
    for from in [0, u64::from(input.seek).min(frames), 0] {
        decoder.seek(from);
        let mut read = 0;
        loop {
            match decoder.read(&mut samples) {
                0 => break,
                more => read += more as u64,
            }
        }
        assert_eq!(read, frames - from);
    }
});

/// A manifest of 16-bit mono with this segment, which it believes in.
fn around(input: &Input) -> Vec<u8> {
    let mut wire = vec![1, 1, 9];
    wire.extend_from_slice(b"pcm_s16le");
    put_number(&mut wire, 8000);
    // One channel, in the middle; as many bits as there are; no headers.
    wire.extend_from_slice(&[1, 1, 4, 0, 0, 0]);
    put_number(&mut wire, u64::from(input.frames));
    wire.push(1);
    wire.extend_from_slice(blake3::hash(&input.segment).as_bytes());
    put_number(&mut wire, input.segment.len() as u64);
    put_number(&mut wire, u64::from(input.frames));
    put_number(&mut wire, u64::from(input.preroll_frames));
    wire
}

fn put_number(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
