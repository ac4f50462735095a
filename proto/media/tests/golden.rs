//! What is cut today is what was cut yesterday: manifests by their hashes, which cover every byte of every segment.
#![allow(missing_docs)]

use std::io::Cursor;
use std::path::Path;

use jam_media::{Limits, Refusal, SEGMENTER, Source, cut, file, inspect, source};

const LIMITS: Limits = Limits { secs_max: 3600 };
/// The [`SEGMENTER`] that the hashes below are of.
const GOLDEN_SEGMENTER: u32 = 1;

fn manifest_hash(song: impl Fn() -> Source) -> String {
    let info = inspect(song(), LIMITS).expect("a song");
    let cut = cut(song(), info.frames, info.sample_rate, |_, _| Ok::<_, Refusal>(()));
    blake3::hash(&cut.expect("a song that was inspected").encode()).to_hex().to_string()
}

fn is_golden(name: &str, song: impl Fn() -> Source, golden: &str) {
    let hash = manifest_hash(song);
    assert!(
        hash == golden && SEGMENTER == GOLDEN_SEGMENTER,
        "{name}: its manifest is {hash} by segmenter {SEGMENTER}, and was {golden} by {GOLDEN_SEGMENTER}.\n\
         Nodes and players know segments by their hashes. If this change is meant, raise SEGMENTER, write \
         it and the new hashes here, and say in docs/decisions/0015-segments.md what changed. If it is not \
         (another version of symphonia finds other packets, say), the change must go."
    );
}

#[test]
fn the_bundled_tunes() {
    let tunes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tunes");
    let tune = |name: &str| file(&tunes.join(name)).expect("it is bundled");
    is_golden(
        "lantern-street.mp3",
        || tune("lantern-street.mp3"),
        "4f3a1410d7f5bbda7a299f41528c973dcd8fc0435a509870e881c8978899b7c2",
    );
    is_golden(
        "slow-tide.opus",
        || tune("slow-tide.opus"),
        "2fa569ae68a8472bf1b1482fc3b6a81c96504885b6c1912dbf4a6d4994b070b6",
    );
}

/// Twelve seconds of 24-bit stereo noise, made of whole numbers only, so that it is the same everywhere: three
/// segments, the last of them short.
#[test]
fn a_wav() {
    let (rate, frames) = (44_100u32, 529_201u32);
    let mut noise = 1u32;
    let data: Vec<u8> = (0..frames * 6)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .collect();
    let length = data.len() as u32;
    let mut wav = b"RIFF".to_vec();
    wav.extend_from_slice(&(36 + length).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    wav.extend_from_slice(&rate.to_le_bytes());
    wav.extend_from_slice(&(rate * 6).to_le_bytes());
    wav.extend_from_slice(b"\x06\0\x18\0data");
    wav.extend_from_slice(&length.to_le_bytes());
    wav.extend_from_slice(&data);
    let song = || source(Cursor::new(wav.clone()), wav.len() as u64);
    is_golden("a WAV", song, "a033d967eb940b943de9135662aed5c41256815a19313c52f47f732f9fdcf69f");
}
