//! Songs that the log forgets.

use std::fs::File;
use std::time::{Duration, SystemTime};

use jam_cluster::blobs::UNFINISHED_KEPT;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::HaveReply;

use super::trio::{Node, Nodes, error_of, id_of, song};

impl Nodes {
    /// All of them apply the entry: the song and what was made of it. Returns all of that.
    pub fn forget(&self, id: TrackId) -> Vec<TrackId> {
        let track = self.registry.tracks.lock().expect("no panic").remove(&id).expect("committed");
        let made = track.derived.iter().map(|one| TrackId::from_wire(&one.id).expect("an id"));
        let gone: Vec<TrackId> = std::iter::once(id).chain(made).collect();
        for blobs in self.registry.nodes.lock().expect("no panic").iter() {
            gone.iter().for_each(|id| blobs.forget(id));
        }
        gone
    }
}

impl Node {
    /// A node that was started again knows of a song's age what its file says.
    fn age(&self, id: TrackId) {
        let long_ago = SystemTime::now() - UNFINISHED_KEPT - Duration::from_secs(60);
        if let Ok(file) = File::options().append(true).open(self.file(id)) {
            file.set_modified(long_ago).expect("sets");
        }
    }

    /// Returns once it has removed the forgotten song. A copy that a peer asked for may have been counted on a moment ago, so
    /// its age is set again until then.
    async fn until_collected(&self, id: TrackId) {
        while self.file(id).exists() || self.blobs.holds_every([&id]) {
            self.age(id);
            self.blobs.forget(&id);
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_forgotten_song_goes_everywhere_and_may_come_again() {
    let mut nodes = Nodes::three().await;
    let song = song(30);
    let id = id_of(&song);
    let mut three = nodes.start_all().await;
    let track = three[0].send(&song, 0, usize::MAX).await.expect("taken");
    for node in &mut three {
        node.until_complete(id).await;
        // What was made of the song, too: what comes later is counted on for a day.
        node.until("jam_songs_missing", 0).await;
    }
    for place in 1..=3 {
        nodes.restart(place, &mut three[place - 1]).await;
    }
    let gone = nodes.forget(id);
    assert!(gone.len() > 1);
    for node in &three {
        for id in &gone {
            node.until_collected(*id).await;
        }
        assert_eq!(node.figure("jam_songs"), 0);
        assert_eq!(node.have(id).await, HaveReply { track: None, offset: 0 });
    }
    let gone = three[1].fetch(id, 0, 0).await.expect_err("forgotten");
    assert_eq!(error_of(&gone), Some("track_gone"));

    assert_eq!(three[1].send(&song, 0, usize::MAX).await.expect("taken again"), track);
    for node in &three {
        node.until_complete(id).await;
        assert_eq!(node.fetch(id, 0, 0).await.expect("bytes"), song);
    }
}

#[tokio::test]
async fn what_somebody_counts_on_stays() {
    let mut nodes = Nodes::three().await;
    let mut one = nodes.start(1).await;
    nodes.close(2);
    nodes.close(3);
    let (left, new) = (song(31), song(32));
    for song in [&left, &new] {
        let refused = one.send(song, 0, usize::MAX).await.expect_err("alone");
        assert_eq!(error_of(&refused), Some("no_quorum"));
    }
    nodes.restart(1, &mut one).await;
    // The client of one of them comes back, and then the time of day jumps.
    one.send(&new, new.len(), 0).await.expect_err("still alone");
    one.age(id_of(&new));
    one.blobs.forget(&id_of(&new));
    one.until_collected(id_of(&left)).await;
    assert_eq!(one.have(id_of(&left)).await.offset, 0);
    assert_eq!(one.have(id_of(&new)).await.offset, new.len() as u64);

    let _two = nodes.start(2).await;
    one.send(&new, new.len(), 0).await.expect("no byte is sent again");
}

#[tokio::test]
async fn a_song_that_the_log_has_stays_however_old_it_is() {
    let mut nodes = Nodes::three().await;
    let (kept, gone) = (song(33), song(34));
    let mut three = nodes.start_all().await;
    for song in [&kept, &gone] {
        three[0].send(song, 0, usize::MAX).await.expect("taken");
        three[2].until_complete(id_of(song)).await;
    }
    three[2].until("jam_songs_missing", 0).await;
    nodes.restart(3, &mut three[2]).await;
    // It came again before its node got to removing it.
    three[2].age(id_of(&kept));
    three[2].blobs.forget(&id_of(&kept));
    nodes.forget(id_of(&gone));
    three[2].until_collected(id_of(&gone)).await;
    assert_eq!(three[2].fetch(id_of(&kept), 0, 0).await.expect("bytes"), kept);
    assert!(three[2].file(id_of(&kept)).exists());
}
