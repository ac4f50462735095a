//! Who else is here: asked of the leader now and then, since only it knows, and nothing depends on it.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::ids::RoomCode;
use jam_proto::wire::v1 as wire;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connection::Door;
use crate::nodes::Nodes;

const PAUSE: Duration = Duration::from_secs(5);
/// The first answer shall find the own report there.
const FIRST_PAUSE: Duration = Duration::from_millis(1500);
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Asks for as long as `tasks` live.
pub(super) fn watch(
    nodes: Arc<Nodes>,
    room: RoomCode,
    tasks: &mut JoinSet<()>,
) -> watch::Receiver<Vec<wire::Listener>> {
    let (here, receiver) = watch::channel(Vec::new());
    tasks.spawn(async move {
        let mut door: Option<Door> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(pause).await;
            pause = PAUSE;
            if door.is_none() {
                door = nodes.dial_next().await.ok();
            }
            let Some(open) = &door else { continue };
            let request = wire::StatusRequest { room: room.as_str().to_owned() };
            match timeout(ANSWER_MAX, async { open.rooms().status(request).await }).await {
                Ok(Ok(reply)) => {
                    here.send_replace(reply.into_inner().listeners);
                }
                // The old list is better than none: who was here probably still is.
                _ => door = None,
            }
        }
    });
    receiver
}
