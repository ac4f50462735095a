//! Songs that every node has lost: the leader has the log mark them, so that no room waits for them and new nodes may vote
//! without them.

use std::sync::Arc;
use std::time::Duration;

use jam_proto::ids::TrackId;
use jam_proto::level::FeatureLevel;
use jam_proto::shard::{Outcome, Shard};
use jam_proto::wire::log::v1::MarkLost;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::{LostSong, Track};
use tokio::time::sleep;

use crate::blobs::Blobs;
use crate::refusal::Refusal;
use crate::shard::Group;

/// Between two looks for songs that are lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const MARK_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs for as long as the node does. Only a leader with a live lease proposes, and only what all other nodes said twice
/// that they do not have: see [`Blobs::surely_lost`].
pub async fn mark_lost_songs(group: Group, blobs: Arc<Blobs>) {
    loop {
        sleep(LOOK_EVERY).await;
        if !group.standing().leads_with_lease || group.read(Shard::level) < FeatureLevel::GUARDED {
            continue;
        }
        let lost = blobs.surely_lost();
        let is_new = |shard: &Shard, id: &TrackId| shard.track(id).is_some() && !shard.is_lost(id);
        let lost: Vec<_> =
            group.read(|shard| lost.into_iter().filter(|id| is_new(shard, id)).collect());
        for id in lost {
            match mark(&group, &id).await {
                Ok(Outcome::Lost) => tracing::error!(
                    song = %id,
                    "no node has this song any more: it is marked as lost, and heals when somebody adds the file again"
                ),
                Ok(_) => {}
                Err(error) => tracing::warn!(song = %id, %error, "could not mark a song as lost"),
            }
            // If this is not known to have failed, somebody may have added the file again by the next look.
            blobs.ask_again(&id);
        }
    }
}

/// As an operator wants it, whoever does not answer.
///
/// # Errors
/// If there is no such song, this node has it, or the feature level does not know of lost songs.
pub async fn mark_for_operator(group: &Group, blobs: &Blobs, id: &TrackId) -> Result<(), Refusal> {
    let (level, is_known) = group.read(|shard| (shard.level(), shard.track(id).is_some()));
    if level < FeatureLevel::GUARDED {
        let needed = FeatureLevel::GUARDED;
        return Err(Refusal::Unavailable(format!(
            "songs can be marked as lost from feature level {needed} on, and level {level} is in force; upgrade all the nodes"
        )));
    }
    if !is_known {
        return Err(Refusal::Invalid(format!("the cluster has no song {id}")));
    }
    if blobs.holds_every([id]) {
        return Err(Refusal::Invalid(format!(
            "the leader has song {id} whole, so it is not lost; the other nodes fetch it from there"
        )));
    }
    mark(group, id).await.map(drop)
}

async fn mark(group: &Group, id: &TrackId) -> Result<Outcome, Refusal> {
    let op = Op::MarkLost(MarkLost { track: id.to_wire() });
    Ok(group.propose(op, MARK_TIMEOUT).await?)
}

/// The songs that are lost, and those that may be, as the leader knows them.
pub fn list(group: &Group, blobs: &Blobs) -> Vec<LostSong> {
    let (missing, gone) = (blobs.missing(), blobs.lost());
    group.read(|shard| {
        let state = |id: &TrackId| {
            if shard.is_lost(id) {
                "lost: add the file again"
            } else if gone.contains(id) {
                "every other node says that it does not have it"
            } else {
                "the leader does not have it yet"
            }
        };
        let mut ids: Vec<TrackId> = shard.lost().chain(missing).collect();
        ids.sort_unstable();
        ids.dedup();
        let tracks = ids.iter().filter_map(|id| shard.track(id).map(|track| (id, track)));
        let song = |(id, track): (&TrackId, &Track)| LostSong {
            id: id.to_wire(),
            title: track.title.clone(),
            artist: track.artist.clone(),
            marked: shard.is_lost(id),
            state: state(id).to_owned(),
        };
        tracks.map(song).collect()
    })
}
