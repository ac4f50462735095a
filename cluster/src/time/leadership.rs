//! Opens each leadership of this node with a `ClockEpoch`. Before that is applied nothing is stamped:
//! from it, everybody knows whose time they live by, and whether it was continued.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::shard::Shard;
use jam_proto::sync::readings::Reading;
use jam_proto::wire::log::v1::log_entry::Op;
use tokio::time::{Instant, sleep};

use super::voters::Voters;
use crate::presence::Presence;
use crate::shard::ProposeError;

/// For one attempt. The next one starts from what is true then.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts: while a leader can't reach a majority, or has just lost its place.
const RETRY_EVERY: Duration = Duration::from_millis(5);

/// Runs for as long as the node does.
pub async fn open_leaderships(voters: Voters, presence: Arc<Presence>) {
    let Voters { group, clock, .. } = &voters;
    let mut standings = group.standing_changes();
    let mut broken = clock.broken();
    loop {
        let standing = standings.borrow_and_update().clone();
        broken.mark_unchanged();
        let leads = standing.leader == Some(standing.id);
        if !leads {
            clock.step_down();
        } else if clock.leads_in() != Some(standing.term)
            && let Err(error) = open(&voters, &presence, standing.term, standing.id).await
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
    voters: &Voters,
    presence: &Presence,
    term: u64,
    id: u64,
) -> Result<(), ProposeError> {
    let Voters { group, clock, .. } = voters;
    // What the leaders before committed must be known: the last stamp, and the epoch in force.
    group.read_barrier(ATTEMPT_TIMEOUT).await?;
    let shard = group.read(Shard::clone);
    let (succession, last_stamp) = (shard.succession(), shard.last_stamp());
    let committed = succession.epoch;
    // Before the first epoch there is nothing to continue.
    let others = match committed == 0 || clock.continues(succession, last_stamp) {
        true => Vec::new(),
        false => others_time(voters, term, id).await?,
    };
    clock.notices_sleep();
    let opened = clock.open(succession, last_stamp, (term, id), &others, clock.raw_ns());
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
    tracing::debug!(
        term,
        epoch = opened.epoch,
        continued,
        bound_ns = opened.error_bound_ns,
        drift_ppb = opened.drift_bound_ppb,
        "the leadership is open"
    );
    Ok(())
}

/// What time the voters have. It takes a while, in which another node may have been elected.
async fn others_time(voters: &Voters, term: u64, id: u64) -> Result<Vec<Reading>, ProposeError> {
    tracing::info!(term, "this node's time can't be continued: asking the voters for theirs");
    let watch = voters.clock.watch_for_sleep();
    let others = voters.read().await;
    if watch.has_slept() {
        // The first answers are from before the sleep.
        return Err(ProposeError::NotLeader { leader: None });
    }
    let standing = voters.group.standing();
    if (standing.term, standing.leader) != (term, Some(id)) {
        return Err(ProposeError::NotLeader { leader: None });
    }
    Ok(others)
}
