//! Songs rendered in Opus: as long as the original, in place to half a frame, the same twice, and in segments that
//! stand alone.
#![allow(missing_docs)]

mod common;
mod pieces;
mod tones;

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use common::Songs;
use jam_media::{
    LADDER_KBPS, RENDITION_RATE, Refusal, SongInfo, Source, file, inspect, render,
    rendition_frames, source,
};
use pieces::{OPUS, Pieces, difference};
use tones::Tones;

/// Samples that a place in a song is looked for by.
const WINDOW: u64 = 3000;

fn renditions(song: Source, info: &SongInfo, kbps: &[u32]) -> Result<Vec<Pieces>, Refusal> {
    let mut segments = vec![Vec::new(); kbps.len()];
    let manifests = render(song, info.frames, info.sample_rate, kbps, |which, segment, bytes| {
        assert_eq!(segment.bytes as usize, bytes.len());
        segments[which].push(bytes);
        Ok::<_, Refusal>(())
    })?;
    let pieces = manifests.into_iter().zip(segments);
    Ok(pieces
        .map(|(manifest, segments)| Pieces { manifest: Arc::new(manifest), segments })
        .collect())
}

fn of_file(path: &Path, info: &SongInfo) -> Vec<Pieces> {
    let song = file(path).expect("the file was made before");
    renditions(song, info, &LADDER_KBPS).unwrap_or_else(|refusal| panic!("{path:?}: {refusal}"))
}

fn of_wav(wav: &[u8]) -> (SongInfo, Vec<Pieces>) {
    let song = || source(Cursor::new(wav.to_vec()), wav.len() as u64);
    let info = inspect(song(), common::LIMITS).expect("a song");
    let pieces = renditions(song(), &info, &LADDER_KBPS).expect("a song that was inspected");
    (info, pieces)
}

/// What a rendition's manifest must say of a song.
fn rendition_info(info: &SongInfo) -> SongInfo {
    let frames = rendition_frames(info.frames, info.sample_rate);
    let codec = "opus".to_owned();
    SongInfo { frames, sample_rate: RENDITION_RATE, channels: 2, codec, ..info.clone() }
}

/// All that must be true of a rendition of tones.
fn is_rendition(name: &str, pieces: &Pieces, info: &SongInfo, tones: &Tones, alike: f64) {
    pieces::is_sound(pieces, &rendition_info(info));
    assert_eq!(pieces.manifest.codec(), "opus");
    assert_eq!(pieces.manifest.extra_data().get(10..12), Some(&[0, 0][..]), "no pre-skip");
    // What the encoder looks ahead (libopus: 2.5 ms and 4 ms).
    assert_eq!(pieces.manifest.leading_trim(), 312);

    let row = pieces.in_a_row();
    let frames = pieces.manifest.frames();
    assert_eq!(row.len() as u64, frames * 2);
    for from in [0, frames / 2, frames - WINDOW] {
        let window = &row[from as usize * 2..(from + WINDOW) as usize * 2];
        let samples: Vec<f64> = window.iter().step_by(2).map(|sample| f64::from(*sample)).collect();
        let (late, likeness) = tones.lateness(&samples, from, RENDITION_RATE);
        assert!(late.abs() < 0.5, "{name} at {from}: {late} frames late, {likeness} alike");
        assert!(likeness > alike, "{name} at {from}: only {likeness} alike");
    }
    for (index, segment) in pieces.manifest.segments().iter().enumerate() {
        let alone = pieces.alone(index, segment.first_frame);
        let expected = &row[segment.first_frame as usize * 2..segment.end() as usize * 2];
        let off = difference(&alone, expected);
        assert!(off <= OPUS, "{name}: segment {index} alone is off by {off}");
    }
}

/// How alike each rung is at least to the original. At most 0.33 of a frame late was measured, at 24 kbit/s, and 0.015
/// above that.
const ALIKE: [f64; 4] = [0.6, 0.99, 0.995, 0.995];

fn all_rungs(name: &str, rungs: &[Pieces], info: &SongInfo, tones: &Tones) {
    assert_eq!(rungs.len(), LADDER_KBPS.len());
    for ((kbps, pieces), alike) in LADDER_KBPS.iter().zip(rungs).zip(ALIKE) {
        is_rendition(&format!("{name} at {kbps} kbit/s"), pieces, info, tones, alike);
    }
}

/// 12 s at each rate, and no whole packet of any codec.
const WAVS: &[(u32, u16, u64)] = &[
    (8000, 1, 96_011),
    (22_050, 2, 264_611),
    (44_100, 2, 529_201),
    (48_000, 2, 576_007),
    (96_000, 1, 1_152_003),
];

#[test]
fn every_rate_is_in_place() {
    for (rate, channels, frames) in WAVS {
        let tones = Tones::up_to(f64::from(*rate).min(16_000.0) * 0.42);
        let (info, rungs) = of_wav(&tones.wav(*rate, *channels, *frames));
        assert_eq!((info.sample_rate, info.frames), (*rate, *frames));
        all_rungs(&format!("{rate} Hz"), &rungs, &info, &tones);
    }
}

#[test]
fn odd_rates_are_in_place() {
    let tones = Tones::up_to(3000.0);
    for rate in [11_127, 47_999, 767_999] {
        let (info, rungs) = of_wav(&tones.wav(rate, 1, u64::from(rate) / 4 + 1));
        is_rendition(&format!("{rate} Hz"), &rungs[2], &info, &tones, 0.98);
    }
}

#[test]
fn what_other_encoders_made_is_in_place() {
    let songs = Songs::new();
    let tones = Tones::up_to(6000.0);
    songs.put("44.wav", &tones.wav(44_100, 2, 529_201));
    songs.put("48.wav", &tones.wav(48_000, 2, 576_007));
    songs.lame(&["-b", "256"], "44.wav", "a.mp3");
    songs.ffmpeg("48.wav", &["-sample_fmt", "s16"], "a.flac");
    songs.ffmpeg("48.wav", &["-c:a", "libopus", "-b:a", "192k"], "a.opus");
    songs.ffmpeg("44.wav", &["-b:a", "192k", "-aac_pns", "0"], "a.m4a");
    songs.ffmpeg("44.wav", &["-c:a", "libvorbis", "-q", "7"], "a.ogg");
    for (name, frames) in [
        ("a.mp3", 529_201),
        ("a.flac", 576_007),
        ("a.opus", 576_007),
        ("a.m4a", 529_201),
        ("a.ogg", 529_201),
    ] {
        let info = songs.info(name);
        assert_eq!(info.frames, frames, "{name}");
        all_rungs(name, &of_file(&songs.path(name), &info), &info, &tones);
    }
}

#[test]
fn lengths_are_rounded_up() {
    assert_eq!(rendition_frames(1, 44_100), 2);
    assert_eq!(rendition_frames(147, 44_100), 160);
    assert_eq!(rendition_frames(148, 44_100), 162);
    assert_eq!(rendition_frames(1, 768_000), 1);
    assert_eq!(rendition_frames(u64::MAX, 8000), u64::MAX);
    let tones = Tones::up_to(3000.0);
    for (rate, frames) in
        [(44_100, 1), (8000, 1), (768_000, 1), (48_000, 1), (48_000, 649), (44_100, 596)]
    {
        let (info, rungs) = of_wav(&tones.wav(rate, 2, frames));
        for pieces in rungs {
            pieces::is_sound(&pieces, &rendition_info(&info));
            assert_eq!(pieces.segments.len(), 1);
            assert_eq!(pieces.in_a_row().len() as u64, pieces.manifest.frames() * 2);
        }
    }
}

#[test]
fn silence_stays_silent_and_small() {
    let wav = Tones::silent().wav(44_100, 2, 529_201);
    let (info, rungs) = of_wav(&wav);
    for pieces in rungs {
        pieces::is_sound(&pieces, &rendition_info(&info));
        assert!(pieces.in_a_row().iter().all(|sample| sample.abs() < 1e-4));
        assert!(pieces.segments.iter().all(|segment| segment.len() < 5 * 1000), "8 kbit/s");
    }
}

#[test]
fn it_comes_out_the_same_again() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let info = songs.info("original.wav");
    let once = of_file(&songs.path("original.wav"), &info);
    let again = of_file(&songs.path("original.wav"), &info);
    for (once, again) in once.iter().zip(&again) {
        assert!(once.manifest == again.manifest && once.segments == again.segments);
    }
    // A rung does not depend on the others.
    let song = file(&songs.path("original.wav")).expect("the file was made before");
    let only = renditions(song, &info, &[160]).expect("a song");
    assert!(only[0].manifest == once[2].manifest && only[0].segments == once[2].segments);
    let song = file(&songs.path("original.wav")).expect("the file was made before");
    assert_eq!(renditions(song, &info, &[]).map(|none| none.len()), Ok(0));
}

#[test]
fn errors_come_back() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let song = || file(&songs.path("original.wav")).expect("the file was made before");
    let info = songs.info("original.wav");
    let mut taken = 0;
    let stopped = render(song(), info.frames, 44_100, &[96], |_, _, _| {
        taken += 1;
        Err(Refusal::Unreadable("the disk is full".to_owned()))
    });
    assert_eq!(stopped, Err(Refusal::Unreadable("the disk is full".to_owned())));
    assert_eq!(taken, 1);
    let take = |_: usize, _: &_, _| Ok(());
    let other = render(song(), info.frames, 48_000, &[96], take);
    assert_eq!(other, Err(Refusal::OtherRate { found: 44_100, committed: 48_000 }));
    assert_eq!(render(song(), 0, 44_100, &[96], take), Err(Refusal::NoSound));
    let text = || source(Cursor::new(b"no song".to_vec()), 7);
    assert_eq!(render(text(), 1, 44_100, &[96], take), Err(Refusal::NotAudio));
}
