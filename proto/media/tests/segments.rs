//! Every format in segments: each by itself, and all in a row, against the song in one piece.
#![allow(missing_docs)]

mod common;
mod pieces;

use std::path::{Path, PathBuf};

use common::Songs;
use pieces::{AAC_NOISE, EXACT, OPUS, is_the_song};

/// Frames of the originals: 12 s at 44.1 kHz, no multiple of any codec's packet.
const LONG: u64 = 540_017;

const LOSSLESS: &[(&str, &[&str])] = &[
    ("i16.wav", &["-c:a", "pcm_s16le"]),
    ("i24.wav", &["-c:a", "pcm_s24le"]),
    ("f32.wav", &["-c:a", "pcm_f32le"]),
    ("u8.wav", &["-c:a", "pcm_u8"]),
    ("alaw.wav", &["-c:a", "pcm_alaw"]),
    ("mono.wav", &["-c:a", "pcm_s16le", "-ac", "1"]),
    ("i16.aiff", &[]),
    ("i24.aiff", &["-c:a", "pcm_s24be"]),
    ("i16.flac", &["-sample_fmt", "s16"]),
    ("i24.flac", &["-sample_fmt", "s32"]),
    ("mono.flac", &["-ac", "1"]),
    ("six.flac", &["-ac", "6"]),
    ("ogg.flac.ogg", &["-c:a", "flac"]),
    ("i16.m4a", &["-c:a", "alac"]),
    ("i24.m4a", &["-c:a", "alac", "-sample_fmt", "s32p"]),
];

#[test]
fn lossless_is_exact() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, LONG);
    for (to, options) in LOSSLESS {
        is_the_song(&songs.ffmpeg("original.wav", options, to), EXACT);
    }
    songs.ffmpeg("original.wav", &["-ar", "192000", "-ac", "6", "-c:a", "pcm_s24le"], "hi.wav");
    let hi = is_the_song(&songs.path("hi.wav"), EXACT);
    assert!(hi.segments.len() > 30, "it was split by size");
    let hi = is_the_song(&songs.ffmpeg("hi.wav", &["-c:a", "flac"], "hi.flac"), EXACT);
    assert!(hi.segments.len() > 3, "it was split by size");
}

const LAME: &[(&str, &[&str])] = &[
    ("cbr128.mp3", &["-b", "128"]),
    ("cbr320.mp3", &["-b", "320"]),
    ("vbr.mp3", &["-V2"]),
    ("abr.mp3", &["--abr", "140"]),
    ("stereo.mp3", &["-b", "160", "-m", "s"]),
    ("joint.mp3", &["-b", "160", "-m", "j"]),
    ("mono.mp3", &["-V4", "-m", "m"]),
    ("untagged.mp3", &["-b", "192", "-t"]),
    ("untagged-vbr.mp3", &["-V6", "-t"]),
    ("48k.mp3", &["-b", "192", "--resample", "48"]),
    ("22k.mp3", &["-b", "64", "--resample", "22.05"]),
    ("8k.mp3", &["-b", "8", "-m", "m", "--resample", "8"]),
    ("slow.mp3", &["-b", "8", "-m", "m", "--resample", "16"]),
    ("crc.mp3", &["-V5", "-p"]),
];

#[test]
fn mp3() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, LONG);
    for (to, options) in LAME {
        is_the_song(&songs.lame(options, "original.wav", to), EXACT);
    }
    is_the_song(&songs.ffmpeg("original.wav", &["-b:a", "192k"], "lavf.mp3"), EXACT);
}

const AAC: &[(&str, &[&str])] = &[
    ("a.m4a", &["-b:a", "192k", "-aac_pns", "0"]),
    ("low.m4a", &["-b:a", "64k", "-aac_pns", "0"]),
    ("mono.m4a", &["-b:a", "96k", "-ac", "1", "-aac_pns", "0"]),
    ("48k.m4a", &["-b:a", "192k", "-ar", "48000", "-aac_pns", "0"]),
    ("22k.m4a", &["-b:a", "64k", "-ar", "22050", "-aac_pns", "0"]),
    ("fragments.m4a", &["-b:a", "192k", "-aac_pns", "0", "-movflags", "frag_keyframe+empty_moov"]),
    ("a.aac", &["-b:a", "192k", "-aac_pns", "0"]),
    ("mono.aac", &["-b:a", "96k", "-ac", "1", "-aac_pns", "0"]),
];

#[test]
fn aac() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, LONG);
    for (to, options) in AAC {
        is_the_song(&songs.ffmpeg("original.wav", options, to), EXACT);
    }
    for to in ["noise.m4a", "noise.aac"] {
        is_the_song(&songs.ffmpeg("original.wav", &["-b:a", "64k"], to), AAC_NOISE);
    }
}

const VORBIS: &[(&str, &[&str])] = &[
    ("q6.ogg", &["-c:a", "libvorbis", "-q", "6"]),
    ("q0.ogg", &["-c:a", "libvorbis", "-q", "0"]),
    ("mono.ogg", &["-c:a", "libvorbis", "-q", "4", "-ac", "1"]),
    ("48k.ogg", &["-c:a", "libvorbis", "-q", "4", "-ar", "48000"]),
    ("22k.ogg", &["-c:a", "libvorbis", "-q", "4", "-ar", "22050"]),
];

#[test]
fn vorbis() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, LONG);
    for (to, options) in VORBIS {
        is_the_song(&songs.ffmpeg("original.wav", options, to), EXACT);
    }
}

const OPUS_FILES: &[(&str, &[&str])] = &[
    ("160k.opus", &["-c:a", "libopus", "-b:a", "160k"]),
    ("64k.opus", &["-c:a", "libopus", "-b:a", "64k"]),
    ("24k.opus", &["-c:a", "libopus", "-b:a", "24k"]),
    ("voice.opus", &["-c:a", "libopus", "-b:a", "16k", "-ac", "1", "-application", "voip"]),
    ("mono.opus", &["-c:a", "libopus", "-b:a", "96k", "-ac", "1"]),
    ("60ms.opus", &["-c:a", "libopus", "-b:a", "96k", "-frame_duration", "60"]),
    ("5ms.opus", &["-c:a", "libopus", "-b:a", "128k", "-frame_duration", "5"]),
    ("opus.mp4", &["-c:a", "libopus", "-b:a", "128k"]),
];

#[test]
fn opus() {
    let songs = Songs::new();
    songs.original_of("original.wav", 48_000, LONG);
    for (to, options) in OPUS_FILES {
        is_the_song(&songs.ffmpeg("original.wav", options, to), OPUS);
    }
}

fn tune(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tunes").join(name)
}

#[test]
fn the_bundled_tunes() {
    is_the_song(&tune("lantern-street.mp3"), EXACT);
    is_the_song(&tune("slow-tide.opus"), OPUS);
}
