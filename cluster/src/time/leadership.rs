//! Opens each leadership of this node with a `ClockEpoch`. Before that is applied nothing is stamped:
//! from it, everybody knows whose time they live by, and whether it was continued.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::shard::Shard;
use jam_proto::wire::log::v1::log_entry::Op;
use tokio::time::{Instant, sleep};

use super::clock::NodeClock;
use crate::presence::Presence;
use crate::shard::{Group, ProposeError};

/// For one attempt. The next one starts from what is true then.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts: while a leader can't reach a majority, or has just lost its place.
const RETRY_EVERY: Duration = Duration::from_millis(5);

/// Runs for as long as the node does.
pub async fn open_leaderships(group: Group, clock: Arc<NodeClock>, presence: Arc<Presence>) {
    let mut standings = group.standing_changes();
    let mut broken = clock.broken();
    let mut followed = None;
    loop {
        let standing = standings.borrow_and_update().clone();
        broken.mark_unchanged();
        if followed != standing.leader {
            followed = standing.leader;
            match standing.leader {
                Some(leader) if leader == standing.id => {}
                Some(leader) => tracing::info!(leader, term = standing.term, "following"),
                None => tracing::warn!(term = standing.term, "no leader is known"),
            }
        }
        let leads = standing.leader == Some(standing.id);
        if !leads {
            clock.step_down();
        } else if clock.leads_in() != Some(standing.term)
            && let Err(error) = open(&group, &clock, &presence, standing.term, standing.id).await
        {
            tracing::debug!(term = standing.term, %error, "could not open the leadership yet");
            clock.step_down();
            sleep(RETRY_EVERY).await;
            continue;
        }
        tokio::select! {
            changed = standings.changed() => if changed.is_err() { return },
            _ = broken.changed() => {}
        }
    }
}

async fn open(
    group: &Group,
    clock: &NodeClock,
    presence: &Presence,
    term: u64,
    id: u64,
) -> Result<(), ProposeError> {
    // What the leaders before committed must be known: the last stamp, and the epoch in force.
    group.read_barrier(ATTEMPT_TIMEOUT).await?;
    let shard = group.read(Shard::clone);
    clock.notices_sleep();
    let committed = shard.epoch().epoch;
    let opened = clock.open(shard.succession(), shard.last_stamp(), term, id, clock.raw_ns());
    group.propose_epoch(Op::ClockEpoch(opened), ATTEMPT_TIMEOUT).await?;
    let succession = group.read(|shard| *shard.succession());
    if (succession.term, succession.epoch) != (term, opened.epoch) {
        // Another one leads already.
        return Err(ProposeError::NotLeader { leader: None });
    }
    clock.lead(&succession);
    // Commands are taken from here on: the look at all the rooms holds up none.
    let playing = shard.rooms().filter(|(_, room)| room.is_playing());
    presence.begin_leading(playing.map(|(code, _)| code.clone()).collect(), Instant::now());
    let continued = opened.epoch == committed;
    tracing::info!(
        term,
        epoch = opened.epoch,
        continued,
        bound_ns = opened.error_bound_ns,
        drift_ppb = opened.drift_bound_ppb,
        "leading"
    );
    Ok(())
}
