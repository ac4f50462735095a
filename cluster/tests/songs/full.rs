//! Disks without room for a song, before it comes and while it comes.

use std::fs;
use std::path::PathBuf;

use jam_proto::ids::TrackId;
use jam_proto::wire::v1::HaveReply;
use tonic::Code;

use super::cramped::Cramped;
use super::trio::{Node, Nodes, error_of, id_of, song};

/// Nobody sees anything of the song, but for `held` bytes that wait to be gone on with.
async fn has_nothing_but(node: &Node, id: TrackId, held: u64) {
    assert_eq!(node.have(id).await, HaveReply { track: None, offset: held });
    assert!(!node.blobs.holds_every([&id]) && !node.file(id).exists());
    let gone = node.fetch(id, 0, 0).await.expect_err("it is not committed");
    assert_eq!(error_of(&gone), Some("track_gone"));
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
