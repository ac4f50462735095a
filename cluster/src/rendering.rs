//! Makes renditions: songs in Opus at lower bitrates, for poor lines. The leader makes them, one song at a time, on a
//! thread of the lowest priority; a majority holds them before the log says so, and each other node fetches them like songs.
//!
//! What every node has lost is made again. It may turn out as other bytes, so the log is told once more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jam_media::Refusal;
use jam_proto::ids::TrackId;
use jam_proto::limits::DERIVED_MAX;
use jam_proto::shard::Outcome;
use jam_proto::wire::log::v1::SetDerived;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::v1::{Derived, Track};
use jam_world::{Cursor, File, World};
use tokio::time::{Instant, sleep};

use crate::blobs::{Blobs, SongError, is_song};
use crate::draft::Draft;
use crate::segments::{is_rendition, pack_tail, rendition_name};
use crate::shard::Group;

/// Between two looks for a song to render.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a song could not be rendered: it is not here yet, the disk is full, no majority takes it.
const RETRY_AFTER: Duration = Duration::from_secs(20);
/// After the log refused what was made of a song. Another build may lead by then.
const REFUSED_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A rung that is not clearly smaller than the original is of no use: parts of a hundred.
const WORTH_PERCENT: u64 = 85;

/// Renders songs.
pub struct Rendering {
    /// The log.
    pub group: Group,
    /// The songs.
    pub blobs: Arc<Blobs>,
    /// The machine.
    pub world: World,
    /// The bitrates, in kbit/s.
    pub ladder: Vec<u32>,
}

/// Why a song was not rendered.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The song itself can't be rendered.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("its copy here is damaged; it is repaired first")]
    Damaged,
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Songs(#[from] SongError),
    #[error("the log did not take them: {0}")]
    Log(String),
    /// It would say so again.
    #[error("the log refuses what was made of it, which is a bug; the song stays as it is")]
    NotTaken,
}

impl Rendering {
    /// Runs for as long as the node does. Only a leader with a live lease renders; which songs are still to be rendered is in
    /// the replicated state, so the next leader goes on where this one was.
    pub async fn run(self) {
        let mut passed_over: Vec<(TrackId, Instant)> = Vec::new();
        loop {
            sleep(LOOK_EVERY).await;
            if !self.group.standing().leads_with_lease {
                continue;
            }
            passed_over.retain(|(_, until)| *until > Instant::now());
            let Some(track) = self.next(&passed_over) else { continue };
            let Ok(id) = TrackId::from_wire(&track.id) else { continue };
            let began = Instant::now();
            match self.render(id, track).await {
                Ok(count) => {
                    let took_ms = began.elapsed().as_millis() as u64;
                    tracing::info!(song = %id, renditions = count, took_ms, "rendered a song");
                }
                Err(error) => {
                    let again_in = match error {
                        Failure::NotTaken => REFUSED_RETRY_AFTER,
                        _ => RETRY_AFTER,
                    };
                    tracing::warn!(song = %id, %error, ?again_in, "could not render a song");
                    passed_over.push((id, Instant::now() + again_in));
                }
            }
        }
    }

    /// A song that is still to be rendered, or of which every node has lost what was made. A song that is lost itself can't
    /// be rendered.
    fn next(&self, passed_over: &[(TrackId, Instant)]) -> Option<Track> {
        let lost = self.blobs.lost();
        self.group.read(|shard| {
            let is_due = |id: &TrackId| {
                !shard.is_lost(id) && passed_over.iter().all(|(passed, _)| passed != id)
            };
            let renders = !self.ladder.is_empty();
            let unrendered = shard.unrendered().filter(|_| renders).find(is_due);
            let again = || lost.iter().find_map(|blob| shard.made_of(blob).filter(is_due));
            unrendered.or_else(again).and_then(|id| shard.track(&id).cloned())
        })
    }

    /// How many renditions there are now.
    async fn render(&self, id: TrackId, track: Track) -> Result<usize, Failure> {
        // What was found in the song stays as it is, and what was rendered too where this node renders nothing.
        let lost = self.blobs.lost();
        let stays = |one: &Derived| {
            let is_here = TrackId::from_wire(&one.id).is_ok_and(|id| !lost.contains(&id));
            !is_rendition(one) || (self.ladder.is_empty() && is_here)
        };
        let mut derived = track.derived.clone();
        derived.retain(stays);
        let found = self.found_again(id, &track).await?;
        derived.retain(|one| found.iter().all(|again| again.name != one.name));
        derived.extend(found);
        let kbps = fitting(self.worth_it(&track), derived.len());
        let made = match kbps.is_empty() {
            true => Vec::new(),
            false => match self.make(id, track, kbps).await {
                Err(Failure::Refused(why)) if !matches!(why, Refusal::Unreadable(_)) => {
                    tracing::warn!(song = %id, %why, "a song can't be rendered; it stays as it is");
                    Vec::new()
                }
                made => made?,
            },
        };
        self.blobs.spread(&made).await?;
        let count = made.len();
        derived.extend(made);
        let op = Op::SetDerived(SetDerived { track: id.to_wire(), derived });
        match self.group.propose(op, PROPOSE_TIMEOUT).await {
            Ok(Outcome::Track(_)) => Ok(count),
            Ok(Outcome::Nothing) if self.group.read(|shard| shard.track(&id).is_some()) => {
                Err(Failure::NotTaken)
            }
            // The song was forgotten meanwhile.
            Ok(Outcome::Nothing) => Ok(count),
            Ok(other) => Err(Failure::Log(format!("{other:?}"))),
            Err(error) => Err(Failure::Log(error.to_string())),
        }
    }

    /// The rungs that are clearly smaller than the original.
    fn worth_it(&self, track: &Track) -> Vec<u32> {
        let bits = u128::from(track.bytes) * 8 * u128::from(track.sample_rate);
        let original = u64::try_from(bits / u128::from(track.frames.max(1))).unwrap_or(u64::MAX);
        let worth = |kbps: &u32| u64::from(*kbps) * 1000 * 100 <= original * WORTH_PERCENT;
        self.ladder.iter().copied().filter(worth).collect()
    }

    /// The cover and the waveform, if every node has lost them: from the original, as at first.
    async fn found_again(&self, id: TrackId, track: &Track) -> Result<Vec<Derived>, Failure> {
        let lost = self.blobs.lost();
        let is_lost = |one: &Derived| {
            let id = TrackId::from_wire(&one.id);
            !is_rendition(one) && id.is_ok_and(|id| lost.contains(&id))
        };
        if !track.derived.iter().any(is_lost) {
            return Ok(Vec::new());
        }
        let found = self.blobs.find_again(id, track).await?;
        self.blobs.spread(&found).await?;
        Ok(found)
    }

    async fn make(
        &self,
        id: TrackId,
        track: Track,
        kbps: Vec<u32>,
    ) -> Result<Vec<Derived>, Failure> {
        let file = self.blobs.file(&id).await.ok_or(SongError::NotHere(id))?;
        // Who needs the room more goes first.
        let _promise = self.blobs.promise(track.bytes)?;
        let (blobs, ladder) = (self.blobs.clone(), kbps.clone());
        let encode = move || match encode(&blobs, file.clone(), &track, &ladder) {
            // Unless that is not what was taken.
            Err(Failure::Refused(_)) if !is_song(&file, &id)? => Err(Failure::Damaged),
            encoded => encoded,
        };
        let made = self.world.heavy(encode).await?.inspect_err(|error| {
            if matches!(error, Failure::Damaged) {
                self.blobs.doubt(&id);
            }
        });
        let mut kept = Vec::new();
        for (draft, kbps) in made?.into_iter().zip(kbps) {
            kept.push(self.blobs.keep(rendition_name(kbps), draft).await?);
        }
        Ok(kept)
    }
}

/// As many rungs as a track has room for besides what it keeps, the lower ones first.
fn fitting(mut kbps: Vec<u32>, kept: usize) -> Vec<u32> {
    kbps.truncate(DERIVED_MAX.saturating_sub(kept));
    kbps
}

fn encode(
    blobs: &Blobs,
    file: Arc<dyn File>,
    track: &Track,
    kbps: &[u32],
) -> Result<Vec<Draft>, Failure> {
    let mut drafts = kbps.iter().map(|_| blobs.draft()).collect::<io::Result<Vec<_>>>()?;
    let source = jam_media::source(Cursor::new(file), track.bytes);
    let take = |which: usize, _: &_, bytes: Vec<u8>| Ok::<_, Failure>(drafts[which].write(&bytes)?);
    let manifests = jam_media::render(source, track.frames, track.sample_rate, kbps, take)?;
    for (draft, manifest) in drafts.iter_mut().zip(&manifests) {
        draft.write(&pack_tail(manifest))?;
    }
    Ok(drafts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_made_than_a_track_has_room_for() {
        let ladder: Vec<u32> = (6..30).collect();
        assert_eq!(fitting(ladder.clone(), 2).len(), DERIVED_MAX - 2);
        assert_eq!(fitting(vec![24, 96], 2), [24, 96]);
        assert!(fitting(ladder, DERIVED_MAX + 1).is_empty());
    }
}
