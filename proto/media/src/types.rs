//! Media types of songs and pictures, for whoever gets their bytes over HTTP.

/// How many bytes of a song [`song_type`] looks at: the header of a WebM has its name within them.
pub const HEAD_BYTES: usize = 64;

/// The media type of a song, by the first bytes of its file and its codec (as in [`SongInfo`](crate::SongInfo)): an
/// MP3 or an ADTS file has no container, and any file may begin with a tag. `application/octet-stream` for what is
/// neither.
pub fn song_type(head: &[u8], codec: &str) -> &'static str {
    let brand = head.get(8..12).unwrap_or_default();
    match (head, codec) {
        ([b'O', b'g', b'g', b'S', ..], "opus") => "audio/ogg; codecs=opus",
        ([b'O', b'g', b'g', b'S', ..], "vorbis") => "audio/ogg; codecs=vorbis",
        ([b'O', b'g', b'g', b'S', ..], "flac") => "audio/ogg; codecs=flac",
        ([b'O', b'g', b'g', b'S', ..], _) => "audio/ogg",
        ([b'R', b'I', b'F', b'F', ..] | [b'R', b'F', b'6', b'4', ..], _) if brand == b"WAVE" => {
            "audio/wav"
        }
        ([b'B', b'W', b'6', b'4', ..], _) if brand == b"WAVE" => "audio/wav",
        ([b'F', b'O', b'R', b'M', ..], _) if matches!(brand, b"AIFF" | b"AIFC") => "audio/aiff",
        ([b'c', b'a', b'f', b'f', ..], _) => "audio/x-caf",
        ([_, _, _, _, b'f', b't', b'y', b'p', ..], _) => in_mp4(codec),
        ([0x1a, 0x45, 0xdf, 0xa3, ..], _) => in_matroska(head),
        (_, "flac") => "audio/flac",
        (_, "mp1" | "mp2" | "mp3") => "audio/mpeg",
        (_, "aac") => "audio/aac",
        _ => "application/octet-stream",
    }
}

/// Names of codecs: RFC 6381, 3.3.
fn in_mp4(codec: &str) -> &'static str {
    match codec {
        "aac" => "audio/mp4; codecs=mp4a.40.2",
        "alac" => "audio/mp4; codecs=alac",
        "flac" => "audio/mp4; codecs=flac",
        "opus" => "audio/mp4; codecs=opus",
        _ => "audio/mp4",
    }
}

fn in_matroska(head: &[u8]) -> &'static str {
    let is_webm = head[..head.len().min(HEAD_BYTES)].windows(4).any(|name| name == b"webm");
    if is_webm { "audio/webm" } else { "audio/x-matroska" }
}

/// The media type of a picture by its first bytes: JPEG, PNG, WebP or GIF, and none for anything else
/// (<https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern>).
pub fn picture_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', b'V', b'P', ..] => {
            Some("image/webp")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn songs_have_the_type_of_their_container_and_codec() {
        let cases: &[(&[u8], &str, &str)] = &[
            (b"OggS\0", "opus", "audio/ogg; codecs=opus"),
            (b"OggS\0", "vorbis", "audio/ogg; codecs=vorbis"),
            (b"OggS\0", "flac", "audio/ogg; codecs=flac"),
            (b"RIFF\0\0\0\0WAVEfmt ", "pcm", "audio/wav"),
            (b"RF64\xff\xff\xff\xffWAVEds64", "pcm", "audio/wav"),
            (b"BW64\xff\xff\xff\xffWAVEds64", "pcm", "audio/wav"),
            (b"RIFF\0\0\0\0AVI ", "pcm", "application/octet-stream"),
            (b"FORM\0\0\0\0AIFCFVER", "pcm", "audio/aiff"),
            (b"caff\0\x01", "alac", "audio/x-caf"),
            (b"\0\0\0\x1cftypM4A ", "aac", "audio/mp4; codecs=mp4a.40.2"),
            (b"\0\0\0\x1cftypM4A ", "alac", "audio/mp4; codecs=alac"),
            (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "opus", "audio/webm"),
            (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska", "opus", "audio/x-matroska"),
            (b"fLaC", "flac", "audio/flac"),
            (b"ID3\x04", "flac", "audio/flac"),
            (b"ID3\x04", "mp3", "audio/mpeg"),
            (b"\xff\xfd\xa4", "mp2", "audio/mpeg"),
            (b"\xff\xf1", "aac", "audio/aac"),
            (b"", "", "application/octet-stream"),
        ];
        for (head, codec, expected) in cases {
            assert_eq!(song_type(head, codec), *expected, "{codec} in {head:?}");
        }
    }

    #[test]
    fn pictures_have_the_type_of_their_first_bytes() {
        let known: &[(&[u8], &str)] = &[
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"\x89PNG\r\n\x1a\nIHDR", "image/png"),
            (b"GIF87a..", "image/gif"),
            (b"GIF89a..", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        ];
        for (bytes, media_type) in known {
            assert_eq!(picture_type(bytes), Some(*media_type));
        }
        for unknown in
            [&b""[..], b"\xff\xd8", b"<svg/>", b"BM", b"RIFF\0\0\0\0WAVEfmt ", b"http://x"]
        {
            assert_eq!(picture_type(unknown), None);
        }
    }
}
