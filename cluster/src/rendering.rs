//! Makes renditions: songs in Opus at lower bitrates, for poor lines. The leader makes them, one song at a time, on a
//! thread of the lowest priority; a majority holds them before the log says so, and each other node fetches them like songs.
//!
//! What every node has lost is made again. It may turn out as other bytes, so the log is told once more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jam_media::Refusal;
use jam_proto::ids::TrackId;
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
            let lost = self.blobs.lost();
            let next = self.group.read(|shard| {
                let is_due = |id: &TrackId| passed_over.iter().all(|(passed, _)| passed != id);
                let unrendered = shard.unrendered().find(|id| is_due(id));
                let again = || lost.iter().find_map(|blob| shard.made_of(blob).filter(is_due));
                unrendered.or_else(again).and_then(|id| shard.track(&id).cloned())
            });
            let Some(track) = next else { continue };
            let Ok(id) = TrackId::from_wire(&track.id) else { continue };
            let began = Instant::now();
            match self.render(id, track).await {
                Ok(count) => {
                    let took_ms = began.elapsed().as_millis() as u64;
                    tracing::info!(song = %id, renditions = count, took_ms, "rendered a song");
                }
                Err(error) => {
                    tracing::warn!(song = %id, %error, "could not render a song; trying again");
                    passed_over.push((id, Instant::now() + RETRY_AFTER));
                }
            }
        }
    }

    /// How many renditions there are now.
    async fn render(&self, id: TrackId, track: Track) -> Result<usize, Failure> {
        let kbps = self.worth_it(&track);
        // What was found in the song stays as it is.
        let mut derived = track.derived.clone();
        derived.retain(|one| !is_rendition(one));
        let found = self.found_again(id, &track).await?;
        derived.retain(|one| found.iter().all(|again| again.name != one.name));
        derived.extend(found);
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
            // Nothing: the song was forgotten meanwhile.
            Ok(Outcome::Track(_) | Outcome::Nothing) => Ok(count),
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
        self.blobs.check_room(track.bytes)?;
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
