//! Real files of every format, cut off anywhere and changed anyhow: never a panic, and whatever is taken is of exactly the length
//! that it was found to have, for who decodes it in one piece and for who cuts it.
#![allow(missing_docs)]

mod common;
mod forge;

use std::io::Cursor;

use common::{LIMITS, Songs, all};
use forge::noise;
use jam_media::{Decoder, Refusal, SongInfo, Source, cut, inspect, source};

/// File names with what ffmpeg makes them with.
const KINDS: &[(&str, &[&str])] = &[
    ("a.wav", &[]),
    ("float.wav", &["-c:a", "pcm_f32le"]),
    ("a.aiff", &[]),
    ("a.flac", &[]),
    ("flac.ogg", &["-c:a", "flac"]),
    ("alac.m4a", &["-c:a", "alac"]),
    ("a.mp3", &[]),
    ("untagged.mp3", &["-write_xing", "0", "-id3v2_version", "0"]),
    ("a.m4a", &[]),
    ("fast.m4a", &["-movflags", "faststart"]),
    ("fragments.m4a", &["-movflags", "frag_keyframe+empty_moov"]),
    ("a.aac", &[]),
    ("a.ogg", &["-c:a", "libvorbis"]),
    ("a.opus", &["-c:a", "libopus"]),
    ("opus.mp4", &["-c:a", "libopus"]),
    ("a.webm", &["-c:a", "libopus"]),
    ("live.webm", &["-c:a", "libopus", "-live", "1"]),
    ("a.mp2", &[]),
    ("pcm.caf", &["-c:a", "pcm_s16be"]),
    ("alac.caf", &["-c:a", "alac"]),
    ("opus.caf", &["-c:a", "libopus"]),
];

/// Half a second of sound in each format.
fn each_kind(mut check: impl FnMut(&str, Vec<u8>)) {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, 22_100);
    for (name, options) in KINDS {
        songs.ffmpeg("original.wav", options, name);
        check(name, songs.bytes(name));
    }
}

fn of(bytes: &[u8]) -> Source {
    source(Cursor::new(bytes.to_vec()), bytes.len() as u64)
}

/// What is taken is what it was found to be, to the frame; what is refused is refused again, by the same name.
fn is_consistent(bytes: &[u8], what: &str) -> Result<SongInfo, Refusal> {
    let found = inspect(of(bytes), LIMITS);
    assert_eq!(found, inspect(of(bytes), LIMITS), "{what}");
    let info = found?;
    assert!(info.frames > 0 && info.sample_rate > 0, "{what}: {info:?}");
    let song = Decoder::open(of(bytes), info.frames, info.sample_rate);
    let mut song = song.unwrap_or_else(|refusal| panic!("{what} was taken: {refusal}"));
    assert_eq!(all(&mut song).len() as u64, info.frames * 2, "{what}");
    song.seek(info.frames / 2);
    assert_eq!(all(&mut song).len() as u64, (info.frames - info.frames / 2) * 2, "{what}");
    match cut(of(bytes), info.frames, info.sample_rate, |_, _| Ok::<_, Refusal>(())) {
        Ok(manifest) => assert_eq!(manifest.frames(), info.frames, "{what}"),
        Err(Refusal::Unsegmentable(_)) => {}
        Err(refusal) => panic!("{what} was taken: {refusal}"),
    }
    Ok(info)
}

#[test]
fn files_that_end_anywhere() {
    each_kind(|name, bytes| {
        let whole =
            is_consistent(&bytes, name).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        // Every place in the first bytes, then evenly to the end, then each of the last.
        let heads = (0..64).step_by(3);
        let middles = (0..40).map(|n| 64 + (bytes.len() - 128) * n / 40);
        let tails = (bytes.len() - 9..bytes.len()).step_by(2);
        for end in heads.chain(middles).chain(tails) {
            let what = format!("{name}, the first {end} of {} bytes", bytes.len());
            match is_consistent(&bytes[..end], &what) {
                Ok(info) => assert!(info.frames <= whole.frames + 2 * 1152, "{what}: {info:?}"),
                Err(refusal) => assert_eq!(refusal == Refusal::EmptyFile, end == 0, "{what}"),
            }
        }
    });
}

#[test]
fn files_that_are_changed_anyhow() {
    each_kind(|name, bytes| {
        for seed in 0..60 {
            let what = format!("{name}, seed {seed}");
            let _ = is_consistent(&changed(&bytes, seed), &what);
        }
    });
}

/// One to four changes: bits flipped, bytes at an extreme, a stretch lost, doubled or overwritten. Half of them near the start,
/// where the headers are.
fn changed(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let dice = noise(64, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    for roll in dice.chunks(8).take(1 + usize::from(dice[0]) % 4) {
        let number = |at: usize| usize::from(roll[at]) << 8 | usize::from(roll[at + 1]);
        let range = if roll[1] % 2 == 0 { bytes.len() } else { bytes.len().min(2000) };
        let at = (number(2) << 8 | usize::from(roll[4])) % range;
        let end = (at + 1 + number(5) % 700).min(bytes.len());
        match roll[7] % 6 {
            0 => bytes[at] ^= 1 << (roll[5] % 8),
            1 => bytes[at..end.min(at + 4)].fill(0xff),
            2 => bytes[at..end.min(at + 4)].fill(0),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes[at..end].copy_from_slice(&noise(end - at, seed)),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn files_that_are_no_songs() {
    let pages = "<html><body>404: no such song</body></html>\n".repeat(2000);
    for bytes in
        [&b""[..], b"x", b"\xff", b"\xff\xfb", b"RIFF", b"OggS", b"fLaC", b"ID3", b"\0\0\0\x08ftyp"]
    {
        assert!(is_consistent(bytes, "a few bytes").is_err(), "{bytes:?}");
    }
    assert_eq!(is_consistent(pages.as_bytes(), "text"), Err(Refusal::NotAudio));
    for seed in 0..20 {
        let bytes = noise(40_000, seed);
        assert!(is_consistent(&bytes, "noise").is_err(), "seed {seed}");
        // Behind the first bytes of a song.
        for magic in [
            &b"RIFF\xff\xff\0\0WAVEfmt "[..],
            b"fLaC\0\0\0\x22",
            b"OggS\0\x02",
            b"\xff\xfb\x90\x64",
            b"ID3\x04\0\0\0\0\x10\0",
        ] {
            let what = format!("noise behind {magic:?}, seed {seed}");
            let _ = is_consistent(&[magic, &bytes].concat(), &what);
        }
    }
}
