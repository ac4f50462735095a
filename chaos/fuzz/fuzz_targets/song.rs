//! A song of any bytes: refused, or decoded to exactly its length, from any frame.
#![no_main]

use std::io::Cursor;

use jam_fuzz::panics_may_be_caught;
use jam_media::{Decoder, Limits, Source, inspect, source};
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
});

fn from(bytes: &[u8]) -> Source {
    source(Cursor::new(bytes.to_vec()), bytes.len() as u64)
}
