//! Sending a song's bytes to the cluster: only what it lacks, going on where an earlier attempt ended.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use jam_proto::ids::TrackId;
use jam_proto::wire::v1 as wire;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::{Instant, sleep};

use crate::connection::{Backoff, Cluster};
use crate::error::Failure;
use crate::refusal::Refusal;

/// Bytes in one message. Small enough for a progress bar that moves on a slow line.
const CHUNK_BYTES: usize = 64 << 10;
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A song that the cluster holds, durably and on a majority.
pub struct Uploaded {
    /// What the cluster made of it.
    pub track: wire::Track,
    /// Bytes that went over the line for it; 0: the cluster had it.
    pub bytes_sent: u64,
    /// Milliseconds that are missing at its end; 0 also if the cluster had it.
    pub missing_ms: u64,
}

/// Brings one file to the cluster. Gives up when for `patience` no byte got through; what has arrived by then is
/// not sent again by the next run. `progress` hears how many bytes the cluster has.
pub async fn upload(
    cluster: &mut Cluster,
    path: &Path,
    id: TrackId,
    size: u64,
    patience: Duration,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> Result<Uploaded, Failure> {
    let progress: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(progress);
    let sent = Arc::new(AtomicU64::new(0));
    let mut backoff = Backoff::default();
    let mut give_up = Instant::now() + patience;
    loop {
        cluster.extend(patience);
        let have = cluster
            .ask("whether the cluster has the song", async |door, _| {
                door.songs().have(wire::HaveRequest { id: id.to_wire() }).await
            })
            .await?;
        if let Some(track) = have.track {
            progress(size);
            let bytes_sent = sent.load(Ordering::Relaxed);
            return Ok(Uploaded { track, bytes_sent, missing_ms: 0 });
        }
        let before = sent.load(Ordering::Relaxed);
        let offset = have.offset.min(size);
        let start = wire::UploadStart {
            id: id.to_wire(),
            bytes: size,
            offset,
            file_name: path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
        };
        let chunks = chunks(path, start, sent.clone(), progress.clone())
            .await
            .map_err(|error| Failure::local(format!("can't read {}", path.display()), error))?;
        // No time limit: the node decodes all of a long song before it answers. A node that is gone is noticed by the
        // connection's keep-alive.
        let last = match cluster.door().songs().upload(chunks).await {
            Ok(reply) => {
                let wire::UploadReply { track, missing_frames } = reply.into_inner();
                let track =
                    track.ok_or_else(|| crate::error::malformed("an upload without a track"))?;
                let missing_ms = in_ms(missing_frames, track.sample_rate);
                let bytes_sent = sent.load(Ordering::Relaxed);
                return Ok(Uploaded { track, bytes_sent, missing_ms });
            }
            Err(status) => match Refusal::of(&status) {
                Refusal::Final { code, message } => return Err(Failure::Refused { code, message }),
                Refusal::NoQuorum(message) if !cluster.is_majority_here().await => {
                    return Err(Failure::refused("no_quorum", message));
                }
                Refusal::NoQuorum(message)
                | Refusal::NoLeader(message)
                | Refusal::Elsewhere(message)
                | Refusal::Later { message, .. }
                | Refusal::Unknown(message) => message,
            },
        };
        if sent.load(Ordering::Relaxed) > before + CHUNK_BYTES as u64 * 16 {
            give_up = Instant::now() + patience;
            backoff.reset();
        }
        if Instant::now() >= give_up {
            return Err(Failure::refused(
                "upload_broken",
                format!(
                    "the upload broke off ({last}); run the same command again, it goes on from there"
                ),
            ));
        }
        sleep(backoff.next_pause(PAUSE_MAX)).await;
        // Whether the old node is still there shows in the next question.
        let _ = cluster.refind().await;
    }
}

/// At least 1, if there are any.
fn in_ms(frames: u64, sample_rate: u32) -> u64 {
    let ms = frames.saturating_mul(1000) / u64::from(sample_rate.max(1));
    ms.max(u64::from(frames > 0))
}

/// The messages of one attempt, read from the file as the line takes them.
async fn chunks(
    path: &Path,
    start: wire::UploadStart,
    sent: Arc<AtomicU64>,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
) -> std::io::Result<impl Stream<Item = wire::UploadChunk> + Send + 'static> {
    let mut file = File::open(path).await?;
    let at = start.offset;
    file.seek(SeekFrom::Start(at)).await?;
    progress(at);
    let state = (file, Some(start), at);
    Ok(futures_util::stream::unfold(state, move |(mut file, start, mut at)| {
        let (sent, progress) = (sent.clone(), progress.clone());
        async move {
            if start.is_some() {
                return Some((wire::UploadChunk { start, data: Bytes::new() }, (file, None, at)));
            }
            let mut data = vec![0; CHUNK_BYTES];
            // A file that can't be read on ends here, and the node says how much is missing.
            let count = file.read(&mut data).await.unwrap_or(0);
            if count == 0 {
                return None;
            }
            data.truncate(count);
            at += count as u64;
            sent.fetch_add(count as u64, Ordering::Relaxed);
            progress(at);
            Some((wire::UploadChunk { start: None, data: Bytes::from(data) }, (file, None, at)))
        }
    }))
}
