//! Songs that no room needs any more: after a while the leader has the log forget them, and each node removes their bytes
//! once it has applied that.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jam_proto::ids::TrackId;
use jam_proto::shard::Outcome;
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::log::v1::ForgetTrack;
use jam_proto::wire::log::v1::log_entry::Op;
use tokio::time::{MissedTickBehavior, interval};

use crate::shard::Group;
use crate::time::clock::NodeClock;

const LOOK_EVERY: Duration = Duration::from_secs(10);
const FORGET_TIMEOUT: Duration = Duration::from_secs(2);
/// Songs that are forgotten at one look, so that a log full of it keeps nobody waiting.
const AT_ONCE: usize = 64;

/// Runs for as long as the node does. Only a leader with a live lease proposes; since when nobody needs a song is in the
/// replicated state, so the next leader goes on where this one was.
pub async fn forget_unused(group: Group, clock: Arc<NodeClock>, after: Duration) {
    let grace = Flicks::from_millis(i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
    let mut ticks = interval(LOOK_EVERY.min(after));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if clock.leads_in().is_none() || !group.standing().leads_with_lease {
            continue;
        }
        let now = clock.now();
        let (before, unused): (_, Vec<_>) = group.read(|shard| {
            let before = shard.aged(now) - grace;
            (before, shard.unused_before(before).take(AT_ONCE).collect())
        });
        join_all(unused.iter().map(|id| forget(&group, id, before))).await;
    }
}

/// If somebody needs the song by the time that this is applied, it stays.
async fn forget(group: &Group, id: &TrackId, before: SharedTime) {
    let op = Op::ForgetTrack(ForgetTrack { track: id.to_wire(), unused_before: before.0 });
    match group.propose(op, FORGET_TIMEOUT).await {
        Ok(Outcome::Forgotten) => tracing::info!(song = %id, "forgotten: no room needs it"),
        Ok(_) => tracing::debug!(song = %id, "somebody needs this song again; it stays"),
        Err(error) => tracing::debug!(song = %id, %error, "could not forget a song"),
    }
}
