//! Every format, against the original it was made from: as long to the frame, in place to the frame, and
//! the same from wherever it is read.
#![allow(missing_docs)]

mod common;

use common::{FRAMES, Songs, all};

struct Case {
    file: &'static str,
    /// What ffmpeg makes it with; lame if it starts with `lame`.
    with: &'static [&'static str],
    /// Frames that it must have; `None`: of an encoder that does not say, so at least the original's.
    frames: Option<u64>,
    /// The largest difference of a sample read after a seek from the one read in passing.
    seek_error: f32,
}

const EXACT: f32 = 0.0;
/// Sums taken in the same order from the same state, save for what the overlap left behind.
const FLOAT_NOISE: f32 = 1e-6;
/// Opus never forgets all it heard; 240 ms later it is down to this.
const OPUS: f32 = 2e-3;

const fn case(
    file: &'static str,
    with: &'static [&'static str],
    frames: Option<u64>,
    seek_error: f32,
) -> Case {
    Case { file, with, frames, seek_error }
}

const CASES: &[Case] = &[
    case("a.wav", &["-c:a", "pcm_s16le"], Some(FRAMES), EXACT),
    case("24.wav", &["-c:a", "pcm_s24le"], Some(FRAMES), EXACT),
    case("float.wav", &["-c:a", "pcm_f32le"], Some(FRAMES), EXACT),
    case("a.aiff", &[], Some(FRAMES), EXACT),
    case("a.flac", &[], Some(FRAMES), EXACT),
    case("mono.flac", &["-ac", "1"], Some(FRAMES), EXACT),
    case("alac.m4a", &["-c:a", "alac"], Some(FRAMES), EXACT),
    case("a.ogg", &["-c:a", "libvorbis", "-q", "6"], Some(FRAMES), FLOAT_NOISE),
    case("a.opus", &["-c:a", "libopus", "-b:a", "160k"], Some(144_002), OPUS),
    case(
        "long.opus",
        &["-c:a", "libopus", "-b:a", "96k", "-frame_duration", "60"],
        Some(144_002),
        OPUS,
    ),
    case("lavf.mp3", &["-c:a", "libmp3lame", "-b:a", "192k"], Some(FRAMES), FLOAT_NOISE),
    case("cbr.mp3", &["lame", "-b", "320"], Some(FRAMES), FLOAT_NOISE),
    case("vbr.mp3", &["lame", "-V2"], Some(FRAMES), FLOAT_NOISE),
    case("mono.mp3", &["lame", "-V0", "-m", "m"], Some(FRAMES), FLOAT_NOISE),
    case("untagged.mp3", &["lame", "-b", "192", "-t"], None, FLOAT_NOISE),
    case("a.m4a", &["-c:a", "aac", "-b:a", "192k", "-aac_pns", "0"], Some(FRAMES), FLOAT_NOISE),
    case(
        "fast.m4a",
        &["-c:a", "aac", "-b:a", "192k", "-aac_pns", "0", "-movflags", "faststart"],
        Some(FRAMES),
        FLOAT_NOISE,
    ),
    case(
        "fragments.m4a",
        &["-c:a", "aac", "-b:a", "192k", "-aac_pns", "0", "-movflags", "frag_keyframe+empty_moov"],
        None,
        FLOAT_NOISE,
    ),
    case("a.aac", &["-c:a", "aac", "-b:a", "192k", "-aac_pns", "0"], None, FLOAT_NOISE),
];

#[test]
fn every_format_is_exact() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let info = songs.info("original.wav");
    assert_eq!((info.frames, info.sample_rate, info.channels), (FRAMES, 44_100, 2));
    let original = all(&mut songs.open("original.wav", &info));
    for case in CASES {
        match case.with {
            ["lame", options @ ..] => songs.lame(options, "original.wav", case.file),
            options => songs.ffmpeg("original.wav", options, case.file),
        };
        length_is_exact(&songs, case);
        if !case.file.ends_with("opus") && !case.file.starts_with("mono") {
            in_place(&songs, case, &original);
        }
        seeks_are_exact(&songs, case);
    }
}

fn length_is_exact(songs: &Songs, case: &Case) {
    let info = songs.info(case.file);
    match case.frames {
        Some(frames) => assert_eq!(info.frames, frames, "{}", case.file),
        None => assert!(
            (FRAMES..FRAMES + 4000).contains(&info.frames),
            "{}: {}",
            case.file,
            info.frames
        ),
    }
    let samples = all(&mut songs.open(case.file, &info));
    assert_eq!(samples.len() as u64, info.frames * 2, "{}", case.file);
}

/// The lag at which the song matches its original best is the encoder's delay: none, where it is known.
fn in_place(songs: &Songs, case: &Case, original: &[f32]) {
    let samples = all(&mut songs.open(case.file, &songs.info(case.file)));
    let lags = -2400..=2400i64;
    let best = lags.max_by(|a, b| {
        let [a, b] = [a, b].map(|lag| likeness(original, &samples, *lag));
        a.total_cmp(&b)
    });
    match case.frames {
        Some(_) => assert_eq!(best, Some(0), "{}", case.file),
        None => assert!(best > Some(0), "{}: untold delay is heard, not guessed", case.file),
    }
}

fn likeness(original: &[f32], samples: &[f32], lag: i64) -> f64 {
    let at = 60_000;
    let shifted = (at + lag) as usize;
    (0..2000).map(|n| f64::from(original[(at as usize + n) * 2] * samples[(shifted + n) * 2])).sum()
}

fn seeks_are_exact(songs: &Songs, case: &Case) {
    let info = songs.info(case.file);
    let whole = all(&mut songs.open(case.file, &info));
    let mut decoder = songs.open(case.file, &info);
    let end = info.frames;
    // Far ahead, back, near, into the middle of a packet, to the very ends.
    let places = [
        100_000,
        50_000,
        50_001,
        60_000,
        60_500,
        0,
        1,
        1151,
        1152,
        1153,
        40_960,
        131_072,
        end - 1,
        end,
        20_011,
    ];
    let mut part = vec![0.0; 2 * 3001];
    for place in places {
        decoder.seek(place);
        assert_eq!(decoder.position(), place);
        let frames = decoder.read(&mut part);
        assert_eq!(frames as u64, (end - place).min(3001), "{} at {place}", case.file);
        let expected = &whole[place as usize * 2..][..frames * 2];
        let error = part.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error <= case.seek_error, "{} at {place}: off by {error}", case.file);
    }
    assert_eq!(decoder.failure(), None, "{}", case.file);
}

#[test]
fn other_rates_and_layouts() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.ffmpeg("original.wav", &["-ar", "96000", "-c:a", "flac"], "hi.flac");
    songs.ffmpeg("original.wav", &["-ar", "96000", "-c:a", "aac"], "hi.m4a");
    songs.ffmpeg("original.wav", &["-ar", "22050", "-c:a", "aac"], "lo.m4a");
    songs.ffmpeg("original.wav", &["-ac", "6", "-c:a", "flac"], "six.flac");
    songs.lame(&["-b", "8", "-m", "m", "--resample", "16"], "original.wav", "tiny.mp3");
    let of = |name: &str| {
        let info = songs.info(name);
        assert_eq!(all(&mut songs.open(name, &info)).len() as u64, info.frames * 2);
        (info.frames, info.sample_rate, info.channels)
    };
    assert_eq!(of("hi.flac"), (288_003, 96_000, 2));
    assert_eq!(of("hi.m4a"), (288_003, 96_000, 2));
    assert_eq!(of("lo.m4a"), (66_151, 22_050, 2));
    assert_eq!(of("six.flac"), (FRAMES, 44_100, 6));
    assert_eq!(of("tiny.mp3").1, 16_000);
}

#[test]
fn a_song_is_padded_or_cut_to_its_committed_length() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let mut info = songs.info("original.wav");
    info.frames = 1000;
    assert_eq!(all(&mut songs.open("original.wav", &info)).len(), 2000);
    info.frames = FRAMES + 500;
    let samples = all(&mut songs.open("original.wav", &info));
    assert_eq!(samples.len() as u64, info.frames * 2);
    assert!(samples[FRAMES as usize * 2..].iter().all(|sample| *sample == 0.0));
}

#[test]
fn tags_are_read() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let tags = [
        "-metadata",
        "title=Ein Lied",
        "-metadata",
        "artist=Wir",
        "-metadata",
        "album=Alle",
        "-metadata",
        "track=3/9",
        "-metadata",
        "disc=2",
    ];
    for name in ["a.mp3", "a.flac", "a.ogg", "a.opus", "a.m4a"] {
        songs.ffmpeg("original.wav", &tags, name);
        let read = jam_media::tags(&songs.path(name)).expect(name);
        assert_eq!(read.title.as_deref(), Some("Ein Lied"), "{name}");
        assert_eq!(read.artist.as_deref(), Some("Wir"), "{name}");
        assert_eq!(read.album.as_deref(), Some("Alle"), "{name}");
        assert_eq!(read.track_number, Some(3), "{name}");
        assert_eq!(read.disc_number, Some(2), "{name}");
        assert_eq!(songs.info(name).tags, read, "{name}");
    }
}
