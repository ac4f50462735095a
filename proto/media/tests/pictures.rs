//! What a song looks like: its waveform, and the cover that its file has.
#![allow(missing_docs)]

mod common;
mod tones;

use common::Songs;
use jam_media::{COVER_BYTES_MAX, Cover, cover};
use tones::Tones;

/// A song with pictures, and a picture of each kind, made by ffmpeg.
fn songs() -> Songs {
    let songs = Songs::new();
    songs.put("a.wav", &Tones::up_to(3000.0).wav(44_100, 2, 44_100));
    songs.put("black.ppm", &[&b"P6 64 64 255\n"[..], &[0; 64 * 64 * 3]].concat());
    let mut noise = 1u32;
    let pixels = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    });
    let large: Vec<u8> =
        b"P6 1100 1100 255\n".iter().copied().chain(pixels).take(3_630_017).collect();
    songs.put("noise.ppm", &large);
    songs.ffmpeg("black.ppm", &[], "front.png");
    songs.ffmpeg("black.ppm", &[], "back.jpg");
    songs.ffmpeg("noise.ppm", &[], "large.png");
    songs
}

const ATTACH: &[&str] =
    &["-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic"];

/// The song with a picture in it, as ffmpeg puts it there.
fn with_picture(songs: &Songs, picture: &str, options: &[&str], to: &str) {
    let options = [&["-i", picture][..], ATTACH, options].concat();
    songs.ffmpeg("a.wav", &options, to);
}

fn cover_of(songs: &Songs, name: &str) -> Option<Cover> {
    let read = cover(&songs.path(name)).expect(name);
    assert_eq!(songs.info(name).cover, read, "{name}");
    read
}

const FORMATS: &[(&str, &[&str])] = &[
    ("a.mp3", &["-metadata:s:v", "comment=Cover (front)"]),
    ("old.mp3", &["-id3v2_version", "3"]),
    ("a.flac", &["-metadata:s:v", "comment=Cover (front)"]),
    ("a.m4a", &[]),
    ("a.aiff", &["-write_id3v2", "1"]),
];

#[test]
fn covers_are_read() {
    let songs = songs();
    for (name, options) in FORMATS {
        for (picture, media_type) in [("front.png", "image/png"), ("back.jpg", "image/jpeg")] {
            with_picture(&songs, picture, options, name);
            let found = cover_of(&songs, name).unwrap_or_else(|| panic!("{name}: {picture}"));
            assert_eq!(found.media_type, media_type, "{name}");
            assert_eq!(*found.bytes, songs.bytes(picture), "{name}: {picture}");
        }
        with_picture(&songs, "large.png", options, name);
        assert!(songs.bytes("large.png").len() > COVER_BYTES_MAX);
        let found = cover_of(&songs, name).unwrap_or_else(|| panic!("{name}: a large one"));
        assert!(found.media_type == "image/jpeg" && found.bytes.starts_with(b"\xff\xd8\xff"));
        assert!(found.bytes.len() <= COVER_BYTES_MAX, "{name}");
    }
    songs.ffmpeg("a.wav", &[], "none.flac");
    assert_eq!(cover_of(&songs, "none.flac"), None);
    assert_eq!(cover_of(&songs, "a.wav"), None);
}

/// 17 MiB of pictures: the song is what it is without them.
#[test]
fn a_huge_tag_is_not_read() {
    let songs = songs();
    songs.lame(&["-b", "128"], "a.wav", "bare.mp3");
    songs.ffmpeg("a.wav", &[], "bare.flac");
    for bare in ["bare.mp3", "bare.flac"] {
        let mut picture = b"\0image/png\0\x03\0".to_vec();
        picture.extend_from_slice(&songs.bytes("front.png"));
        picture.resize(17 << 20, 0);
        let length = picture.len() as u32;
        let mut tag = b"ID3\x03\0\0".to_vec();
        tag.extend([21, 14, 7, 0].map(|shift| ((length + 10) >> shift & 0x7f) as u8));
        tag.extend_from_slice(b"APIC");
        tag.extend_from_slice(&length.to_be_bytes());
        tag.extend_from_slice(&[0; 2]);
        let tagged = [tag, picture, songs.bytes(bare)].concat();
        let name = format!("tagged-{bare}");
        songs.put(&name, &tagged);
        let (info, expected) = (songs.info(&name), songs.info(bare));
        assert_eq!(info, expected);
        let both = [(name.as_str(), &info), (bare, &expected)];
        let [tagged, bare] = both.map(|(name, info)| common::all(&mut songs.open(name, info)));
        assert!(tagged == bare, "{name}");
    }
}

#[test]
fn an_ogg_has_its_cover_in_a_comment() {
    let songs = songs();
    let png = songs.bytes("front.png");
    let mut block = Vec::new();
    for part in [&3u32.to_be_bytes()[..], &9u32.to_be_bytes(), b"image/bmp", &[0; 20]] {
        block.extend_from_slice(part);
    }
    block.extend_from_slice(&(png.len() as u32).to_be_bytes());
    block.extend_from_slice(&png);
    let comment = format!("METADATA_BLOCK_PICTURE={}", base64(&block));
    for (name, codec) in [("a.ogg", "libvorbis"), ("a.opus", "libopus")] {
        songs.ffmpeg("a.wav", &["-c:a", codec, "-metadata", &comment], name);
        let found = cover_of(&songs, name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((found.media_type, &*found.bytes), ("image/png", &*png), "{name}");
    }
}

#[test]
fn the_front_cover_is_preferred() {
    let songs = songs();
    let options = [
        &[
            "-i",
            "back.jpg",
            "-i",
            "front.png",
            "-map",
            "0",
            "-map",
            "1",
            "-map",
            "2",
            "-c:v",
            "copy",
        ][..],
        &["-disposition:v", "attached_pic", "-metadata:s:v:0", "comment=Cover (back)"],
        &["-metadata:s:v:1", "comment=Cover (front)"],
    ]
    .concat();
    for name in ["a.mp3", "a.flac"] {
        songs.ffmpeg("a.wav", &options, name);
        assert_eq!(
            cover_of(&songs, name).map(|found| found.media_type),
            Some("image/png"),
            "{name}"
        );
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |group: &[u8], n: usize| {
        let bits = (0..3).fold(0, |bits, k| bits << 8 | u32::from(*group.get(k).unwrap_or(&0)));
        let digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
        char::from(if n > group.len() { b'=' } else { digit })
    };
    bytes.chunks(3).flat_map(|group| (0..4).map(move |n| digit(group, n))).collect()
}

/// Loud, silent, half as loud: a second of each.
#[test]
fn a_waveform_is_what_the_song_is_like() {
    let songs = Songs::new();
    let mut wav = Tones::silent().wav(48_000, 2, 3 * 48_000);
    for (n, sample) in wav[44..].as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let level = [i16::MIN, 0, 16_384][n / 96_000];
        *sample = level.to_le_bytes();
    }
    songs.put("a.wav", &wav);
    let lossless = songs.info("a.wav").waveform;
    // 256 frames each.
    assert_eq!(lossless.len(), 563);
    let is =
        |from: usize, to: usize, level: u8| lossless[from..to].iter().all(|peak| *peak == level);
    assert!(is(0, 188, 255) && is(188, 375, 0) && is(375, 563, 128), "{lossless:?}");

    songs.ffmpeg("a.wav", &[], "a.flac");
    assert_eq!(songs.info("a.flac").waveform, lossless);
    songs.ffmpeg("a.wav", &["-t", "0.01"], "short.wav");
    assert_eq!(songs.info("short.wav").waveform.len(), 480);
}

#[test]
fn other_codecs_and_lengths_look_alike() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let lossless = songs.info("original.wav").waveform;
    assert_eq!(lossless.len() as u64, common::FRAMES.div_ceil(256));
    songs.lame(&["-V2"], "original.wav", "a.mp3");
    songs.ffmpeg("original.wav", &["-b:a", "192k", "-aac_pns", "0"], "a.m4a");
    songs.ffmpeg("original.wav", &["-c:a", "libvorbis", "-q", "6"], "a.ogg");
    for name in ["a.mp3", "a.m4a", "a.ogg"] {
        let waveform = songs.info(name).waveform;
        assert_eq!(waveform.len(), lossless.len(), "{name}");
        // Encoders make noise of their own, and a peak may fall to the next point.
        let off = waveform.iter().zip(&lossless).map(|(found, expected)| found.abs_diff(*expected));
        let (worst, sum) =
            off.fold((0, 0), |(worst, sum), off| (off.max(worst), sum + u64::from(off)));
        let mean = sum as f64 / lossless.len() as f64;
        assert!(worst < 64 && mean < 8.0, "{name}: off by {worst} at worst, {mean} on average");
    }
}
