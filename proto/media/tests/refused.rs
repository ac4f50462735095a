//! What is not taken, and that each gets the reason that fits; and that nothing makes it panic.
#![allow(missing_docs)]

mod common;

use common::{LIMITS, Songs, all};
use jam_media::{Decoder, Refusal, file, inspect};

fn refused(songs: &Songs, name: &str) -> &'static str {
    match songs.inspect(name) {
        Ok(info) => panic!("{name} was taken: {info:?}"),
        Err(refusal) => refusal.code(),
    }
}

#[test]
fn what_is_no_song() {
    let songs = Songs::new();
    songs.put("empty.mp3", b"");
    assert_eq!(refused(&songs, "empty.mp3"), "empty_file");
    songs.put("letter.mp3", "Dear all,\nthis is no song.\n".repeat(500).as_bytes());
    assert_eq!(refused(&songs, "letter.mp3"), "not_audio");
    songs.put("one.wav", b"x");
    assert_eq!(refused(&songs, "one.wav"), "not_audio");
    songs.put("noise.mp3", &noise(300_000, 7));
    assert_eq!(refused(&songs, "noise.mp3"), "not_audio");
    songs.put("zeros.flac", &[0; 100_000]);
    assert_eq!(refused(&songs, "zeros.flac"), "not_audio");
}

#[test]
fn no_sound_or_too_much_of_it() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    for name in ["none.wav", "none.flac", "none.mp3", "none.ogg", "none.m4a"] {
        songs.ffmpeg("original.wav", &["-frames:a", "0"], name);
        assert!(["no_sound", "not_audio", "truncated"].contains(&refused(&songs, name)), "{name}");
    }
    let mut wav = songs.bytes("original.wav");
    wav.truncate(44);
    wav[40..44].fill(0);
    wav[4..8].copy_from_slice(&36u32.to_le_bytes());
    songs.put("silent.wav", &wav);
    assert_eq!(refused(&songs, "silent.wav"), "no_sound");

    // Ten hours of 8 kHz, 8-bit mono. The bytes are a hole in the file: nobody must read them all.
    let bytes = 10 * 3600 * 8000u32;
    let mut head =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data"
            .to_vec();
    head[4..8].copy_from_slice(&(bytes + 36).to_le_bytes());
    head.extend_from_slice(&bytes.to_le_bytes());
    let path = songs.put("ten-hours.wav", &head);
    let long = std::fs::OpenOptions::new().write(true).open(path).expect("it was just written");
    long.set_len(u64::from(bytes) + 44).expect("a file with a hole");
    assert_eq!(
        songs.inspect("ten-hours.wav"),
        Err(Refusal::TooLong { limit_secs: LIMITS.secs_max })
    );
}

#[test]
fn cut_off_songs() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.ffmpeg(
        "original.wav",
        &["-c:a", "libmp3lame", "-write_xing", "0", "-id3v2_version", "0"],
        "untagged.mp3",
    );
    for name in [
        "a.flac",
        "a.ogg",
        "a.opus",
        "a.m4a",
        "fast.m4a",
        "fast-alac.m4a",
        "dash.m4a",
        "alac.m4a",
        "a.aiff",
        "a.mp3",
        "a.aac",
    ] {
        let options: &[&str] = match name {
            "fast.m4a" => &["-movflags", "faststart"],
            "fast-alac.m4a" => &["-c:a", "alac", "-movflags", "faststart"],
            "dash.m4a" => &["-movflags", "frag_keyframe+empty_moov+default_base_moof+skip_trailer"],
            "alac.m4a" => &["-c:a", "alac"],
            _ => &[],
        };
        songs.ffmpeg("original.wav", options, name);
    }
    songs.put("a.wav", &songs.bytes("original.wav"));
    let names = [
        "a.wav",
        "a.aiff",
        "a.flac",
        "a.ogg",
        "a.opus",
        "a.m4a",
        "fast.m4a",
        "fast-alac.m4a",
        "dash.m4a",
        "alac.m4a",
        "a.mp3",
        "untagged.mp3",
        "a.aac",
    ];
    for name in names {
        songs.info(name);
        let whole = songs.bytes(name);
        let keep = whole.len() * 6 / 10;
        songs.put("half", &whole[..keep]);
        // These promise no length, and their packets are whole but for the last. A page of Ogg promises no more than its own end.
        if ["untagged.mp3", "a.aac", "a.opus"].contains(&name) {
            assert!(songs.info("half").missing_frames > 0, "{name}");
        } else {
            assert_eq!(refused(&songs, "half"), "truncated", "{name} to {keep} bytes");
        }
        // Nobody misses the last few milliseconds. An MP4 whose tables come last can't be read so.
        songs.put("nearly", &whole[..whole.len() - 20]);
        if ["a.m4a", "alac.m4a"].contains(&name) {
            assert_eq!(refused(&songs, "nearly"), "truncated", "{name}");
        } else {
            let (nearly, all) = (songs.info("nearly"), songs.info(name));
            assert!(nearly.missing_frames > 0, "{name}");
            assert!(nearly.missing_frames <= 8192, "{name}: {}", nearly.missing_frames);
            assert!(all.frames - nearly.frames <= 8192 + 2048, "{name}: {}", nearly.frames);
        }
    }
}

#[test]
fn a_stray_byte_behind_an_mp3_is_nothing() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.ffmpeg("original.wav", &["-b:a", "128k"], "a.mp3");
    songs.put("stray.mp3", &[&songs.bytes("a.mp3")[..], &[0xff]].concat());
    assert_eq!(songs.info("stray.mp3"), songs.info("a.mp3"));
}

#[test]
fn what_we_would_not_play_right() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.original("other.wav", 48_000);

    songs.ffmpeg("original.wav", &[], "a.ogg");
    songs.put("chain.ogg", &[songs.bytes("a.ogg"), songs.bytes("a.ogg")].concat());
    assert_eq!(refused(&songs, "chain.ogg"), "chained_ogg");

    for (name, format) in [("mp3", "mp3"), ("aac", "adts")] {
        let plain = ["-f", format, "-write_xing", "0", "-id3v2_version", "0"];
        let plain = if name == "mp3" { &plain[..] } else { &plain[..2] };
        songs.ffmpeg("original.wav", plain, "first");
        songs.ffmpeg("other.wav", plain, "second");
        songs.ffmpeg("original.wav", &[plain, &["-ac", "1"]].concat(), "third");
        songs.put("rates", &[songs.bytes("first"), songs.bytes("second")].concat());
        assert_eq!(refused(&songs, "rates"), "format_changes", "{name}");
        songs.put("channels", &[songs.bytes("first"), songs.bytes("third")].concat());
        assert_eq!(refused(&songs, "channels"), "format_changes", "{name}");
    }

    songs.ffmpeg(
        "original.wav",
        &["-filter_complex", "color=s=64x64:d=1", "-an", "-c:v", "mpeg4"],
        "film.mp4",
    );
    assert_eq!(refused(&songs, "film.mp4"), "no_audio_track");
    songs.ffmpeg("original.wav", &["-c:a", "adpcm_ms"], "adpcm.wav");
    assert_eq!(refused(&songs, "adpcm.wav"), "foreign_format");
}

#[test]
fn he_aac_is_found_without_being_told() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.ffmpeg("original.wav", &["-ar", "22050", "-f", "adts"], "lc.aac");
    songs.info("lc.aac");
    songs.put("he.aac", &with_sbr(&songs.bytes("lc.aac")));
    assert_eq!(songs.inspect("he.aac"), Err(Refusal::HeAac));
    songs.ffmpeg("he.aac", &["-c:a", "copy"], "he.m4a");
    assert_eq!(songs.inspect("he.m4a"), Err(Refusal::HeAac));
}

/// Puts a fill element with SBR data before the end mark of each frame. The end mark is the last three set
/// bits, since only zeros follow it.
fn with_sbr(adts: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = adts;
    while rest.len() > 7 {
        let length =
            usize::from(rest[3] & 3) << 11 | usize::from(rest[4]) << 3 | usize::from(rest[5] >> 5);
        let (frame, after) = rest.split_at(length);
        rest = after;
        let header = if frame[1] & 1 == 1 { 7 } else { 9 };
        let mut bits: Vec<u8> = frame[header..]
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1))
            .collect();
        let last = bits.iter().rposition(|bit| *bit == 1).expect("an end mark");
        bits.truncate(last - 2);
        // Fill, nine bytes, EXT_SBR_DATA, then anything.
        bits.extend([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1]);
        bits.extend((0..68).map(|n| u8::from(n % 3 == 0)));
        bits.extend([1, 1, 1]);
        let body: Vec<u8> = bits
            .chunks(8)
            .map(|byte| byte.iter().enumerate().fold(0, |b, (n, bit)| b | bit << (7 - n)))
            .collect();
        let mut head = frame[..header].to_vec();
        let length = header + body.len();
        head[3] = head[3] & 0xfc | (length >> 11) as u8;
        head[4] = (length >> 3) as u8;
        head[5] = head[5] & 0x1f | (length << 5) as u8;
        out.extend(head);
        out.extend(body);
    }
    out
}

/// Damaged files are played or refused, but never make a panic or more frames than were committed.
#[test]
fn damage_is_survived() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let names =
        ["a.mp3", "a.flac", "a.ogg", "a.opus", "a.m4a", "alac.m4a", "a.aac", "a.aiff", "a.wav"];
    for name in names {
        let options: &[&str] =
            if name == "alac.m4a" { &["-t", "1", "-c:a", "alac"] } else { &["-t", "1"] };
        songs.ffmpeg("original.wav", options, name);
        let info = songs.info(name);
        let whole = songs.bytes(name);
        for seed in 1..15u32 {
            let mut bytes = whole.clone();
            let places = noise(12, seed);
            for place in places.chunks(3) {
                // Half of the damage in the headers, where it does most.
                let range = if seed % 2 == 0 { bytes.len() } else { bytes.len().min(3000) };
                let at = (usize::from(place[0]) << 16
                    | usize::from(place[1]) << 8
                    | usize::from(place[2]))
                    % range;
                bytes[at] ^= place[0] | 1;
            }
            let path = songs.put("damaged", &bytes);
            // Whatever it is found to be, it is found again.
            let open = || file(&path).expect("it was just written");
            let found = inspect(open(), LIMITS);
            assert_eq!(found, inspect(open(), LIMITS), "{name}, seed {seed}");
            // A player has what ingest took: the same bytes. But a disk may have bent them since.
            if let Ok(mut decoder) = Decoder::open(open(), info.frames, info.sample_rate) {
                decoder.seek(info.frames / 2);
                decoder.seek(0);
                assert_eq!(all(&mut decoder).len() as u64, info.frames * 2, "{name}, seed {seed}");
            }
        }
    }
}

fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}
