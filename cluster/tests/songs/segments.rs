//! Songs in segments: cut by each node for itself, kept in packs that may go bad, and given by any.

use std::fs;

use jam_media::Decoder;
use jam_world::World;
use tonic::Code;

use crate::cramped::Cramped;
use crate::trio::{Nodes, id_of, song};

/// What the song sounds like in one piece.
fn samples(song: &[u8]) -> Vec<f32> {
    let source = jam_media::source(std::io::Cursor::new(song.to_vec()), song.len() as u64);
    let frames = 4 * 44_100;
    let mut decoder = Decoder::open(source, frames, 44_100).expect("a song");
    let mut samples = vec![0.0; frames as usize * 2];
    assert_eq!(decoder.read(&mut samples) as u64, frames);
    samples
}

#[tokio::test]
async fn every_node_cuts_the_same_segments() {
    let mut nodes = Nodes::three().await;
    let three = nodes.start_all().await;
    let song = song(51);
    let id = id_of(&song);
    let track = three[0].send(&song, 0, usize::MAX).await.expect("taken");
    let names: Vec<&str> = track.derived.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["waveform"]);
    // It was cut while it was taken, and nowhere else.
    assert!(three[0].data.path().join("packs").join(id.to_string()).exists());
    let first = three[0].manifest(id).await.expect("a manifest");
    for node in &three {
        node.until_complete(id).await;
        assert_eq!(node.manifest(id).await.expect("a manifest"), first);
        assert!(node.play(id).await.expect("whole") == samples(&song));
    }
    let info = &first.segments()[0];
    let whole = three[1].segment(id, 0, &info.hash, 0).await.expect("bytes");
    let rest = three[1].segment(id, 0, &info.hash, 1000).await.expect("bytes");
    assert!(whole[1000..] == rest);
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name() {
    let mut nodes = Nodes::three().await;
    let three = nodes.start_all().await;
    let song = song(52);
    let id = id_of(&song);
    let refusal = three[0].manifest(id).await.expect_err("not there");
    assert_eq!(refusal.code(), Code::NotFound);
    three[0].send(&song, 0, usize::MAX).await.expect("taken");
    let info = three[0].manifest(id).await.expect("a manifest").segments()[0];
    let jam_error = |status: tonic::Status| {
        let code = status.metadata().get("jam-error").expect("a code");
        code.to_str().expect("ASCII").to_owned()
    };
    let other = three[0].segment(id, 0, &[7; 32], 0).await.expect_err("another hash");
    assert_eq!(jam_error(other), "manifest_changed");
    let beyond = three[0].segment(id, 99, &info.hash, 0).await.expect_err("no such segment");
    assert_eq!(jam_error(beyond), "invalid");
    let beyond = three[0].segment(id, 0, &info.hash, u32::MAX).await.expect_err("too far");
    assert_eq!(jam_error(beyond), "invalid");
}

#[tokio::test]
async fn a_pack_that_goes_bad_is_made_again() {
    let mut nodes = Nodes::three().await;
    let mut three = nodes.start_all().await;
    let song = song(53);
    let id = id_of(&song);
    three[0].send(&song, 0, usize::MAX).await.expect("taken");
    let pack = three[0].data.path().join("packs").join(id.to_string());
    let good = fs::read(&pack).expect("a pack");
    type Spoil = fn(Vec<u8>) -> Vec<u8>;
    let flip: Spoil = |mut bytes| {
        bytes[5000] ^= 4;
        bytes
    };
    let flip_list: Spoil = |mut bytes| {
        let at = bytes.len() - 60;
        bytes[at] ^= 1;
        bytes
    };
    let cut: Spoil = |bytes| bytes[..bytes.len() / 2].to_vec();
    let empty: Spoil = |_| Vec::new();
    for spoil in [flip, flip_list, cut, empty] {
        fs::write(&pack, spoil(good.clone())).expect("written");
        nodes.restart(1, &mut three[0]).await;
        assert!(three[0].play(id).await.expect("whole") == samples(&song));
        assert!(fs::read(&pack).expect("a pack") == good);
    }
    fs::remove_file(&pack).expect("removed");
    nodes.restart(1, &mut three[0]).await;
    assert!(three[0].play(id).await.expect("whole") == samples(&song));
}

#[tokio::test]
async fn nothing_is_cut_from_a_rotten_original() {
    let mut nodes = Nodes::three().await;
    let mut three = nodes.start_all().await;
    let song = song(54);
    let id = id_of(&song);
    three[0].send(&song, 0, usize::MAX).await.expect("taken");
    three[1].until_complete(id).await;
    let mut rotten = song.clone();
    rotten[100_000] ^= 1;
    fs::write(three[0].file(id), rotten).expect("written");
    fs::remove_file(three[0].data.path().join("packs").join(id.to_string())).expect("removed");
    nodes.restart(1, &mut three[0]).await;
    // It either says that it can't, or the song was repaired by then.
    loop {
        match three[0].play(id).await {
            Ok(heard) => break assert!(heard == samples(&song)),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
    }
    assert!(fs::read(three[0].file(id)).expect("a file") == song);
}

#[tokio::test]
async fn a_full_disk_has_songs_cut_when_they_are_asked_for() {
    let mut nodes = Nodes::three().await;
    let (disk, world) = Cramped::new();
    let first = nodes.start_in(1, world).await;
    let _second = nodes.start_in(2, World::real()).await;
    let song = song(55);
    let id = id_of(&song);
    first.send(&song, 0, usize::MAX).await.expect("taken");
    fs::remove_file(first.data.path().join("packs").join(id.to_string())).expect("removed");
    disk.fill(true);
    assert!(first.play(id).await.expect("whole") == samples(&song));
    assert_eq!(fs::read_dir(first.data.path().join("packs")).expect("a folder").count(), 0);
}
