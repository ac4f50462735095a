//! Songs in containers that are not mainly for music: WebM, Matroska, CAF, and MPEG layers in RIFF and by themselves.
#![allow(missing_docs)]

mod common;
mod pieces;

use common::{FRAMES, Songs, all};
use jam_media::{Refusal, Tags};
use pieces::{EXACT, OPUS, is_the_song};

/// 3 s at 48 kHz, which is no multiple of 20 ms less what the encoder adds.
const FRAMES_48K: u64 = 144_000;
const LONG: u64 = 540_017;

fn samples(songs: &Songs, name: &str) -> Vec<f32> {
    all(&mut songs.open(name, &songs.info(name)))
}

#[test]
fn opus_in_webm_is_the_same_as_in_ogg() {
    let songs = Songs::new();
    songs.original_of("original.wav", 48_000, FRAMES_48K);
    songs.ffmpeg("original.wav", &["-b:a", "96k", "-metadata", "title=Ttl"], "a.opus");
    let expected = songs.info("a.opus");
    assert_eq!(expected.frames, FRAMES_48K);
    let tags = ["-metadata", "title=Ttl", "-metadata", "artist=Ann", "-metadata", "album=Alb"];
    for name in ["a.webm", "a.mkv"] {
        let options = [&["-c:a", "libopus", "-b:a", "96k"][..], &tags].concat();
        songs.ffmpeg("original.wav", &options, name);
        let info = songs.info(name);
        assert_eq!((info.frames, info.sample_rate), (FRAMES_48K, 48_000), "{name}");
        assert_eq!((info.codec.as_str(), info.missing_frames), ("opus", 0), "{name}");
        let Tags { title, artist, album, .. } = &info.tags;
        let shown = [title, artist, album].map(|text| text.as_deref());
        assert_eq!(shown, [Some("Ttl"), Some("Ann"), Some("Alb")], "{name}");
        assert_eq!(info.loudness, expected.loudness, "{name}");
        assert!(samples(&songs, name) == samples(&songs, "a.opus"), "{name}");
    }
    // What ffmpeg makes of a title that is of the sound in a file, not of the file.
    songs.ffmpeg("a.opus", &["-c", "copy"], "track.webm");
    assert_eq!(songs.info("track.webm").tags.title.as_deref(), Some("Ttl"));
    for (to, options) in [
        // Clusters of a size that is not known, as what is recorded in a browser has.
        ("live.webm", &["-c", "copy", "-live", "1"][..]),
        ("small.webm", &["-c", "copy", "-cluster_time_limit", "500"]),
    ] {
        songs.ffmpeg("a.webm", options, to);
        assert_eq!(songs.info(to).frames, FRAMES_48K, "{to}");
    }
}

#[test]
fn opus_in_webm_in_segments() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, LONG);
    for (to, options) in [
        ("a.webm", &["-b:a", "96k"][..]),
        ("mono.webm", &["-b:a", "24k", "-ac", "1"]),
        ("long.webm", &["-b:a", "64k", "-frame_duration", "60"]),
        ("short.mkv", &["-b:a", "96k", "-frame_duration", "2.5", "-application", "lowdelay"]),
    ] {
        is_the_song(
            &songs.ffmpeg("original.wav", &[&["-c:a", "libopus"], options].concat(), to),
            OPUS,
        );
    }
}

#[test]
fn the_sound_of_a_film_is_found_beside_its_picture() {
    let songs = Songs::new();
    songs.original_of("original.wav", 48_000, FRAMES_48K);
    let film = ["-f", "lavfi", "-i", "color=s=64x64:r=5:d=4", "-c:v", "mpeg4", "-c:a", "libopus"];
    songs.ffmpeg("original.wav", &film, "film.mkv");
    let info = songs.info("film.mkv");
    assert_eq!((info.frames, info.missing_frames), (FRAMES_48K, 0));
}

#[test]
fn a_webm_that_is_cut_off() {
    let songs = Songs::new();
    songs.original_of("original.wav", 48_000, FRAMES_48K);
    songs.ffmpeg("original.wav", &["-c:a", "libopus", "-b:a", "96k"], "a.webm");
    let whole = songs.bytes("a.webm");
    songs.put("nearly.webm", &whole[..whole.len() - 300]);
    let nearly = songs.info("nearly.webm");
    assert!((1..=2880).contains(&nearly.missing_frames), "{}", nearly.missing_frames);
    assert!(nearly.frames >= FRAMES_48K - 2880, "{}", nearly.frames);
    songs.put("half.webm", &whole[..whole.len() / 2]);
    assert!(matches!(songs.inspect("half.webm"), Err(Refusal::Truncated(_))));
}

#[test]
fn other_sound_in_matroska_is_named() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    for (to, codec, named) in [
        ("a.webm", "libvorbis", "Vorbis"),
        ("flac.mkv", "flac", "FLAC"),
        ("mp3.mkv", "libmp3lame", "MP3"),
        ("aac.mkv", "aac", "AAC"),
        ("ac3.mkv", "ac3", "AC-3"),
        ("pcm.mkv", "pcm_s16le", "Matroska"),
    ] {
        songs.ffmpeg("original.wav", &["-c:a", codec], to);
        let refusal = songs.inspect(to).expect_err(to);
        assert_eq!(refusal.code(), "foreign_format", "{to}");
        assert!(refusal.to_string().contains(named), "{to}: {refusal}");
    }
}

/// Encoders fill up the last packet in CAF's table; the packet itself knows better.
#[test]
fn lossless_in_caf_is_exact() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, LONG);
    for (to, options) in [
        ("alac.caf", &["-c:a", "alac"][..]),
        ("alac24.caf", &["-c:a", "alac", "-sample_fmt", "s32p"]),
        ("mono.caf", &["-c:a", "alac", "-ac", "1"]),
        ("le.caf", &["-c:a", "pcm_s16le"]),
        ("be.caf", &["-c:a", "pcm_s24be"]),
        ("float.caf", &["-c:a", "pcm_f32be"]),
    ] {
        let path = songs.ffmpeg("original.wav", options, to);
        assert_eq!(songs.info(to).frames, LONG, "{to}");
        is_the_song(&path, EXACT);
        if !to.starts_with("mono") {
            assert!(samples(&songs, to) == samples(&songs, "original.wav"), "{to}");
        }
    }
    songs.ffmpeg("original.wav", &["-c:a", "pcm_s16le", "-ac", "6"], "six.caf");
    assert_eq!(songs.inspect("six.caf").map_err(|refusal| refusal.code()), Err("channel_layout"));
}

#[test]
fn opus_in_caf() {
    let songs = Songs::new();
    songs.original_of("original.wav", 48_000, FRAMES_48K);
    songs.ffmpeg("original.wav", &["-c:a", "libopus"], "a.opus");
    let path = songs.ffmpeg("a.opus", &["-c", "copy"], "a.caf");
    // ffmpeg writes neither what the encoder added in front nor what it added behind.
    let info = songs.info("a.caf");
    assert_eq!((info.frames, info.missing_frames), (151 * 960, 0));
    is_the_song(&path, OPUS);
    // With the first it is there.
    let table = songs.bytes("a.caf").windows(4).position(|name| name == b"pakt").expect("a table");
    let mut bytes = songs.bytes("a.caf");
    bytes[table + 20..table + 28].copy_from_slice(&FRAMES_48K.to_be_bytes());
    bytes[table + 28..table + 32].copy_from_slice(&312u32.to_be_bytes());
    songs.put("primed.caf", &bytes);
    let (primed, ogg) = (samples(&songs, "primed.caf"), samples(&songs, "a.opus"));
    assert_eq!(primed.len() as u64, FRAMES_48K * 2);
    assert!(primed == ogg);
}

/// ffmpeg writes no such file, so its packets are taken from ADTS.
#[test]
fn aac_in_caf() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.ffmpeg("original.wav", &["-c:a", "aac", "-aac_pns", "0"], "a.aac");
    let adts = songs.bytes("a.aac");
    let mut rest = &adts[..];
    let (mut data, mut table, mut packets) = (vec![0; 4], Vec::new(), 0u64);
    while let [_, _, _, a, b, c, ..] = *rest {
        let length = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c >> 5);
        data.extend(&rest[7..length]);
        table.extend([((length - 7) >> 7) as u8 | 0x80, ((length - 7) & 0x7f) as u8]);
        packets += 1;
        rest = &rest[length..];
    }
    let padding = (packets * 1024 - 1024 - FRAMES) as u32;
    let mut caf = b"caff\0\x01\0\0".to_vec();
    let mut chunk = |name: &[u8; 4], body: &[u8]| {
        caf.extend(name);
        caf.extend((body.len() as u64).to_be_bytes());
        caf.extend(body);
    };
    let description =
        [&44_100f64.to_be_bytes()[..], b"aac \0\0\0\x02\0\0\0\0\0\0\x04\0\0\0\0\x02\0\0\0\0"];
    chunk(b"desc", &description.concat());
    let head = [packets.to_be_bytes(), FRAMES.to_be_bytes()].concat();
    let trims = [1024u32.to_be_bytes(), padding.to_be_bytes()].concat();
    chunk(b"pakt", &[head, trims, table].concat());
    chunk(b"data", &data);
    let path = songs.put("a.caf", &caf);
    let info = songs.info("a.caf");
    assert_eq!((info.frames, info.codec.as_str()), (FRAMES, "aac"));
    is_the_song(&path, EXACT);
    songs.ffmpeg("a.aac", &["-c", "copy"], "a.m4a");
    let (caf, raw) = (samples(&songs, "a.caf"), samples(&songs, "a.aac"));
    assert!(caf[..] == raw[2048..][..caf.len()]);
}

#[test]
fn mpeg_layer_two() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, LONG);
    for (to, options) in [
        ("a.mp2", &["-b:a", "192k"][..]),
        ("mono.mp2", &["-b:a", "64k", "-ac", "1"]),
        ("low.mp2", &["-b:a", "64k", "-ar", "22050"]),
    ] {
        let path = songs.ffmpeg("original.wav", options, to);
        let info = songs.info(to);
        let expected = LONG * u64::from(info.sample_rate) / 44_100;
        assert_eq!(info.frames % 1152, 0, "{to}");
        assert!(info.frames - expected < 2 * 1152, "{to}: {}", info.frames);
        assert_eq!((info.codec.as_str(), info.missing_frames), ("mp2", 0), "{to}");
        is_the_song(&path, EXACT);
    }
    // Shifted by the filters of encoder and decoder, it is the original.
    let (found, original) = (samples(&songs, "a.mp2"), samples(&songs, "original.wav"));
    let off = |shift: usize| {
        let pairs = found[shift * 2..].iter().zip(&original).skip(20_000).take(40_000);
        pairs.map(|(found, original)| (found - original).powi(2)).sum::<f32>()
    };
    let best = (0..1200).map(off).fold(f32::MAX, f32::min);
    let power: f32 = original.iter().skip(20_000).take(40_000).map(|sample| sample.powi(2)).sum();
    assert!(best < power / 15.0, "{best} of {power}");
}

#[test]
fn mpeg_in_riff_is_what_it_is_without() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.lame(&["-b", "128"], "original.wav", "a.mp3");
    songs.ffmpeg("original.wav", &["-b:a", "192k"], "a.mp2");
    for (bare, format) in [("a.mp3", 0x55u16), ("a.mp2", 0x50)] {
        let sound = songs.bytes(bare);
        let format =
            [&format.to_le_bytes()[..], b"\x02\0\x44\xac\0\0\x80\x3e\0\0\x01\0\0\0"].concat();
        let title = b"INFOINAM\x04\0\0\0Ttl\0";
        let mut riff = b"RIFF\0\0\0\0WAVE".to_vec();
        for (name, body) in [(b"fmt ", &format[..]), (b"LIST", title), (b"data", &sound)] {
            riff.extend(name);
            riff.extend((body.len() as u32).to_le_bytes());
            riff.extend(body);
        }
        songs.put("a.wav", &riff);
        let (found, expected) = (songs.info("a.wav"), songs.info(bare));
        assert_eq!(found.tags.title.as_deref(), Some("Ttl"));
        assert_eq!((found.frames, found.missing_frames), (expected.frames, 0), "{bare}");
        assert_eq!(found.codec, expected.codec);
        assert!(samples(&songs, "a.wav") == samples(&songs, bare), "{bare}");
    }
}
