//! A song of any bytes: refused, or decoded to exactly its length, from any frame and in segments.
#![no_main]

use std::io::Cursor;
use std::sync::Arc;

use jam_fuzz::panics_may_be_caught;
use jam_media::{Decoder, Limits, Refusal, SegmentDecoder, SongInfo, Source, cut, inspect, source};
use libfuzzer_sys::fuzz_target;

/// Small files can be long songs.
const SECS_MAX: u64 = 60;

fuzz_target!(|bytes: &[u8]| {
    // A panic of a parser is a refusal there.
    let Ok(info) = panics_may_be_caught(|| inspect(from(bytes), Limits { secs_max: SECS_MAX }))
    else {
        return;
    };
    assert!(info.frames > 0 && info.sample_rate > 0);
    assert!(info.frames <= SECS_MAX * u64::from(info.sample_rate));
    let opened = Decoder::open(from(bytes), info.frames, info.sample_rate);
    let mut song = opened.unwrap_or_else(|refusal| panic!("it was accepted: {refusal}"));
    let mut samples = [0.0; 2 * 4096];
    for begin in [0, info.frames / 2, info.frames - 1, info.frames / 3] {
        song.seek(begin);
        let mut frames = 0;
        loop {
            match song.read(&mut samples) {
                0 => break,
                read => frames += read as u64,
            }
        }
        assert_eq!(frames, info.frames - begin);
    }
    in_segments(bytes, &info);
});

/// One after the other they are the song, to the last bit.
fn in_segments(bytes: &[u8], info: &SongInfo) {
    // Another one: AAC's noise goes on when a decoder is reset.
    let song = Decoder::open(from(bytes), info.frames, info.sample_rate);
    let mut song = song.expect("it was opened before");
    let mut segments = Vec::new();
    let manifest = cut(from(bytes), info.frames, info.sample_rate, |_, bytes| {
        segments.push(bytes);
        Ok::<_, Refusal>(())
    });
    let manifest = match manifest {
        Err(Refusal::Unsegmentable(_)) => return,
        manifest => {
            Arc::new(manifest.unwrap_or_else(|refusal| panic!("it was accepted: {refusal}")))
        }
    };
    let mut decoder = SegmentDecoder::new(manifest.clone()).expect("it was decoded before");
    let (mut samples, mut expected) = ([0.0; 2 * 4096], [0.0; 2 * 4096]);
    for (index, segment) in segments.into_iter().enumerate() {
        decoder.take(index, segment).expect("it was just cut");
        loop {
            let frames = decoder.read(&mut samples);
            if frames == 0 {
                break;
            }
            assert_eq!(song.read(&mut expected[..frames * 2]), frames);
            for (one, other) in samples[..frames * 2].iter().zip(&expected) {
                assert_eq!(one.to_bits(), other.to_bits());
            }
        }
    }
    assert_eq!((decoder.position(), song.position()), (info.frames, info.frames));
}

fn from(bytes: &[u8]) -> Source {
    source(Cursor::new(bytes.to_vec()), bytes.len() as u64)
}
