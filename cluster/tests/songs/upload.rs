//! A song's way in, and to the nodes that lack it.

use std::time::Duration;

use jam_proto::wire::v1::{FetchRequest, HaveReply};
use tonic::Code;

use super::trio::{Nodes, error_of, id_of, song};

#[tokio::test]
async fn a_song_reaches_every_node() {
    let mut nodes = Nodes::three().await;
    let (one, two, three) = (nodes.start(1).await, nodes.start(2).await, nodes.start(3).await);
    let song = song(1);
    let id = id_of(&song);
    assert_eq!(one.have(id).await, HaveReply { track: None, offset: 0 });

    let track = one.send(&song, 0, usize::MAX).await.expect("taken");
    assert_eq!((track.frames, track.sample_rate, track.channels), (4 * 44_100, 44_100, 2));
    assert_eq!(
        (track.title.as_str(), track.codec.as_str(), track.bytes),
        ("A Song", "pcm", song.len() as u64)
    );
    let copies = [&one, &two, &three].iter().filter(|node| node.blobs.holds_every([&id])).count();
    assert!(copies >= 2, "acknowledged with {copies} copies");

    for node in [&one, &two, &three] {
        assert_eq!(node.have(id).await.track.as_ref(), Some(&track));
        assert_eq!(node.fetch(id, 0, 0).await.expect("bytes"), song);
        assert_eq!(node.fetch(id, 1000, 5000).await.expect("bytes"), song[1000..6000]);
        node.until_complete(id).await;
        assert!(node.blobs.holds_every([&id]));
    }
    // Sent once more, it is there without a byte.
    assert_eq!(two.send(&song, 0, 0).await.expect("known"), track);
    let past_end = one.fetch(id, song.len() as u64 + 1, 0).await.expect_err("past the end");
    assert_eq!(error_of(&past_end), Some("invalid"));
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stopped() {
    let mut nodes = Nodes::three().await;
    let (one, two) = (nodes.start(1).await, nodes.start(2).await);
    nodes.close(3);
    let song = song(2);
    let id = id_of(&song);

    let cut = one.send(&song, 0, 200_000).await.expect_err("incomplete");
    assert_eq!((cut.code(), error_of(&cut)), (Code::Aborted, Some("incomplete")));
    let held = one.have(id).await;
    assert_eq!(held, HaveReply { track: None, offset: 200_000 });
    assert_eq!(two.have(id).await.offset, 0, "only that node has it");
    let gone = one.fetch(id, 0, 0).await.expect_err("visible to nobody");
    assert_eq!(error_of(&gone), Some("track_gone"));

    let wrong = one.send(&song, 300_000, usize::MAX).await.expect_err("a hole");
    assert_eq!(error_of(&wrong), Some("wrong_offset"));
    // Overlaps with what is there.
    one.send(&song, 150_000, usize::MAX).await.expect("whole");
    assert_eq!(two.fetch(id, 0, 0).await.expect("bytes"), song);
}

#[tokio::test]
async fn without_a_majority_nothing_is_visible_and_the_bytes_stay() {
    let mut nodes = Nodes::three().await;
    let one = nodes.start(1).await;
    nodes.close(2);
    nodes.close(3);
    let song = song(3);
    let id = id_of(&song);

    let refused = one.send(&song, 0, usize::MAX).await.expect_err("alone");
    assert_eq!((refused.code(), error_of(&refused)), (Code::Unavailable, Some("no_quorum")));
    assert_eq!(one.have(id).await, HaveReply { track: None, offset: song.len() as u64 });
    assert_eq!(
        error_of(&one.fetch(id, 0, 0).await.expect_err("not committed")),
        Some("track_gone")
    );

    let two = nodes.start(2).await;
    one.send(&song, song.len(), 0).await.expect("no byte is sent again");
    assert_eq!(two.fetch(id, 0, 0).await.expect("bytes"), song);
}

#[tokio::test]
async fn many_at_once_send_the_same_song() {
    let mut nodes = Nodes::three().await;
    let (one, two, three) = (nodes.start(1).await, nodes.start(2).await, nodes.start(3).await);
    let song = song(4);
    let sent = futures_util::future::join_all(
        [&one, &two, &one, &three, &two, &one].map(|node| node.send(&song, 0, usize::MAX)),
    )
    .await;
    let first = sent[0].as_ref().expect("taken");
    for track in &sent {
        assert_eq!(track.as_ref().expect("taken"), first);
    }
    for node in [&one, &two, &three] {
        node.until_complete(id_of(&song)).await;
        assert_eq!(node.fetch(id_of(&song), 0, 0).await.expect("bytes"), song);
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let mut nodes = Nodes::three().await;
    let (one, _two) = (nodes.start(1).await, nodes.start(2).await);
    let song = song(5);
    let id = id_of(&song);

    let mut bent = song.clone();
    bent[100_000] ^= 1;
    let wrong = one.send_as(id, &bent, 0, usize::MAX).await.expect_err("another hash");
    assert_eq!(error_of(&wrong), Some("hash_mismatch"));
    assert_eq!(one.have(id).await.offset, 0, "of no use");
    one.send(&song, 0, usize::MAX).await.expect("the right bytes");

    let text = b"no song ".repeat(1000);
    let refused = one.send(&text, 0, usize::MAX).await.expect_err("text");
    assert_eq!(
        (refused.code(), error_of(&refused)),
        (Code::InvalidArgument, Some("unsupported_song"))
    );
    assert_eq!(
        refused.metadata().get("jam-song-error").and_then(|code| code.to_str().ok()),
        Some("not_audio")
    );
    assert_eq!(one.have(id_of(&text)).await.offset, 0, "not kept");
    assert_eq!(error_of(&one.send(b"", 0, 0).await.expect_err("empty")), Some("unsupported_song"));

    let cut = &song[..song.len() / 2];
    let refused = one.send(cut, 0, usize::MAX).await.expect_err("cut off");
    assert_eq!(
        refused.metadata().get("jam-song-error").and_then(|code| code.to_str().ok()),
        Some("truncated")
    );
}

#[tokio::test]
async fn a_node_that_comes_late_serves_from_its_peers_and_catches_up() {
    let mut nodes = Nodes::three().await;
    let (one, _two) = (nodes.start(1).await, nodes.start(2).await);
    nodes.close(3);
    let song = song(6);
    let id = id_of(&song);
    let track = one.send(&song, 0, usize::MAX).await.expect("taken");

    let three = nodes.start(3).await;
    assert!(!three.blobs.holds_every([&id]));
    assert_eq!(three.fetch(id, 70_000, 100_000).await.expect("from a peer"), song[70_000..170_000]);
    three.blobs.want_all(&track);
    three.until_complete(id).await;
    while !three.blobs.missing().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_takes_nothing_of_a_song_keeps_no_file_open() {
    let mut nodes = Nodes::three().await;
    let (one, two) = (nodes.start(1).await, nodes.start(2).await);
    nodes.close(3);
    let song = song(60);
    let id = id_of(&song);
    one.send(&song, 0, usize::MAX).await.expect("taken");
    two.until_complete(id).await;
    let mut untaken = Vec::new();
    for _ in 0..16 {
        let request = FetchRequest { id: id.to_wire(), offset: 0, length: 0 };
        untaken.push(one.client.clone().fetch(request).await.expect("it begins"));
    }
    let path = one.file(id);
    let open = || {
        let files = std::fs::read_dir("/proc/self/fd").expect("Linux");
        let files = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        files.filter(|file| *file == path).count()
    };
    let closed = async {
        while open() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), closed).await.expect("no file stays open");
}
