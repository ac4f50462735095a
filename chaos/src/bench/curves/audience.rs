//! People who watch a room: streams of events, each on a connection of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use jam_proto::wire::v1::rooms_client::RoomsClient;
use jam_proto::wire::v1::watch_message::Kind;
use jam_proto::wire::v1::{WatchMessage, WatchRequest};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tonic::Streaming;

use super::load::dial;

/// Connections that are opened at a time.
const OPENING_MAX: usize = 32;
/// Longer than any event takes, whatever the machine does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Watchers of one room. Dropping it ends them.
pub struct Audience {
    watchers: JoinSet<()>,
    heard: UnboundedReceiver<(u64, Instant)>,
}

impl Audience {
    /// `count` watchers, shared out among the nodes, each of which has got the room.
    pub async fn gather(addresses: &[String], room: &str, count: usize) -> anyhow::Result<Self> {
        let (tell, heard) = unbounded_channel();
        let streams: Vec<_> = stream::iter(addresses.iter().cycle().take(count))
            .map(|address| watch(address, room))
            .buffer_unordered(OPENING_MAX)
            .try_collect()
            .await?;
        let mut watchers = JoinSet::new();
        for stream in streams {
            watchers.spawn(listen(stream, tell.clone()));
        }
        let mut audience = Self { watchers, heard };
        let mut ready = 0;
        while ready < count {
            audience.next().await?;
            ready += 1;
        }
        Ok(audience)
    }

    /// When the last of them heard of a revision that nobody has heard of before.
    pub async fn all_heard(&mut self, revision: u64) -> anyhow::Result<Instant> {
        let mut waiting = self.watchers.len();
        let mut last = None;
        while waiting > 0 {
            let (heard, at) = self.next().await?;
            waiting -= usize::from(heard == revision);
            last = last.max(Some(at));
        }
        last.context("nobody watches")
    }

    async fn next(&mut self) -> anyhow::Result<(u64, Instant)> {
        tokio::select! {
            heard = self.heard.recv() => heard.context("nobody watches any more"),
            Some(_) = self.watchers.join_next() => bail!("a watcher's stream ended"),
            () = tokio::time::sleep(PATIENCE) => bail!("a watcher did not hear of an event"),
        }
    }
}

async fn watch(address: &str, room: &str) -> anyhow::Result<Streaming<WatchMessage>> {
    let request = WatchRequest { cluster_id: Vec::new(), room: room.to_owned(), after_revision: 0 };
    let stream = RoomsClient::new(dial(address).await?).watch(request).await?;
    Ok(stream.into_inner())
}

/// Tells each revision that it hears of, and when. What it knows at first is told too.
async fn listen(mut stream: Streaming<WatchMessage>, tell: UnboundedSender<(u64, Instant)>) {
    while let Ok(Some(message)) = stream.message().await {
        let at = Instant::now();
        let revision = match message.kind {
            Some(Kind::Snapshot(room)) => room.revision,
            Some(Kind::Events(events)) => events.events.last().map_or(0, |last| last.revision),
            Some(Kind::Hello(_) | Kind::Progress(_)) | None => continue,
        };
        if tell.send((revision, at)).is_err() {
            return;
        }
    }
}
