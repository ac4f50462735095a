//! A watcher that takes nothing of what comes.

use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::{ListRoomsRequest, WatchRequest};
use jam_world::{Detours, World};
use tonic::transport::Endpoint;

/// Watches a room of some node until it is called off.
pub async fn watch(detours: Detours, addresses: Vec<String>, pick: u64) {
    let world = World::real().by(detours);
    let address = &addresses[pick as usize % addresses.len()];
    let uri = format!("http://{address}");
    let channel = world.channel(Endpoint::from_shared(uri).expect("our own addresses are good"));
    let mut rooms = RoomsClient::new(channel);
    let Ok(listed) = rooms.list_rooms(ListRoomsRequest::default()).await else { return };
    let mut streams = Vec::new();
    for room in listed.into_inner().rooms {
        let request = WatchRequest { cluster_id: Vec::new(), room: room.code, after_revision: 0 };
        streams.extend(rooms.watch(request).await);
    }
    // The streams are open, and nobody reads them.
    std::future::pending::<()>().await;
    drop(streams);
}
