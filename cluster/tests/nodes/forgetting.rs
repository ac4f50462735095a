//! Songs that no room needs, on real nodes.

use bytes::Bytes;
use futures_util::stream;
use jam_proto::command::Command;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1::songs_client::SongsClient;
use jam_proto::wire::v1::{HaveRequest, UploadChunk, UploadStart};

use crate::cluster::{Cluster, Session, create, wait};

/// A second of a saw tooth, 8 kHz mono.
pub fn song(step: u32) -> Vec<u8> {
    let mut wav =
        b"RIFF\xa4\x3e\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x80\x3e\0\0"
            .to_vec();
    wav.extend((0..8000).flat_map(|n| ((n * step) as u16).to_le_bytes()));
    wav
}

pub async fn add(cluster: &Cluster, node: usize, song: Vec<u8>) -> TrackId {
    let id = TrackId(*blake3::hash(&song).as_bytes());
    let start = UploadStart {
        id: id.to_wire(),
        bytes: song.len() as u64,
        offset: 0,
        file_name: "A Song.wav".to_owned(),
    };
    let data = Bytes::from(song);
    wait("an upload", async || {
        let messages = [
            UploadChunk { start: Some(start.clone()), data: Bytes::new() },
            UploadChunk { start: None, data: data.clone() },
        ];
        SongsClient::new(cluster.channel(node)).upload(stream::iter(messages)).await.ok()
    })
    .await;
    id
}

/// Whether a node knows the song as one of the cluster's.
async fn knows(cluster: &Cluster, node: usize, id: TrackId) -> Option<bool> {
    let request = HaveRequest { id: id.to_wire() };
    let reply = SongsClient::new(cluster.channel(node)).have(request).await.ok()?;
    Some(reply.into_inner().track.is_some())
}

#[tokio::test]
async fn a_song_that_no_room_needs_is_forgotten_by_every_node_and_can_be_added_again() {
    let mut cluster = Cluster::start(3, &["--forget-after", "2s"]).await;
    let mut session = Session::open(&cluster, 1, 1).await;
    let room = create(&cluster, &mut session, 1).await;
    let queued = add(&cluster, 1, song(101)).await;
    let reply =
        session.surely(&cluster, &room, Command::Enqueue { track: queued, next: false }).await;
    assert_eq!(reply.rejection, None);

    for step in [103, 107] {
        let node = cluster.up()[0];
        let unused = add(&cluster, node, song(step)).await;
        wait("a song that is forgotten everywhere", async || {
            for node in cluster.up() {
                if knows(&cluster, node, unused).await != Some(false) {
                    return None;
                }
            }
            Some(())
        })
        .await;
        add(&cluster, node, song(step)).await;
        // The next one is forgotten by the next leader.
        if cluster.up().len() == 3 {
            let (leader, _) = cluster.leader().await;
            cluster.kill(leader);
        }
    }
    for node in cluster.up() {
        assert_eq!(knows(&cluster, node, queued).await, Some(true), "it is in a queue");
    }
}
