//! Songs that are kept outside the nodes as well.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jam_cluster::blobs::Depot;
use jam_proto::wire::v1::Track;

use super::depots::bytes_of;
use super::moody::{Mood, Moody};
use super::repair::flip;
use super::trio::{Node, Nodes, id_of, song};

impl Nodes {
    async fn with(depot: &Arc<Moody>) -> Self {
        let mut nodes = Self::three().await;
        nodes.depot = Some(depot.clone());
        nodes.registry.is_bare.store(true, Ordering::Relaxed);
        nodes.lead(1);
        nodes
    }

    fn lead(&self, id: u64) {
        self.registry.leader.store(id, Ordering::Relaxed);
    }

    /// Of a log that was restored: it names the song, and nobody has it.
    fn commit(&self, track: &Track, song: &[u8]) {
        self.registry.tracks.lock().expect("no panic").insert(id_of(song), track.clone());
        for blobs in self.registry.nodes.lock().expect("no panic").iter() {
            blobs.want_all(track);
        }
    }
}

impl Node {
    async fn until_some(&self, name: &str) {
        while self.figure(name) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn is_there(depot: &Moody, song: &[u8]) -> bool {
    let id = id_of(song);
    match depot.list().await.expect("lists").contains_key(&id) {
        true => bytes_of(depot.read(&id, 0).await.expect("reads")).await == song,
        false => false,
    }
}

#[tokio::test]
async fn a_cluster_that_lost_all_its_disks_gets_its_songs_back() {
    let depot = Moody::new();
    let song = song(40);
    let track = {
        let mut nodes = Nodes::with(&depot).await;
        let three = nodes.start_all().await;
        let track = three[1].send(&song, 0, usize::MAX).await.expect("taken");
        three[0].until("jam_songs_store_put_total", 1).await;
        assert_eq!(three[0].figure("jam_songs_store_put_bytes_total"), song.len() as u64);
        assert_eq!(three[0].figure("jam_songs_store_owed"), 0);
        assert_eq!(three[1].figure("jam_songs_store_put_total"), 0, "it does not lead");
        track
    };
    assert!(is_there(&depot, &song).await);

    let mut nodes = Nodes::with(&depot).await;
    let three = nodes.start_all().await;
    nodes.commit(&track, &song);
    let mut taken = 0;
    for node in &three {
        node.until_complete(id_of(&song)).await;
        node.until("jam_songs_missing", 0).await;
        assert_eq!(node.fetch(id_of(&song), 0, 0).await.expect("bytes"), song);
        taken += node.figure("jam_songs_store_taken_total");
    }
    assert!((1..=3).contains(&taken), "{taken}");
}

#[tokio::test]
async fn nothing_waits_for_a_depot_that_is_down() {
    let depot = Moody::new();
    let mut nodes = Nodes::with(&depot).await;
    nodes.rhythm.stalled_after = Duration::from_millis(20);
    let three = nodes.start_all().await;
    for (n, mood) in [Mood::Down, Mood::Stalled].into_iter().enumerate() {
        depot.feel(mood);
        let song = song(41 + n as u32);
        three[0].send(&song, 0, usize::MAX).await.expect("acknowledged all the same");
        let before = three[0].figure("jam_songs_store_failures_total");
        three[0].until("jam_songs_store_up", 0).await;
        while three[0].figure("jam_songs_store_failures_total") < before + 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(three[0].figure("jam_songs_store_owed"), 1);
        depot.feel(Mood::Good);
        three[0].until("jam_songs_store_put_total", n as u64 + 1).await;
        three[0].until("jam_songs_store_owed", 0).await;
        assert_eq!(three[0].figure("jam_songs_store_up"), 1);
        assert!(is_there(&depot, &song).await);
    }
}

#[tokio::test]
async fn who_leads_next_puts_what_is_missing_and_nothing_else() {
    let depot = Moody::new();
    let mut nodes = Nodes::with(&depot).await;
    let three = nodes.start_all().await;
    let (first, second) = (song(43), song(44));
    three[0].send(&first, 0, usize::MAX).await.expect("taken");
    three[0].until("jam_songs_store_put_total", 1).await;
    // The leader goes before it could put the second one.
    depot.feel(Mood::Down);
    three[0].send(&second, 0, usize::MAX).await.expect("taken");
    nodes.lead(2);
    three[0].until("jam_songs_store_owed", 0).await;
    depot.feel(Mood::Good);
    three[1].until("jam_songs_store_put_total", 1).await;
    assert!(is_there(&depot, &second).await);
    nodes.lead(3);
    three[2].until("jam_songs_store_listed", 2).await;
    three[2].until("jam_songs_store_owed", 0).await;
    assert_eq!(three[2].figure("jam_songs_store_put_total"), 0);
    assert_eq!(three[1].figure("jam_songs_store_put_total"), 1);
}

#[tokio::test]
async fn forgotten_songs_go_and_no_other() {
    let depot = Moody::new();
    let mut nodes = Nodes::with(&depot).await;
    let three = nodes.start_all().await;
    let (kept, gone) = (song(45), song(46));
    for (n, song) in [&kept, &gone].into_iter().enumerate() {
        three[0].send(song, 0, usize::MAX).await.expect("taken");
        three[0].until("jam_songs_store_put_total", n as u64 + 1).await;
    }
    // Forgotten once, and committed again since.
    three[0].blobs.forget(&id_of(&kept));
    depot.feel(Mood::Down);
    nodes.forget(id_of(&gone));
    three[0].until_some("jam_songs_store_failures_total").await;
    depot.feel(Mood::Good);
    three[0].until("jam_songs_store_removed_total", 1).await;
    assert!(is_there(&depot, &kept).await);
    assert!(!is_there(&depot, &gone).await);
    assert_eq!(three[1].figure("jam_songs_store_removed_total"), 0, "it does not lead");
}

#[tokio::test]
async fn wrong_bytes_are_not_used_and_are_replaced() {
    let depot = Moody::new();
    let mut nodes = Nodes::with(&depot).await;
    let (mut one, mut two) = (nodes.start(1).await, nodes.start(2).await);
    nodes.close(3);
    let song = song(47);
    let id = id_of(&song);
    let track = one.send(&song, 0, usize::MAX).await.expect("taken");
    one.until("jam_songs_store_put_total", 1).await;
    nodes.stop(&mut one).await;
    nodes.stop(&mut two).await;

    depot.feel(Mood::Lying);
    let three = nodes.start(3).await;
    three.blobs.want_all(&track);
    three.until_some("jam_songs_store_wrong_total").await;
    assert!(!three.blobs.holds_every([&id]));
    depot.feel(Mood::Down);
    nodes.restart(1, &mut one).await;
    three.until_complete(id).await;
    assert_eq!(three.figure("jam_songs_store_put_total"), 0);
    depot.feel(Mood::Good);
    // Not the leader, but the one who knows.
    three.until("jam_songs_store_put_total", 1).await;
    assert!(is_there(&depot, &song).await);
}

#[tokio::test]
async fn a_damaged_copy_is_not_put_there() {
    let depot = Moody::new();
    let mut nodes = Nodes::with(&depot).await;
    let three = nodes.start_all().await;
    let song = song(48);
    depot.feel(Mood::Down);
    three[0].send(&song, 0, usize::MAX).await.expect("taken");
    for node in &three {
        node.until_complete(id_of(&song)).await;
    }
    flip(&three[0].file(id_of(&song)));
    depot.feel(Mood::Good);
    // Once it was mended.
    three[0].until("jam_songs_store_put_total", 1).await;
    assert_eq!(three[0].figure("jam_songs_damaged_total"), 1);
    assert!(is_there(&depot, &song).await);
}

#[tokio::test]
async fn another_clusters_depot_is_left_alone() {
    let depot = Moody::new();
    depot.claim("somebody else").await.expect("nobody's");
    let mut nodes = Nodes::with(&depot).await;
    let three = nodes.start_all().await;
    let song = song(49);
    three[0].send(&song, 0, usize::MAX).await.expect("taken");
    nodes.forget(id_of(&song));
    three[0].until_some("jam_songs_store_failures_total").await;
    assert!(depot.list().await.expect("lists").is_empty());
}
