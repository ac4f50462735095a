//! Fetches songs from nodes, and looks whether they are the right ones.

use std::collections::BTreeSet;
use std::time::Duration;

use jam_proto::wire::v1::FetchRequest;
use jam_proto::wire::v1::songs_client::SongsClient;
use jam_world::World;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use crate::history::{Answer, Hex, History, Request, What};

/// For one song.
const PATIENCE: Duration = Duration::from_secs(10);

/// Songs that are kept, by what clients were told.
pub fn kept(history: &History) -> BTreeSet<Vec<u8>> {
    let mut asked = std::collections::BTreeMap::new();
    let mut kept = BTreeSet::new();
    for record in &history.records {
        match &record.what {
            What::Invoked { op, request: Request::Upload { track }, .. } => {
                asked.insert(*op, track.0.clone());
            }
            What::Answered { op, answer: Answer::Stored } => kept.extend(asked.remove(op)),
            _ => {}
        }
    }
    kept
}

/// Fetches all of them from a node; tells of each.
pub async fn fetch_all(node: u64, address: &str, tracks: &BTreeSet<Vec<u8>>) -> Vec<What> {
    let uri = format!("http://{address}");
    let endpoint = Endpoint::from_shared(uri).expect("our own addresses are good");
    let channel = World::real().channel(endpoint);
    let mut told = Vec::new();
    for track in tracks {
        let fetched = timeout(PATIENCE, fetch(channel.clone(), track)).await;
        let wrong = match fetched {
            Err(_) => Some(format!("not within {} s", PATIENCE.as_secs())),
            Ok(Err(status)) => Some(status.message().to_owned()),
            Ok(Ok(hash)) if hash.as_bytes().as_slice() != track.as_slice() => {
                Some("its bytes are others".to_owned())
            }
            Ok(Ok(_)) => None,
        };
        told.push(What::Fetched { node, track: Hex(track.clone()), wrong });
    }
    told
}

async fn fetch(channel: Channel, track: &[u8]) -> Result<blake3::Hash, tonic::Status> {
    let request = FetchRequest { id: track.to_vec(), offset: 0, length: 0 };
    let mut stream = SongsClient::new(channel).fetch(request).await?.into_inner();
    let mut hasher = blake3::Hasher::new();
    while let Some(chunk) = stream.message().await? {
        hasher.update(&chunk.data);
    }
    Ok(hasher.finalize())
}
