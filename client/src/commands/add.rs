//! `jam add`: songs to the cluster, and into a room's queue.

use std::fs::File;
use std::path::Path;

use jam_proto::ids::TrackId;
use jam_proto::limits::SONG_BYTES_MAX;
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::command::Kind;
use serde_json::json;

use super::View;
use super::progress::{Progress, SongBar};
use crate::cli::{AddArgs, Options};
use crate::connection::Cluster;
use crate::error::Failure;
use crate::output::{Output, error_json};
use crate::session::Session;
use crate::songs::order::{Plan, Unread};
use crate::songs::upload::{Uploaded, upload};
use crate::{songs, text};

/// A file that the cluster holds and that waits to be queued.
struct Ready<'a> {
    /// Its place on the command line, which names its step.
    place: usize,
    path: &'a Path,
    id: TrackId,
    size: u64,
    uploaded: Uploaded,
}

pub(super) async fn add(options: &Options, args: &AddArgs, output: Output) -> Result<(), Failure> {
    let plan = Plan::of(&args.files)?;
    for path in &plan.skipped {
        output.remark(&format!("skipped {}: not a song", path.display()));
    }
    for Unread { folder, why } in &plan.unread {
        output.remark(&format!("skipped the folder {}: {why}", folder.display()));
    }
    let mut cluster = options.find().await?;
    // Whoever mistyped the room shall hear it before an album is uploaded.
    View::of(&mut cluster, &args.room).await?;
    let intent = format!("{} add next={} {:?}", args.room, args.next, args.files);
    let session = Session::claim(
        cluster.dialer().world(),
        &options.state_dir()?,
        cluster.id(),
        &options.user()?,
        &intent,
    )?;
    let progress = Progress::new(&plan.files, !output.is_json());
    let adding = Adding { options, args, output, cluster, session, progress, failed: Vec::new() };
    adding.run(&plan).await
}

struct Adding<'a> {
    options: &'a Options,
    args: &'a AddArgs,
    output: Output,
    cluster: Cluster,
    session: Session,
    progress: Progress,
    failed: Vec<Failure>,
}

impl Adding<'_> {
    async fn run(mut self, plan: &Plan) -> Result<(), Failure> {
        let total = plan.files.len();
        if let Err(failure) = self.add_all(plan).await {
            // What is left was not refused, it was not asked for: the command line stays unfinished, so that running it
            // again adds the rest and nothing twice.
            if matches!(failure, Failure::Refused { .. }) && total > 1 {
                self.output.remark("run the same command again to add the rest; what is queued already is not queued twice");
            }
            return Err(failure);
        }
        self.session.finish()?;
        match self.failed.pop() {
            None => Ok(()),
            Some(only) if total == 1 => Err(only),
            Some(_) => Err(Failure::Some { failed: self.failed.len() + 1, total }),
        }
    }

    async fn add_all(&mut self, plan: &Plan) -> Result<(), Failure> {
        let mut ready = Vec::new();
        let total = plan.files.len();
        for (place, path) in plan.files.iter().enumerate() {
            match self.bring(place, path).await {
                // Each goes right behind the current song, so the last one goes first; the uploads come before, lest
                // a song ends in between.
                Ok(song) if self.args.next => ready.push(song),
                Ok(song) => self.queue_or_note(song, total).await?,
                Err(failure) => self.note(path, failure, total)?,
            }
        }
        for song in ready.into_iter().rev() {
            self.queue_or_note(song, total).await?;
        }
        Ok(())
    }

    /// Hashes a file and uploads what the cluster lacks of it.
    async fn bring<'p>(&mut self, place: usize, path: &'p Path) -> Result<Ready<'p>, Failure> {
        let unreadable = |error| Failure::local(format!("can't read {}", path.display()), error);
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > SONG_BYTES_MAX {
            let limit = text::bytes(SONG_BYTES_MAX);
            return Err(Failure::refused(
                "limit",
                format!("{} is larger than {limit}, the limit for a song", path.display()),
            ));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bar = self.progress.song(place, &name, size);
        let sent = self.send(path, size, &bar).await;
        bar.end();
        let (id, uploaded) = sent?;
        Ok(Ready { place, path, id, size, uploaded })
    }

    async fn send(
        &mut self,
        path: &Path,
        size: u64,
        bar: &SongBar,
    ) -> Result<(TrackId, Uploaded), Failure> {
        let unreadable = |error| Failure::local(format!("can't read {}", path.display()), error);
        let owned = path.to_owned();
        let hashed = tokio::task::spawn_blocking(move || songs::hash(File::open(owned)?)).await;
        let (id, hashed_bytes) =
            hashed.map_err(std::io::Error::other).and_then(|hashed| hashed).map_err(unreadable)?;
        if hashed_bytes != size {
            return Err(Failure::refused(
                "changed",
                format!("{} changed while it was read; add it once it is whole", path.display()),
            ));
        }
        let (bar, patience) = (bar.clone(), self.options.deadline);
        let told = move |at| bar.sent(at);
        let uploaded = upload(&mut self.cluster, path, id, size, patience, told).await?;
        Ok((id, uploaded))
    }

    async fn queue_or_note(&mut self, song: Ready<'_>, total: usize) -> Result<(), Failure> {
        let path = song.path;
        match self.queue(song).await {
            Ok(()) => Ok(()),
            Err(failure) => self.note(path, failure, total),
        }
    }

    async fn queue(&mut self, mut song: Ready<'_>) -> Result<(), Failure> {
        let step = format!("{} {}", song.place, song.id);
        let track = TrackId::from_wire(&song.uploaded.track.id)?;
        let command = wire::Command {
            kind: Some(Kind::Enqueue(wire::Enqueue {
                track: track.to_wire(),
                next: self.args.next,
            })),
        };
        self.cluster.extend(self.options.deadline);
        let mut queued = match self.session.resume(&mut self.cluster, &step).await? {
            Some(settled) => Ok(settled),
            None => {
                self.session
                    .submit(&mut self.cluster, &step, &self.args.room, command.clone())
                    .await
            }
        };
        if matches!(&queued, Err(failure) if failure.code() == "track_gone") {
            // It was collected between our look and the queue: once more from the start.
            let patience = self.options.deadline;
            song.uploaded =
                upload(&mut self.cluster, song.path, song.id, song.size, patience, |_| {}).await?;
            self.cluster.extend(patience);
            queued = self.session.submit(&mut self.cluster, &step, &self.args.room, command).await;
        }
        let queued = queued?;
        self.show(track, &song.uploaded, queued.reply.entry, queued.earlier);
        Ok(())
    }

    fn show(&self, id: TrackId, uploaded: &Uploaded, entry: u64, earlier: bool) {
        let Uploaded { track, bytes_sent, missing_ms } = uploaded;
        let json = || {
            json!({
                "entry": entry,
                "track": id.to_string(),
                "title": track.title,
                "artist": track.artist,
                "frames": track.frames,
                "sample_rate": track.sample_rate,
                "bytes_sent": bytes_sent,
                "missing_ms": missing_ms,
            })
        };
        let text = || {
            let song = text::song(&track.title, &track.artist);
            let note = match (earlier, bytes_sent) {
                (true, _) => "queued by the run before this one".to_owned(),
                (false, 0) => "the cluster had it already".to_owned(),
                (false, sent) => format!("{} sent", text::bytes(*sent)),
            };
            let missing = match missing_ms {
                0 => String::new(),
                ms => format!("; the last {ms} ms are missing"),
            };
            format!("{entry:>4}  {song}  ({note}{missing})")
        };
        self.progress.around(|| self.output.show(json, text));
    }

    /// One file that failed does not stop the others, unless they would all fail alike.
    fn note(&mut self, path: &Path, failure: Failure, total: usize) -> Result<(), Failure> {
        if failure.exit_code() == 3 || ends_all(failure.code()) {
            return Err(failure);
        }
        if total > 1 {
            let remark = format!("jam: {}: {failure}", path.display());
            self.progress.around(|| self.output.remark(&remark));
            if self.output.is_json() {
                let mut line = error_json(&failure);
                line["error"]["file"] = path.display().to_string().into();
                self.output.show(|| line, String::new);
            }
        }
        self.failed.push(failure);
        Ok(())
    }
}

/// Failures that are not about this file.
fn ends_all(code: &str) -> bool {
    const ALL: [&str; 12] = [
        "no_quorum",
        "no_leader",
        "sessions_full",
        "session_expired",
        "unreachable",
        "unavailable",
        "timeout",
        "upload_broken",
        "unauthenticated",
        "room_unknown",
        "queue_full",
        "session_damaged",
    ];
    ALL.contains(&code)
}
