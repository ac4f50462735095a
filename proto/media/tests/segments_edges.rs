//! Songs that are short, cut oddly, damaged or too much for segments; and bytes that are none.
#![allow(missing_docs)]

mod common;
mod pieces;

use std::sync::Arc;

use common::{Songs, all, open};
use jam_media::{Manifest, ManifestError, Refusal, SegmentDecoder, SegmentError, cut, file};
use pieces::{EXACT, OPUS, Pieces, is_the_song};

/// File names with what ffmpeg makes them with.
const KINDS: &[(&str, &[&str])] = &[
    ("a.wav", &[]),
    ("a.flac", &[]),
    ("alac.m4a", &["-c:a", "alac"]),
    ("a.mp3", &[]),
    ("a.m4a", &["-aac_pns", "0"]),
    ("a.aac", &["-aac_pns", "0"]),
    ("a.ogg", &["-c:a", "libvorbis"]),
    ("a.opus", &["-c:a", "libopus"]),
];

fn bound(name: &str) -> f32 {
    if name.ends_with("opus") { OPUS } else { EXACT }
}

#[test]
fn short_songs_and_short_segments() {
    let songs = Songs::new();
    // Less than a packet; a packet; a packet more than five seconds hold, of WAV and of FLAC.
    for frames in [200, 700, 1152, 4096, 191 * 1152 + 600, 47 * 4608 + 4000] {
        songs.original_of("original.wav", 44_100, frames);
        for (to, options) in KINDS {
            let pieces = is_the_song(&songs.ffmpeg("original.wav", options, to), bound(to));
            if frames < 10_000 {
                assert_eq!(pieces.segments.len(), 1, "{to}");
            }
            if *to == "a.flac" && frames > 200_000 {
                assert_eq!(pieces.segments.len(), if frames > 220_500 { 2 } else { 1 });
            }
            if *to == "a.wav" && frames == 191 * 1152 + 600 {
                assert_eq!(pieces.segments.len(), 2);
                assert_eq!(pieces.segments[1].len(), 1 + 2 + 2 + 600 * 4, "a single packet");
            }
        }
    }
}

/// An edit list that starts in the second segment's middle.
#[test]
fn a_song_that_starts_late() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, 700_000);
    songs.ffmpeg("original.wav", &["-aac_pns", "0"], "a.m4a");
    let mut bytes = songs.bytes("a.m4a");
    let list = bytes.windows(4).position(|name| name == b"elst").expect("ffmpeg writes one");
    bytes[list + 16..list + 20].copy_from_slice(&300_000u32.to_be_bytes());
    let pieces = is_the_song(&songs.put("late.m4a", &bytes), EXACT);
    assert!(pieces.manifest.leading_trim() < 2 * 1024, "what is not heard is not kept");
}

#[test]
fn damaged_songs_have_the_same_silence() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, 540_017);
    for (to, options) in KINDS {
        songs.ffmpeg("original.wav", options, to);
        let mut bytes = songs.bytes(to);
        let middle = bytes.len() / 2;
        bytes[middle..middle + 3000].fill(0x55);
        let path = songs.put(to, &bytes);
        // What ingest refuses is not cut.
        if songs.inspect(to).is_ok() {
            is_the_song(&path, bound(to));
        }
    }
}

/// Two seconds of a FLAC's packets are gone.
#[test]
fn a_hole_is_silence() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, 540_017);
    songs.ffmpeg("original.wav", &[], "a.flac");
    let bytes = songs.bytes("a.flac");
    let (from, to) = (bytes.len() / 3, bytes.len() / 2);
    let path = songs.put("hole.flac", &[&bytes[..from], &bytes[to..]].concat());
    let pieces = is_the_song(&path, EXACT);
    assert_eq!(pieces.manifest.frames(), 540_017);
}

#[test]
fn the_committed_length_is_the_truth() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, 540_017);
    for (to, options) in KINDS {
        let path = songs.ffmpeg("original.wav", options, to);
        let mut info = songs.info(to);
        for frames in [info.frames + 300_000, info.frames - 1, 5] {
            info.frames = frames;
            let pieces = Pieces::of(&path, &info);
            assert!(pieces.in_a_row() == all(&mut open(&path, &info)), "{to}: {frames}");
        }
    }
}

fn refused(songs: &Songs, name: &str, frames: u64, rate: u32) -> Refusal {
    let source = file(&songs.path(name)).expect("the file was made before");
    cut(source, frames, rate, |_, _| Ok::<_, Refusal>(())).expect_err(name)
}

#[test]
fn what_can_not_be_cut_is_refused_by_name() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, 540_017);
    // Eight seconds in a packet; more than a mebibyte in a packet.
    songs.ffmpeg("original.wav", &["-ar", "8000", "-frame_size", "65535"], "slow.flac");
    let noise = (0..8).map(|n| format!("random({n})*2-1")).collect::<Vec<_>>().join("|");
    let noise = format!("aeval={noise}:c=7.1");
    let options = ["-af", &noise, "-sample_fmt", "s32", "-frame_size", "65535"];
    songs.ffmpeg("original.wav", &options, "wide.flac");
    for name in ["slow.flac", "wide.flac"] {
        let info = songs.info(name);
        let refusal = refused(&songs, name, info.frames, info.sample_rate);
        assert!(matches!(refusal, Refusal::Unsegmentable(_)), "{refusal}");
        assert_eq!(refusal.code(), "unsegmentable");
    }
    let rate = Refusal::OtherRate { found: 44_100, committed: 48_000 };
    assert_eq!(refused(&songs, "original.wav", 540_017, 48_000), rate);
    assert_eq!(refused(&songs, "original.wav", 0, 44_100), Refusal::NoSound);
    let endless = refused(&songs, "original.wav", u64::MAX, 44_100);
    assert_eq!(endless.code(), "unsegmentable", "{endless}");
    songs.ffmpeg("original.wav", &["-ac", "6", "-c:a", "libopus"], "six.opus");
    assert_eq!(refused(&songs, "six.opus", 100, 48_000).code(), "unsupported_codec");
    // Whoever stores the segments may fail.
    let source = file(&songs.path("original.wav")).expect("it was made before");
    let full = cut(source, 540_017, 44_100, |_, _| Err(Refusal::Unreadable("full".to_owned())));
    assert_eq!(full, Err(Refusal::Unreadable("full".to_owned())));
}

#[test]
fn other_bytes_are_not_the_segment() {
    let songs = Songs::new();
    let path = songs.original_of("original.wav", 44_100, 540_017);
    let pieces = Pieces::of(&path, &songs.info("original.wav"));
    let mut decoder = pieces.decoder();
    assert_eq!(decoder.read(&mut [0.0; 8]), 0, "nothing was taken up");
    let bytes = &pieces.segments[1];
    let cases = [
        (1, pieces.segments[2].clone(), "size"),
        (1, bytes[1..].to_vec(), "size"),
        (0, bytes.iter().map(|byte| byte ^ 1).collect(), "hash"),
        (9, bytes.clone(), "none"),
    ];
    for (index, bytes, what) in cases {
        let error = decoder.take(index, bytes).expect_err("it is another one");
        let fits = match what {
            "size" => matches!(error, SegmentError::WrongSize { .. }),
            "hash" => matches!(error, SegmentError::WrongHash { .. }),
            _ => error == SegmentError::NoSuchSegment { index: 9, segments: 3 },
        };
        assert!(fits, "{error}");
    }
    // A manifest that says so, but the segment has no such frames.
    let mut wire = pieces.manifest.encode();
    let hash = *blake3::hash(&pieces.segments[0]).as_bytes();
    let at = wire.windows(32).position(|bytes| *bytes == hash).expect("it is in there");
    let other = vec![0xff; pieces.segments[0].len()];
    wire[at..at + 32].copy_from_slice(blake3::hash(&other).as_bytes());
    let lying = Arc::new(Manifest::decode(&wire).expect("its shape is right"));
    let mut decoder = SegmentDecoder::new(lying).expect("it is WAV");
    let error = decoder.take(0, other).expect_err("it is no segment");
    assert!(matches!(error, SegmentError::Damaged { index: 0, .. }), "{error}");
    assert_eq!(decoder.read(&mut [0.0; 8]), 0);
}

#[test]
fn other_bytes_are_no_manifest() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, 540_017);
    let path = songs.ffmpeg("original.wav", &["-c:a", "libopus"], "a.opus");
    let wire = Pieces::of(&path, &songs.info("a.opus")).manifest.encode();
    for end in 0..wire.len() {
        assert!(Manifest::decode(&wire[..end]).is_err(), "cut off at {end}");
    }
    assert!(Manifest::decode(&[&wire[..], &[0]].concat()).is_err());
    for at in 0..wire.len() {
        for bit in 0..8 {
            let mut other = wire.clone();
            other[at] ^= 1 << bit;
            if let Ok(manifest) = Manifest::decode(&other) {
                assert_eq!(manifest.encode(), other, "bit {bit} of {at}");
            }
        }
    }
    let mut later = wire.clone();
    later[0] = 2;
    assert_eq!(Manifest::decode(&later), Err(ManifestError::UnknownVersion(2)));
}
