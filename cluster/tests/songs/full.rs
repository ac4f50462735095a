//! Disks without room for a song, before it comes and while it comes.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use jam_cluster::blobs::{FLOOR_BYTES, advice_if_full, make_room_to_start};
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::{HaveReply, UploadChunk, UploadStart};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::cramped::Cramped;
use super::trio::{Node, Nodes, error_of, id_of, song};

/// Nobody sees anything of the song, but for `held` bytes that wait to be gone on with.
async fn has_nothing_but(node: &Node, id: TrackId, held: u64) {
    assert_eq!(node.have(id).await, HaveReply { track: None, offset: held });
    assert!(!node.blobs.holds_every([&id]) && !node.file(id).exists());
    let gone = node.fetch(id, 0, 0).await.expect_err("it is not committed");
    assert_eq!(error_of(&gone), Some("track_gone"));
}

/// Begins to send a song: its first byte has come. What more is sent goes into the channel.
async fn begin(
    node: &Node,
    song: &[u8],
) -> (mpsc::Sender<UploadChunk>, JoinHandle<Result<(), Status>>) {
    let id = id_of(song);
    let (bytes, file_name) = (song.len() as u64, "A Song.wav".to_owned());
    let start = UploadStart { id: id.to_wire(), bytes, offset: 0, file_name };
    let (chunks, coming) = mpsc::channel(4);
    let first = Bytes::copy_from_slice(&song[..1]);
    chunks.send(UploadChunk { start: Some(start), data: first }).await.expect("a channel");
    let (mut client, coming) = (node.client.clone(), ReceiverStream::new(coming));
    let under_way = tokio::spawn(async move { client.upload(coming).await.map(drop) });
    while node.have(id).await.offset == 0 {
        tokio::task::yield_now().await;
    }
    (chunks, under_way)
}

fn pulled(node: &Node, id: TrackId) -> PathBuf {
    node.data.path().join("uploads").join(format!("{id}.pull"))
}

#[tokio::test]
async fn a_full_node_refuses_an_upload_until_there_is_room() {
    let mut nodes = Nodes::three().await;
    let (disk, world) = Cramped::new();
    let (one, two) = (nodes.start_in(1, world).await, nodes.start(2).await);
    nodes.close(3);
    let song = song(41);
    let id = id_of(&song);

    disk.fill(true);
    let full = one.send(&song, 0, usize::MAX).await.expect_err("full");
    assert_eq!((full.code(), error_of(&full)), (Code::ResourceExhausted, Some("disk_full")));
    has_nothing_but(&one, id, 0).await;
    assert_eq!(two.have(id).await.offset, 0, "nobody was asked for a copy");

    disk.fill(false);
    one.send(&song, 0, usize::MAX).await.expect("there is room");
    assert_eq!(two.fetch(id, 0, 0).await.expect("bytes"), song);
}

#[tokio::test]
async fn a_disk_that_gets_full_in_the_middle_keeps_what_came_whole() {
    let mut nodes = Nodes::three().await;
    let (disk, world) = Cramped::new();
    let (one, two) = (nodes.start_in(1, world).await, nodes.start(2).await);
    nodes.close(3);
    let song = song(42);
    let id = id_of(&song);

    // Within a chunk: half of it is written.
    disk.leave(300_001);
    let full = one.send(&song, 0, usize::MAX).await.expect_err("full");
    assert_eq!((full.code(), error_of(&full)), (Code::ResourceExhausted, Some("disk_full")));
    has_nothing_but(&one, id, 300_001).await;

    // It goes on where the disk was full, and the bytes fit together.
    disk.fill(false);
    one.send(&song, 300_001, usize::MAX).await.expect("there is room");
    for node in [&one, &two] {
        assert_eq!(node.fetch(id, 0, 0).await.expect("bytes"), song);
    }
}

#[tokio::test]
async fn uploads_that_are_under_way_count_together() {
    let mut nodes = Nodes::three().await;
    let (disk, world) = Cramped::new();
    let one = nodes.start_in(1, world).await;
    (2..=3).for_each(|id| nodes.close(id));
    let (first, second) = (song(46), song(47));
    disk.claim(FLOOR_BYTES + first.len() as u64 + second.len() as u64 / 2);

    // The first has begun, and sends nothing for the time being.
    let (chunks, under_way) = begin(&one, &first).await;
    let full = one.send(&second, 0, usize::MAX).await.expect_err("the room is promised");
    assert_eq!(error_of(&full), Some("disk_full"));
    drop(chunks);
    under_way.await.expect("no panic").expect_err("incomplete");
    let alone = one.send(&second, 0, usize::MAX).await.expect_err("one copy is no majority");
    assert_eq!(error_of(&alone), Some("no_quorum"));
}

#[tokio::test]
async fn songs_leave_the_log_its_room_while_they_are_written() {
    let mut nodes = Nodes::three().await;
    let (disk, world) = Cramped::new();
    let one = nodes.start_in(1, world).await;
    let song = song(48);
    let (chunks, under_way) = begin(&one, &song).await;
    // Something else fills the disk meanwhile.
    disk.claim(FLOOR_BYTES + 1000);
    let chunk = Bytes::copy_from_slice(&song[..64 << 10]);
    chunks.send(UploadChunk { start: None, data: chunk }).await.expect("it goes on");
    drop(chunks);
    let full = under_way.await.expect("no panic").expect_err("full");
    assert_eq!(error_of(&full), Some("disk_full"));
    has_nothing_but(&one, id_of(&song), 1).await;
}

#[tokio::test]
async fn what_nobody_goes_on_with_goes_when_there_is_no_room() {
    let mut nodes = Nodes::three().await;
    let (disk, world) = Cramped::new();
    let one = nodes.start_in(1, world).await;
    let (left, fresh) = (song(49), song(50));
    one.send(&left, 0, 200_000).await.expect_err("incomplete");
    assert_eq!(one.have(id_of(&left)).await.offset, 200_000);
    disk.claim(FLOOR_BYTES);
    let full = one.send(&fresh, 0, usize::MAX).await.expect_err("full all the same");
    assert_eq!(error_of(&full), Some("disk_full"));
    assert_eq!(one.have(id_of(&left)).await.offset, 0, "it made way");
}

#[test]
fn a_node_with_a_full_disk_makes_room_before_its_log_is_opened() {
    let (disk, world) = Cramped::new();
    let data = tempfile::tempdir().expect("a folder");
    let files = ["uploads/a.part", "uploads/b.pull", "uploads/c.aside", "packs/d", "songs/ab/e"];
    for file in files.map(|file| data.path().join(file)) {
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, "x").expect("written");
    }
    let kept = || files.map(|file| data.path().join(file).exists());
    make_room_to_start(&world, data.path()).expect("looks");
    assert_eq!(kept(), [true; 5], "there is room");
    disk.claim(FLOOR_BYTES - 1);
    make_room_to_start(&world, data.path()).expect("makes room");
    assert_eq!(kept(), [false, false, true, false, true]);
    assert_eq!(advice_if_full(&world, data.path()), None);
    disk.claim(0);
    assert!(advice_if_full(&world, data.path()).expect("full").contains("free 128 MiB"));
    make_room_to_start(&world, &data.path().join("new")).expect("a folder that is not there yet");
}

#[tokio::test]
async fn a_full_follower_fetches_by_itself_when_there_is_room() {
    let mut nodes = Nodes::three().await;
    let (disk, world) = Cramped::new();
    let three = [nodes.start(1).await, nodes.start_in(2, world).await, nodes.start(3).await];
    let (before, within) = (song(43), song(44));

    // Full from the start, and full while the song comes: both are committed by the other two.
    disk.fill(true);
    three[0].send(&before, 0, usize::MAX).await.expect("a majority has room");
    disk.leave(200_001);
    three[0].send(&within, 0, usize::MAX).await.expect("a majority has room");
    for song in [&before, &within] {
        let id = id_of(song);
        assert!(!three[1].blobs.holds_every([&id]) && !three[1].file(id).exists());
        assert_eq!(&three[1].fetch(id, 0, 0).await.expect("from a peer"), song);
    }

    disk.fill(false);
    for song in [&before, &within] {
        let id = id_of(song);
        three[1].until_complete(id).await;
        assert_eq!(&fs::read(three[1].file(id)).expect("a file"), song);
        assert!(!pulled(&three[1], id).exists());
    }
    three[1].until("jam_songs_missing", 0).await;
}

#[tokio::test]
async fn without_room_at_a_majority_nothing_is_visible_and_no_byte_is_sent_twice() {
    let mut nodes = Nodes::three().await;
    let (disk, world) = Cramped::new();
    let (one, two) = (nodes.start(1).await, nodes.start_in(2, world).await);
    nodes.close(3);
    let song = song(45);
    let id = id_of(&song);

    disk.leave(100_001);
    let refused = one.send(&song, 0, usize::MAX).await.expect_err("one copy is no majority");
    assert_eq!((refused.code(), error_of(&refused)), (Code::Unavailable, Some("no_quorum")));
    assert_eq!(one.have(id).await, HaveReply { track: None, offset: song.len() as u64 });
    has_nothing_but(&two, id, 0).await;

    disk.fill(false);
    one.send(&song, song.len(), 0).await.expect("there is room");
    assert_eq!(two.fetch(id, 0, 0).await.expect("bytes"), song);
}
