//! Files that lie, to take a node's memory or its time. Each is refused by name, or is the song that it is.
#![allow(missing_docs)]

mod common;
mod forge;

use std::process::Command;

use common::{FRAMES, LIMITS, Songs, all, open};
use forge::{noise, patch, picture_tag, reboxed, vorbis_bomb, wav, words};
use jam_media::{Decoder, Refusal, cut, file, inspect};

/// What a process may take for any file here but those with pictures, in MB. It takes 5 to 7 for any short song.
const MEMORY_MB: u64 = 64;

/// What becomes of a file, in a process of its own, and the memory that it takes to find out.
fn ingested(songs: &Songs, name: &str) -> (String, u64) {
    let own = std::env::current_exe().expect("this test's own binary");
    let mut child = Command::new(own);
    child.args(["--exact", "ingest_one", "--ignored", "--nocapture"]);
    let output = child.env("JAM_TEST_SONG", songs.path(name)).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = told.lines().find_map(|line| line.strip_prefix("ingested "));
    let line = line.unwrap_or_else(|| panic!("{name}: {output:?}"));
    let (outcome, mb) = line.split_once(' ').expect("two words");
    (outcome.to_owned(), mb.parse().expect("a number"))
}

#[track_caller]
fn refused(songs: &Songs, name: &str, code: &str) {
    let (outcome, mb) = ingested(songs, name);
    assert_eq!(outcome, code, "{name}");
    assert!(mb <= MEMORY_MB, "{name} took {mb} MB");
}

#[test]
#[ignore = "what the others start, with a song to ingest"]
fn ingest_one() {
    let path = std::env::var_os("JAM_TEST_SONG").expect("the name of a file");
    let open = || file(path.as_ref()).expect("the file was made before");
    let outcome = match inspect(open(), LIMITS) {
        Ok(info) => {
            let cut = cut(open(), info.frames, info.sample_rate, |_, _| Ok::<_, Refusal>(()));
            let manifest = cut.unwrap_or_else(|refusal| panic!("it was taken: {refusal}"));
            assert_eq!(manifest.frames(), info.frames);
            info.frames.to_string()
        }
        Err(refusal) => {
            // A player that is told of such a song doesn't fall over it either.
            if let Ok(mut song) = Decoder::open(open(), 200_000, 44_100) {
                assert_eq!(all(&mut song).len(), 400_000);
            }
            let _ = cut(open(), 200_000, 44_100, |_, _| Ok::<_, Refusal>(()));
            refusal.code().to_owned()
        }
    };
    println!("\ningested {outcome} {}", peak_mb());
}

/// The most memory that was resident, where the system tells.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1000
}

#[test]
fn headers_that_lie() {
    let songs = Songs::new();
    let data = noise(200_000, 1);
    let all = data.len() as u32;
    let cases = [
        ("rate 0", wav(0, 2, 16, &data, all), "out_of_bounds"),
        ("rate 1", wav(1, 2, 16, &data, all), "out_of_bounds"),
        ("rate 4 GHz", wav(u32::MAX, 2, 16, &data, all), "out_of_bounds"),
        ("no channels", wav(44_100, 0, 16, &data, all), "not_audio"),
        ("65535 channels", wav(44_100, u16::MAX, 8, &data, all), "not_audio"),
        ("0 bits", wav(44_100, 2, 0, &data, all), "not_audio"),
    ];
    for (name, bytes, code) in cases {
        songs.put(name, &bytes);
        refused(&songs, name, code);
    }
    // What a program that wrote into a pipe could not know.
    let mut endless = wav(44_100, 2, 16, &data, u32::MAX);
    endless[4..8].fill(0xff);
    songs.put("endless.wav", &endless);
    let frames: u64 = ingested(&songs, "endless.wav").0.parse().expect("it is taken");
    assert_eq!(frames * 4, data.len() as u64);
    // Neither does one that leaves a zero.
    songs.put("open.wav", &wav(44_100, 2, 16, &data, 0));
    let frames: u64 = ingested(&songs, "open.wav").0.parse().expect("it is taken");
    assert_eq!(frames * 4, data.len() as u64);

    songs.original("original.wav", 44_100);
    songs.ffmpeg("original.wav", &[], "a.aiff");
    let mut aiff = songs.bytes("a.aiff");
    let at = aiff.windows(4).position(|name| name == b"COMM").expect("its head") + 16;
    // 2^30 frames per second, as a number of ten bytes; and less than one.
    for (exponent, name) in [(0x40, "fast.aiff"), (0x3f, "slow.aiff")] {
        aiff[at..at + 10].copy_from_slice(&[exponent, 0x1d, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        songs.put(name, &aiff);
        let (outcome, mb) = ingested(&songs, name);
        assert!(outcome.parse::<u64>().is_err() && mb <= MEMORY_MB, "{name}: {outcome}, {mb} MB");
    }
}

#[test]
fn lengths_that_nothing_backs() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.ffmpeg("original.wav", &[], "a.flac");
    let mut flac = songs.bytes("a.flac");
    // The 36 bits of its frames: 2^36 - 1.
    flac[21] |= 0x0f;
    flac[22..26].fill(0xff);
    songs.put("long.flac", &flac);
    refused(&songs, "long.flac", "too_long");
    // Four hours are no more than a song may have, but they are not there.
    flac[21] &= 0xf0;
    flac[22..26].copy_from_slice(&(4 * 3600 * 44_100u32).to_be_bytes());
    songs.put("longer.flac", &flac);
    refused(&songs, "longer.flac", "truncated");

    for (name, codec) in [("a.m4a", "aac"), ("alac.m4a", "alac"), ("opus.mp4", "libopus")] {
        songs.ffmpeg("original.wav", &["-c:a", codec], name);
        let mut bytes = songs.bytes(name);
        // The last packet takes five hours, so the song is still no longer than a song may be.
        patch(&mut bytes, b"stts", 24, 5 * 3600 * 44_100);
        songs.put("slow", &bytes);
        match codec {
            // A packet of AAC has 1024 frames, whatever a table says.
            "aac" => {
                let frames: u64 = ingested(&songs, "slow").0.parse().expect("it is taken");
                assert!(frames.abs_diff(FRAMES) <= 1, "{frames}");
            }
            _ => refused(&songs, "slow", "out_of_bounds"),
        }
        // Four billion packets.
        let mut bytes = songs.bytes(name);
        patch(&mut bytes, b"stsz", 12, u32::MAX);
        songs.put("many", &bytes);
        let (outcome, mb) = ingested(&songs, "many");
        assert!(outcome.parse::<u64>().is_err() && mb <= MEMORY_MB, "{name}: {outcome}, {mb} MB");
    }
}

/// Megabytes of tables for next to no sound.
#[test]
fn tables_that_take_for_ever() {
    const PACKETS: u32 = 400_000;
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.ffmpeg("original.wav", &["-c:a", "aac"], "a.m4a");
    let tables: [(&[u8; 4], Vec<u8>); 4] = [
        (b"stts", words([0, PACKETS].into_iter().chain((0..PACKETS).flat_map(|_| [1, 1024])))),
        (b"stsz", words([0, 0, PACKETS].into_iter().chain((0..PACKETS).map(|_| 4)))),
        (b"stsc", words([0, 1, 1, 1, 1])),
        (b"stco", words([0, PACKETS].into_iter().chain((0..PACKETS).map(|_| 60)))),
    ];
    songs.put("tables.m4a", &reboxed(&songs.bytes("a.m4a"), &tables));
    refused(&songs, "tables.m4a", "out_of_bounds");

    // Fragments of nothing.
    songs.ffmpeg("original.wav", &["-movflags", "frag_keyframe+empty_moov"], "fragments.m4a");
    let empty = b"\0\0\0\x18moof\0\0\0\x10mfhd\0\0\0\0\0\0\0\x01";
    let song = songs.bytes("fragments.m4a");
    songs.put("dust.m4a", &[&song[..], &empty.repeat(70_000)].concat());
    refused(&songs, "dust.m4a", "out_of_bounds");
    let free = b"\0\0\0\x08free";
    songs.put("boxes.m4a", &[&song[..], &free.repeat(1_000_000)].concat());
    refused(&songs, "boxes.m4a", "out_of_bounds");
}

#[test]
fn codebooks_that_take_gigabytes() {
    let songs = Songs::new();
    songs.put("bomb.ogg", &vorbis_bomb());
    refused(&songs, "bomb.ogg", "out_of_bounds");
}

#[test]
fn pictures_are_taken_up_to_a_limit() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.ffmpeg("original.wav", &["-id3v2_version", "0"], "a.mp3");
    let song = songs.bytes("a.mp3");
    let picture = picture_tag(20 << 20);
    songs.put("art.mp3", &[&picture[..], &song].concat());
    let (outcome, mb) = ingested(&songs, "art.mp3");
    assert_eq!(outcome, FRAMES.to_string());
    assert!(mb <= 100, "20 MB of picture took {mb}");

    songs.put("gallery.mp3", &[&picture.repeat(5)[..], &song].concat());
    let (outcome, mb) = ingested(&songs, "gallery.mp3");
    // Tags of more than 16 MiB are passed over.
    assert_eq!(outcome, FRAMES.to_string());
    assert!(mb <= 100, "100 MiB of pictures took {mb}");

    // A tag that is cut off, and one that says that it is larger than the file.
    songs.put("cut.mp3", &picture[..3 << 20]);
    refused(&songs, "cut.mp3", "not_audio");
    let mut lying = picture_tag(1000);
    lying[6..10].fill(0x7f);
    songs.put("lying.mp3", &[&lying[..], &song].concat());
    let (outcome, mb) = ingested(&songs, "lying.mp3");
    assert!(outcome.parse::<u64>().is_err() && mb <= MEMORY_MB, "{outcome}, {mb} MB");
}

/// Bytes that are no sound, between frames that are: those are found again, and the length is what they have.
#[test]
fn junk_in_the_middle_of_an_mp3() {
    let songs = Songs::new();
    songs.original_of("original.wav", 44_100, 10 * 44_100);
    songs.lame(&["-b", "128"], "original.wav", "a.mp3");
    let song = songs.bytes("a.mp3");
    let whole = songs.info("a.mp3").frames;
    let middle = song.len() / 2;
    for seed in 0..40 {
        let junk = noise(1 + 300 * seed as usize, seed);
        songs.put("between.mp3", &[&song[..middle], &junk, &song[middle..]].concat());
        is_taken(&songs, "between.mp3", whole);
        let behind = (middle + junk.len()).min(song.len() - 20_000);
        songs.put("instead.mp3", &[&song[..middle], &junk, &song[behind..]].concat());
        is_taken(&songs, "instead.mp3", whole);
    }
}

fn is_taken(songs: &Songs, name: &str, whole: u64) {
    let info = songs.info(name);
    // Twenty packets of junk at most, and the padding, which is not known to be such any more.
    assert!(info.frames.abs_diff(whole) <= 40 * 1152, "{} of {whole}", info.frames);
    let mut song = open(&songs.path(name), &info);
    assert_eq!(all(&mut song).len() as u64, info.frames * 2);
    assert_eq!(song.failure(), None);
    let source = file(&songs.path(name)).expect("it was just written");
    let manifest = cut(source, info.frames, info.sample_rate, |_, _| Ok::<_, Refusal>(()));
    assert_eq!(manifest.expect("it was taken").frames(), info.frames);
}
