//! Nobody listens any more: after a while the leader pauses the room, so that people who come back
//! find their music where they left it.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::ids::RoomCode;
use jam_proto::wire::log::v1::PauseUnheard;
use jam_proto::wire::log::v1::log_entry::Op;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::about::ShortHash;
use crate::presence::Presence;
use crate::shard::Group;
use crate::time::clock::NodeClock;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const PAUSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs for as long as the node does. Only a leader that could open its leadership pauses: so a
/// majority is there, and its listeners had time to come over.
pub async fn pause_unheard(
    group: Group,
    presence: Arc<Presence>,
    clock: Arc<NodeClock>,
    unheard: Duration,
) {
    let mut ticks = interval(LOOK_EVERY.min(unheard));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        presence.drop_silent(Instant::now());
        if clock.leads_in().is_none() {
            continue;
        }
        for room in presence.unheard_for(unheard, Instant::now()) {
            pause(&group, &presence, &room).await;
        }
    }
}

async fn pause(group: &Group, presence: &Presence, room: &RoomCode) {
    let playing = group.read(|shard| {
        shard.room(room).filter(|room| room.is_playing()).map(|room| room.revision().0)
    });
    let Some(revision) = playing else { return presence.forget(room) };
    // If the room moved on meanwhile, or the leader did, the next look finds what is true then.
    let op = Op::PauseUnheard(PauseUnheard { room: room.as_str().to_owned(), revision });
    let proposed = group.propose(op, PAUSE_TIMEOUT).await;
    let room = ShortHash::of_room(room.as_str());
    match proposed {
        Ok(_) => tracing::info!(%room, "paused: nobody is listening"),
        Err(error) => tracing::debug!(%room, %error, "could not pause a room that nobody hears"),
    }
}
