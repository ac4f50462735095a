//! Songs that go bad on a node's disk.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jam_cluster::blobs::Pace;

use super::cramped::Cramped;
use super::trio::{Node, Nodes, error_of, id_of, song};

pub fn flip(file: &Path) {
    let mut bytes = fs::read(file).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(file, bytes).expect("writes");
}

fn cut(file: &Path) {
    let bytes = fs::read(file).expect("reads");
    fs::write(file, &bytes[..bytes.len() / 3]).expect("writes");
}

/// What is kept besides a song of four seconds: a byte for each 256 frames.
const WAVEFORM_BYTES: u64 = (4 * 44_100u64).div_ceil(256);

fn delete(file: &Path) {
    fs::remove_file(file).expect("removes");
}

fn restless() -> Pace {
    Pace { bytes_per_s: 1 << 30, pause: Duration::from_millis(5) }
}

async fn three_with(nodes: &mut Nodes, song: &[u8]) -> [Node; 3] {
    let three = nodes.start_all().await;
    three[0].send(song, 0, usize::MAX).await.expect("taken");
    for node in &three {
        node.until_complete(id_of(song)).await;
    }
    three
}

async fn is_mended(node: &Node, song: &[u8], times: u64) {
    node.until("jam_songs_repaired_total", times).await;
    assert_eq!(fs::read(node.file(id_of(song))).expect("a file"), song);
    assert_eq!(node.fetch(id_of(song), 0, 0).await.expect("bytes"), song);
    node.until("jam_songs_missing", 0).await;
    assert_eq!(node.figure("jam_songs_bytes"), song.len() as u64 + WAVEFORM_BYTES);
    let left = fs::read_dir(node.data.path().join("uploads")).expect("a folder").count();
    assert_eq!(left, 0, "nothing is left of the damaged copy");
}

#[tokio::test]
async fn a_running_node_finds_damage_and_mends_it() {
    let mut nodes = Nodes::three().await;
    nodes.pace = restless();
    let song = song(20);
    let three = three_with(&mut nodes, &song).await;
    for (times, harm) in [flip, cut, delete].into_iter().enumerate() {
        harm(&three[1].file(id_of(&song)));
        is_mended(&three[1], &song, times as u64 + 1).await;
    }
    assert_eq!(three[1].figure("jam_songs_damaged_total"), 3);
    while three[1].figure("jam_songs_scrubbed_bytes_total") <= 3 * song.len() as u64 {
        tokio::task::yield_now().await;
    }
    assert_eq!(three[0].figure("jam_songs_damaged_total"), 0);
}

#[tokio::test]
async fn a_file_that_is_gone_or_cut_off_is_noticed_without_a_pass() {
    let mut nodes = Nodes::three().await;
    let (cut_off, gone) = (song(21), song(22));
    let three = nodes.start_all().await;
    for song in [&cut_off, &gone] {
        three[0].send(song, 0, usize::MAX).await.expect("taken");
        three[2].until_complete(id_of(song)).await;
    }
    cut(&three[2].file(id_of(&cut_off)));
    delete(&three[2].file(id_of(&gone)));
    // Whoever asks for it gets the right bytes, from a peer.
    assert_eq!(three[2].fetch(id_of(&gone), 0, 0).await.expect("bytes"), gone);
    three[2].until("jam_songs_repaired_total", 2).await;
    assert_eq!(fs::read(three[2].file(id_of(&cut_off))).expect("a file"), cut_off);
    assert_eq!(fs::read(three[2].file(id_of(&gone))).expect("a file"), gone);
}

#[tokio::test]
async fn one_good_copy_mends_all_the_others() {
    let mut nodes = Nodes::three().await;
    nodes.pace = restless();
    let song = song(23);
    let three = three_with(&mut nodes, &song).await;
    flip(&three[0].file(id_of(&song)));
    cut(&three[1].file(id_of(&song)));
    is_mended(&three[0], &song, 1).await;
    is_mended(&three[1], &song, 1).await;
}

#[tokio::test]
async fn without_a_good_copy_nothing_is_given_and_it_tries_on() {
    let mut nodes = Nodes::three().await;
    nodes.pace = restless();
    let song = song(24);
    let three = three_with(&mut nodes, &song).await;
    let id = id_of(&song);
    let good = fs::read(three[1].file(id)).expect("reads");
    // The second one goes last: until then it would mend the others.
    for node in [&three[1], &three[0], &three[2]] {
        flip(&node.file(id));
    }
    for node in &three {
        while node.blobs.holds_every([&id]) || node.figure("jam_songs_waiting_for_repair") == 0 {
            if fs::read(node.file(id)).is_ok_and(|bytes| bytes == song) {
                // It was mended by one that was not harmed yet.
                flip(&node.file(id));
            }
            tokio::task::yield_now().await;
        }
    }
    for node in &three {
        let refused = node.fetch(id, 0, 0).await.expect_err("no good copy");
        assert_eq!(error_of(&refused), Some("unavailable"));
    }
    // One comes back: what was set aside is read once more.
    let aside = three[1].data.path().join("uploads").join(format!("{id}.aside"));
    assert!(aside.exists());
    fs::write(aside, good).expect("writes");
    for node in &three {
        node.until_complete(id).await;
        node.until("jam_songs_waiting_for_repair", 0).await;
        assert_eq!(node.fetch(id, 0, 0).await.expect("bytes"), song);
    }
}

#[tokio::test]
async fn who_gets_wrong_bytes_says_so_and_they_are_read_again() {
    let mut nodes = Nodes::three().await;
    let song = song(25);
    let three = three_with(&mut nodes, &song).await;
    flip(&three[0].file(id_of(&song)));
    assert_ne!(three[0].fetch(id_of(&song), 0, 0).await.expect("bytes"), song, "nobody knows yet");
    three[0].doubt(id_of(&song)).await;
    is_mended(&three[0], &song, 1).await;
}

#[tokio::test]
async fn a_peer_that_gets_wrong_bytes_asks_another_and_tells() {
    let mut nodes = Nodes::three().await;
    let (one, two) = (nodes.start(1).await, nodes.start(2).await);
    nodes.close(3);
    let song = song(26);
    let track = one.send(&song, 0, usize::MAX).await.expect("taken");
    two.until_complete(id_of(&song)).await;
    flip(&one.file(id_of(&song)));

    let three = nodes.start(3).await;
    three.blobs.want_all(&track);
    three.until_complete(id_of(&song)).await;
    assert_eq!(fs::read(three.file(id_of(&song))).expect("a file"), song);
    is_mended(&one, &song, 1).await;
}

#[tokio::test]
async fn doubting_costs_no_more_than_reading_at_the_same_pace() {
    let mut nodes = Nodes::three().await;
    // After its first chunk a reader waits for days.
    nodes.pace = Pace { bytes_per_s: 1, pause: Duration::from_secs(3600) };
    let song = song(27);
    let three = three_with(&mut nodes, &song).await;
    for _ in 0..200 {
        three[0].doubt(id_of(&song)).await;
        three[0].doubt(id_of(b"unknown")).await;
    }
    three[0].until("jam_songs_scrubbed_bytes_total", 256 << 10).await;
    for _ in 0..200 {
        three[0].doubt(id_of(&song)).await;
    }
    assert_eq!(three[0].figure("jam_songs_scrubbed_bytes_total"), 256 << 10);
}

#[tokio::test]
async fn a_full_disk_puts_a_repair_off() {
    let mut nodes = Nodes::three().await;
    nodes.pace = restless();
    let (disk, world) = Cramped::new();
    let three = [nodes.start(1).await, nodes.start_in(2, world).await, nodes.start(3).await];
    let song = song(28);
    let id = id_of(&song);
    three[0].send(&song, 0, usize::MAX).await.expect("taken");
    three[1].until_complete(id).await;

    disk.fill(true);
    flip(&three[1].file(id));
    three[1].until("jam_songs_waiting_for_repair", 1).await;
    let aside = three[1].data.path().join("uploads").join(format!("{id}.aside"));
    while aside.exists() {
        tokio::task::yield_now().await;
    }
    assert!(!three[1].blobs.holds_every([&id]), "it does not count");
    assert_eq!(three[1].fetch(id, 0, 0).await.expect("from a peer"), song);
    assert_eq!(three[1].figure("jam_songs_repaired_total"), 0);

    disk.fill(false);
    is_mended(&three[1], &song, 1).await;
}

#[tokio::test]
async fn a_full_disk_keeps_a_damaged_copy_that_may_be_the_only_one() {
    let mut nodes = Nodes::three().await;
    let (disk, world) = Cramped::new();
    let (one, two) = (nodes.start(1).await, nodes.start_in(2, world).await);
    nodes.close(3);
    let song = song(29);
    let id = id_of(&song);
    one.send(&song, 0, usize::MAX).await.expect("taken");
    two.until_complete(id).await;

    // Both copies are damaged, and the first node does not know it yet.
    disk.fill(true);
    flip(&one.file(id));
    flip(&two.file(id));
    two.doubt(id).await;
    two.until("jam_songs_waiting_for_repair", 1).await;
    one.until("jam_songs_damaged_total", 1).await;
    let aside = two.data.path().join("uploads").join(format!("{id}.aside"));
    assert!(aside.exists(), "nobody has given the right bytes");
    // It was read wrong: read once more, it is right.
    fs::write(aside, &song).expect("writes");
    two.until_complete(id).await;
    is_mended(&one, &song, 1).await;
}
