//! Songs that every node has lost, and songs that too few hold.

use std::fs;
use std::sync::atomic::Ordering;

use jam_proto::ids::TrackId;
use jam_proto::wire::v1::HaveReply;

use super::moody::{Mood, Moody};
use super::trio::{Node, Nodes, error_of, id_of, song};

impl Node {
    /// Returns after it has asked the others in vain once more.
    async fn asks_again(&self, id: TrackId) {
        let refused = self.fetch(id, 0, 0).await.err();
        assert_eq!(refused.as_ref().and_then(error_of), Some("unavailable"));
    }
}

/// All their copies are gone, before one could be mended from another, and they notice.
async fn lose(nodes: &[Node], id: TrackId) {
    for node in nodes {
        fs::remove_file(node.file(id)).expect("removes");
    }
    for node in nodes {
        node.doubt(id).await;
    }
    for node in nodes {
        while node.blobs.holds_every([&id]) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_song_is_lost_once_every_node_says_so() {
    let mut nodes = Nodes::three().await;
    nodes.registry.is_bare.store(true, Ordering::Relaxed);
    let song = song(50);
    let id = id_of(&song);
    // The third one is away: nobody can say that it has none.
    let mut two = [nodes.start(1).await, nodes.start(2).await];
    nodes.close(3);
    two[0].send(&song, 0, usize::MAX).await.expect("taken");
    two[1].until_complete(id).await;
    lose(&two, id).await;
    two[0].asks_again(id).await;
    assert_eq!(two[0].figure("jam_songs_lost"), 0);

    // Its place is given to another node: nobody waits for it.
    nodes.replace(3);
    for place in [1, 2] {
        nodes.restart(place, &mut two[place - 1]).await;
    }
    let track = nodes.registry.tracks.lock().expect("no panic")[&id].clone();
    two[0].blobs.want_all(&track);
    two[0].until("jam_songs_lost", 1).await;
    // Somebody adds it again, and then it is not.
    two[0].blobs.want_all(&track);
    assert_eq!(two[0].figure("jam_songs_lost"), 0);
}

#[tokio::test]
async fn a_song_is_not_lost_while_the_songs_store_may_have_it() {
    let depot = Moody::new();
    let mut nodes = Nodes::three().await;
    nodes.registry.is_bare.store(true, Ordering::Relaxed);
    nodes.depot = Some(depot.clone());
    let song = song(51);
    let id = id_of(&song);
    let three = nodes.start_all().await;
    three[0].send(&song, 0, usize::MAX).await.expect("taken");
    for node in &three {
        node.until_complete(id).await;
        node.until("jam_songs_store_up", 1).await;
    }
    depot.feel(Mood::Down);
    lose(&three, id).await;
    for node in &three {
        node.asks_again(id).await;
        assert_eq!(node.figure("jam_songs_lost"), 0, "the store does not answer");
    }
    // It answers, and nobody ever led to put the song there.
    depot.feel(Mood::Good);
    for node in &three {
        node.until("jam_songs_lost", 1).await;
    }
}

#[tokio::test]
async fn a_lost_song_is_taken_again() {
    let mut nodes = Nodes::three().await;
    let song = song(52);
    let id = id_of(&song);
    let three = nodes.start_all().await;
    let track = three[0].send(&song, 0, usize::MAX).await.expect("taken");
    for node in &three {
        node.until_complete(id).await;
    }
    lose(&three, id).await;
    assert_eq!(three[1].have(id).await.track, Some(track.clone()), "the log still has it");
    nodes.registry.lost.lock().expect("no panic").insert(id);
    assert_eq!(three[1].have(id).await, HaveReply { track: None, offset: 0 });

    assert_eq!(three[1].send(&song, 0, usize::MAX).await.expect("taken again"), track);
    assert_eq!(three[1].have(id).await.track, Some(track));
    for node in &three {
        node.until_complete(id).await;
        assert_eq!(node.fetch(id, 0, 0).await.expect("bytes"), song);
    }
}

#[tokio::test]
async fn a_song_that_too_few_voters_hold_is_copied_further_and_then_refused() {
    let mut nodes = Nodes::three().await;
    let song = song(53);
    let id = id_of(&song);
    let three = nodes.start_all().await;
    // The voters that the leader knows are others, and this node does not hear of it.
    nodes.registry.voters.lock().expect("no panic").extend([3, 100, 101]);
    let refused = three[0].send(&song, 0, usize::MAX).await.expect_err("one of three at most");
    assert_eq!(error_of(&refused), Some("too_few_copies"));
    assert_eq!(nodes.registry.refused.load(Ordering::Relaxed), 4);
    assert_eq!(three[0].have(id).await.track, None, "nothing is committed");

    nodes.registry.voters.lock().expect("no panic").clear();
    nodes.registry.voters.lock().expect("no panic").extend([1, 2, 3]);
    three[0].send(&song, song.len(), 0).await.expect("no byte is sent again");
}
