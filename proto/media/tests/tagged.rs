//! Which of a file's tags are shown, wherever they stand, and that none of them is taken for sound.
#![allow(missing_docs)]

mod common;

use common::Songs;
use jam_media::SongInfo;

/// An ID3v1 tag: 30 letters of one byte each.
fn id3v1(title: &str, artist: &str) -> Vec<u8> {
    let field = |text: &str, length| {
        let mut field: Vec<u8> =
            text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect();
        field.resize(length, 0);
        field
    };
    [b"TAG".to_vec(), field(title, 30), field(artist, 30), vec![0; 65]].concat()
}

/// An APEv2 tag, with its header or without.
fn ape(items: &[(&str, &str)], header: bool) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in items {
        body.extend((value.len() as u32).to_le_bytes());
        body.extend([0; 4]);
        body.extend(key.as_bytes());
        body.push(0);
        body.extend(value.as_bytes());
    }
    let mark = |is_header: bool| {
        let mut mark = b"APETAGEX\xd0\x07\0\0".to_vec();
        mark.extend((body.len() as u32 + 32).to_le_bytes());
        mark.extend((items.len() as u32).to_le_bytes());
        let flags = u32::from(header) << 31 | u32::from(is_header) << 29;
        mark.extend(flags.to_le_bytes());
        mark.resize(32, 0);
        mark
    };
    let front = if header { mark(true) } else { Vec::new() };
    [front, body.clone(), mark(false)].concat()
}

/// An ID3v2 tag of text frames, each with its encoding byte.
fn id3v2(version: u8, frames: &[(&str, &[u8])]) -> Vec<u8> {
    let seven = |size: usize| [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8);
    let mut body = Vec::new();
    for (name, text) in frames {
        body.extend(name.as_bytes());
        match version {
            4 => body.extend(seven(text.len())),
            _ => body.extend((text.len() as u32).to_be_bytes()),
        }
        body.extend([0, 0]);
        body.extend(*text);
    }
    [b"ID3".to_vec(), vec![version, 0, 0], seven(body.len()).to_vec(), body].concat()
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk =
        [name.to_vec(), (body.len() as u32).to_le_bytes().to_vec(), body.to_vec()].concat();
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

fn shown(info: &SongInfo) -> (&str, &str) {
    let text = |field: &Option<String>| field.as_deref().map_or("", |text| Box::leak(text.into()));
    (text(&info.tags.title), text(&info.tags.artist))
}

#[test]
fn what_stands_behind_the_sound_is_no_sound() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    for name in ["a.mp3", "a.aac", "a.flac", "a.ogg", "a.opus", "a.m4a", "a.aiff", "a.wav"] {
        if name != "a.wav" {
            songs.ffmpeg("original.wav", &["-metadata", "title="], name);
        } else {
            songs.put("a.wav", &songs.bytes("original.wav"));
        }
        let whole = songs.info(name);
        let last = id3v1("Old", "Old artist");
        let tails = [
            last.clone(),
            ape(&[("Title", "Äpe"), ("Artist", "One")], true),
            [ape(&[("Title", "Äpe"), ("Artist", "One")], false), last.clone()].concat(),
        ];
        for (number, tail) in tails.iter().enumerate() {
            songs.put("tagged", &[songs.bytes(name), tail.clone()].concat());
            let tagged = songs.info("tagged");
            assert_eq!(tagged.frames, whole.frames, "{name}, {number}");
            assert_eq!(tagged.missing_frames, 0, "{name}, {number}");
            let want = if number == 0 { ("Old", "Old artist") } else { ("Äpe", "One") };
            assert_eq!(shown(&tagged), want, "{name}, {number}");
        }
    }
}

#[test]
fn the_tag_that_says_most_is_shown() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let options = [
        "-metadata",
        "title=夜に駆ける",
        "-metadata",
        "artist=Somebody with a very long name indeed",
    ];
    songs.ffmpeg("original.wav", &options, "a.mp3");
    let tail = id3v1("夜に駆ける", "Somebody with a very long name");
    songs.put("both.mp3", &[songs.bytes("a.mp3"), tail].concat());
    let info = songs.info("both.mp3");
    assert_eq!(shown(&info), ("夜に駆ける", "Somebody with a very long name indeed"));
}

#[test]
fn the_artist_is_not_the_album_s() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let album = ["-metadata", "album_artist=Various Artists"];
    songs.ffmpeg("original.wav", &[&album[..], &["-metadata", "artist=Ann"]].concat(), "a.flac");
    let tags = songs.info("a.flac").tags;
    assert_eq!(tags.artist.as_deref(), Some("Ann"));
    assert_eq!(tags.album_artist.as_deref(), Some("Various Artists"));
    songs.ffmpeg("original.wav", &album, "b.flac");
    assert_eq!(songs.info("b.flac").tags.artist.as_deref(), Some("Various Artists"));
}

#[test]
fn id3v2_in_all_its_ways() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    songs.ffmpeg("original.wav", &["-id3v2_version", "0"], "a.mp3");
    let tagged = |version, frames: &[(&str, &[u8])]| {
        songs.put("tagged.mp3", &[id3v2(version, frames), songs.bytes("a.mp3")].concat());
        let info = songs.info("tagged.mp3");
        let (title, artist) = shown(&info);
        (title.to_owned(), artist.to_owned(), info.tags.album)
    };
    let several =
        tagged(4, &[("TIT2", b"\x03Song"), ("TPE1", b"\x03One\0Two"), ("TALB", b"\x03A\0B")]);
    assert_eq!(several, ("Song".to_owned(), "One, Two".to_owned(), Some("A, B".to_owned())));
    // No byte order mark, and the low byte first.
    let utf16: Vec<u8> =
        [1].into_iter().chain("Night".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(tagged(3, &[("TIT2", &utf16)]).0, "Night");
    let nasty = "A\u{202e}gnp.exe\u{2028}B\u{1b}[2J\u{7}";
    let nasty = [b"\x03".to_vec(), nasty.as_bytes().to_vec()].concat();
    assert_eq!(tagged(4, &[("TIT2", &nasty)]).0, "A gnp.exe B [2J");
}

#[test]
fn tags_of_a_wav() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let plain = songs.info("original.wav");
    let wav = songs.bytes("original.wav");
    let list = chunk(
        b"LIST",
        &[
            b"INFO".to_vec(),
            chunk(b"INAM", b"Ttl\0"),
            chunk(b"IART", "Bjørn".as_bytes()),
            chunk(b"ITRK", b"7/9"),
        ]
        .concat(),
    );
    let id3 = chunk(b"id3 ", &id3v2(4, &[("TIT2", b"\x03From ID3")]));
    // Before the sound, and behind it.
    let before = [&wav[..36], &list, &wav[36..]].concat();
    let behind = [&wav[..], &list].concat();
    let both = [&wav[..], &list, &id3].concat();
    for (name, mut bytes, title) in
        [("before", before, "Ttl"), ("behind", behind, "Ttl"), ("both", both, "From ID3")]
    {
        let size = (bytes.len() as u32 - 8).to_le_bytes();
        bytes[4..8].copy_from_slice(&size);
        songs.put(name, &bytes);
        let info = songs.info(name);
        assert_eq!(info.frames, plain.frames, "{name}");
        assert_eq!(shown(&info), (title, "Bjørn"), "{name}");
        assert_eq!(info.tags.track_number, Some(7), "{name}");
    }
}

#[test]
fn sizes_that_a_wav_does_not_know() {
    let songs = Songs::new();
    songs.original("original.wav", 44_100);
    let plain = songs.info("original.wav");
    let wav = songs.bytes("original.wav");
    let data = wav.windows(4).position(|name| name == b"data").expect("its sound") + 4;
    for (riff, size) in [(u32::MAX, u32::MAX), (0, 0), (36, 0), (u32::MAX, 0), (8, u32::MAX)] {
        let mut open = wav.clone();
        open[4..8].copy_from_slice(&riff.to_le_bytes());
        open[data..data + 4].copy_from_slice(&size.to_le_bytes());
        // And half a frame.
        open.push(0);
        songs.put("open.wav", &open);
        let info = songs.info("open.wav");
        assert_eq!((info.frames, info.missing_frames), (plain.frames, 0), "{riff}, {size}");
    }
    // 64-bit sizes: EBU 3306 and ITU-R BS.2088.
    for name in [b"RF64", b"BW64"] {
        let sound = wav.len() as u64 - data as u64 - 4;
        let sizes = [wav.len() as u64 + 28, sound, sound / 4].map(u64::to_le_bytes).concat();
        let ds64 = chunk(b"ds64", &[sizes, vec![0; 4]].concat());
        let mut large = [&wav[..12], &ds64, &wav[12..]].concat();
        large[..4].copy_from_slice(name);
        large[4..8].fill(0xff);
        large[data + ds64.len()..data + ds64.len() + 4].fill(0xff);
        songs.put("large.wav", &large);
        assert_eq!(songs.info("large.wav").frames, plain.frames);
        // Sizes at the end of all numbers.
        for size in [u64::MAX - 1, u64::MAX - 7, 1 << 63] {
            let at = 12 + 8 + 8;
            large[at..at + 8].copy_from_slice(&size.to_le_bytes());
            songs.put("lie.wav", &large);
            let refused = songs.inspect("lie.wav").expect_err("most of it is missing");
            assert_eq!(refused.code(), "truncated", "{size}");
        }
    }
}
