//! One watcher's stream: what it missed, then what happens, and a sign of life while nothing does.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use jam_proto::ids::RoomCode;
use jam_proto::wire::v1::watch_message::Kind;
use jam_proto::wire::v1::{Progress, WatchHello, WatchMessage};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tonic::Status;

use crate::refusal::Refusal;
use crate::shard::Group;
use crate::watch::{Next, Subscription};

/// Messages on their way to one watcher, beyond what its connection holds.
const QUEUE_MAX: usize = 8;
/// Batches taken from the hub in one look.
const BATCHES_PER_LOOK: usize = 64;
/// A watcher that takes no message for this long is dropped.
const SLOW_MAX: Duration = Duration::from_secs(10);
/// How long a watcher that knows more than this node waits for it to catch up.
const BEHIND_MAX: Duration = Duration::from_secs(3);
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// All that a watcher's task needs.
pub struct Watcher {
    /// Where snapshots come from.
    pub group: Group,
    /// The room.
    pub room: RoomCode,
    /// The place in its events.
    pub subscription: Subscription,
    /// The revision that the watcher has; 0: nothing.
    pub cursor: u64,
    /// True once the node stops.
    pub stopping: watch::Receiver<bool>,
}

/// What the watcher reads: messages, and at the end why it ended.
pub struct WatchStream {
    messages: mpsc::Receiver<WatchMessage>,
    verdict: Arc<OnceLock<Refusal>>,
    ended: bool,
}

impl Watcher {
    /// Starts the task. `dropped` hears why it ended, unless the watcher itself left.
    pub fn start(
        self,
        hello: WatchHello,
        dropped: impl FnOnce(&Refusal) + Send + 'static,
    ) -> WatchStream {
        let (sender, messages) = mpsc::channel(QUEUE_MAX);
        let verdict = Arc::new(OnceLock::new());
        let stream = WatchStream { messages, verdict: Arc::clone(&verdict), ended: false };
        tokio::spawn(async move {
            let outbox = Outbox { sender };
            if let Err(Some(refusal)) = self.run(&outbox, hello).await {
                dropped(&refusal);
                let _ = verdict.set(refusal);
            }
            // Not before the verdict is there: the stream looks for it when the messages end.
            drop(outbox);
        });
        stream
    }

    /// `Err(None)`: the watcher left.
    async fn run(mut self, outbox: &Outbox, hello: WatchHello) -> Result<(), Option<Refusal>> {
        outbox.send(Kind::Hello(hello)).await?;
        if self.cursor == 0 {
            self.snapshot(outbox).await?;
        }
        let mut progress_at = Instant::now() + PROGRESS_EVERY;
        let mut ahead_since = None;
        loop {
            let next = self.subscription.next(self.cursor, BATCHES_PER_LOOK);
            if next != Next::Ahead {
                ahead_since = None;
            }
            match next {
                Next::Batches(batches) => {
                    for batch in batches {
                        outbox.send(Kind::Events(batch.events.clone())).await?;
                        self.cursor = batch.last;
                    }
                    progress_at = Instant::now() + PROGRESS_EVERY;
                }
                Next::Missed => self.snapshot(outbox).await?,
                Next::Ahead => {
                    let since = *ahead_since.get_or_insert_with(Instant::now);
                    let changed = self.changed(outbox);
                    match timeout_at(since + BEHIND_MAX, changed).await {
                        Ok(changed) => changed?,
                        Err(_) => return Err(Some(Refusal::Behind(self.cursor))),
                    }
                }
                Next::UpToDate { applied } => {
                    tokio::select! {
                        changed = self.changed(outbox) => changed?,
                        () = sleep_until(progress_at) => {
                            let progress = Progress { revision: self.cursor, applied };
                            outbox.send(Kind::Progress(progress)).await?;
                            progress_at = Instant::now() + PROGRESS_EVERY;
                        }
                    }
                }
            }
        }
    }

    /// Sends the room as it is, unless the watcher knows more.
    async fn snapshot(&mut self, outbox: &Outbox) -> Result<(), Option<Refusal>> {
        let room = self.group.read(|shard| shard.room(&self.room).cloned());
        let room = room.ok_or_else(|| Refusal::RoomUnknown(self.room.clone()))?;
        if room.revision().0 >= self.cursor {
            self.cursor = room.revision().0;
            outbox.send(Kind::Snapshot(room.to_wire())).await?;
        }
        Ok(())
    }

    async fn changed(&mut self, outbox: &Outbox) -> Result<(), Option<Refusal>> {
        tokio::select! {
            () = self.subscription.changed() => Ok(()),
            () = outbox.sender.closed() => Err(None),
            _ = self.stopping.wait_for(|stopping| *stopping) => {
                Err(Some(Refusal::Unavailable("this node is stopping; watch on another one".to_owned())))
            }
        }
    }
}

struct Outbox {
    sender: mpsc::Sender<WatchMessage>,
}

impl Outbox {
    async fn send(&self, kind: Kind) -> Result<(), Option<Refusal>> {
        match timeout(SLOW_MAX, self.sender.send(WatchMessage { kind: Some(kind) })).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(None),
            Err(_) => Err(Some(Refusal::SlowWatcher)),
        }
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.messages.poll_recv(context) {
            Poll::Ready(Some(message)) => Poll::Ready(Some(Ok(message))),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(self.verdict.get().cloned().map(|refusal| Err(refusal.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
