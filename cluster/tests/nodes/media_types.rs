//! What a browser, a player or a proxy is told about the bytes of songs.

use jam_proto::ids::TrackId;

use crate::cluster::Cluster;
use crate::forgetting::{add, song};

const COVER: &str = "GIF89a, as far as anybody looks";

/// With a picture in its tag, which stands behind the sound.
fn song_with_cover(step: u32) -> Vec<u8> {
    let frame = [&b"\0image/svg+xml\0\x03\0"[..], COVER.as_bytes()].concat();
    let length = frame.len() as u32;
    let size = (length + 10).to_be_bytes();
    let mut tag = b"ID3\x03\0\0\0\0".to_vec();
    tag.extend([size[2] << 1 | size[3] >> 7, size[3] & 0x7f]);
    tag.extend(b"APIC");
    tag.extend(length.to_be_bytes());
    tag.extend([0; 2]);
    tag.extend(frame);
    tag.resize(tag.len().next_multiple_of(2), 0);
    let mut song = song(step);
    song.extend(b"id3 ");
    song.extend((tag.len() as u32).to_le_bytes());
    song.extend(tag);
    let all = song.len() as u32 - 8;
    song[4..8].copy_from_slice(&all.to_le_bytes());
    song
}

/// The four first bytes of something, with the head of the answer.
fn begin_of(cluster: &Cluster, id: TrackId, what: &str) -> String {
    let request = format!("GET /audio/{id}{what}");
    cluster.http(1, &request, "Host: localhost\r\nRange: bytes=0-3\r\n", b"").to_lowercase()
}

#[tokio::test]
async fn songs_and_covers_are_served_as_what_they_are() {
    let cluster = Cluster::start(1, &[]).await;
    let id = add(&cluster, 1, song_with_cover(109)).await;
    let original = begin_of(&cluster, id, "");
    assert!(original.starts_with("http/1.1 206") && original.ends_with("riff"), "{original}");
    let cover = begin_of(&cluster, id, "/cover");
    assert!(cover.ends_with(&COVER.to_lowercase()), "{cover}");
    for (page, kind) in [(original, "audio/wav"), (cover, "image/gif")] {
        assert!(page.contains(&format!("\r\ncontent-type: {kind}\r\n")), "{page}");
        assert!(page.contains("\r\nx-content-type-options: nosniff\r\n"), "{page}");
    }
}
