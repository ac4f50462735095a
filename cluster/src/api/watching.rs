//! One watcher's stream: what it missed, then what happens, and a sign of life while nothing does.
//!
//! A message is made when the connection asks for it, so that a watcher costs no task and no queue. One
//! that asks for nothing more has enough to do with what it was given, and is dropped in the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use jam_proto::ids::RoomCode;
use jam_proto::wire::v1::watch_message::Kind;
use jam_proto::wire::v1::{Progress, WatchHello, WatchMessage};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;

use super::large::{Kitchen, SNAPSHOT_FIELD};
use crate::answers::{Message, framed};
use crate::lines::Line;
use crate::refusal::Refusal;
use crate::shard::Group;
use crate::watch::{Batch, Next, Subscription};

/// Batches taken from the hub in one look.
const BATCHES_PER_LOOK: usize = 64;
/// How long a watcher that knows more than this node waits for it to catch up.
const BEHIND_MAX: Duration = Duration::from_secs(3);
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A watcher's place.
pub struct Watcher {
    /// Where snapshots come from.
    pub group: Group,
    /// Who prepares them.
    pub kitchen: Kitchen,
    /// Where they go.
    pub line: Arc<Line>,
    /// The room.
    pub room: RoomCode,
    /// The place in its events.
    pub subscription: Subscription,
    /// The revision that the watcher has; 0: nothing.
    pub cursor: u64,
    /// True once the node stops.
    pub stopping: watch::Receiver<bool>,
}

impl Watcher {
    /// Its messages, from `hello` on, and at the end why it ended.
    pub fn stream(
        self,
        hello: WatchHello,
    ) -> impl Stream<Item = Result<Message, Status>> + Send + use<> {
        let fresh = self.cursor == 0;
        let source = Source {
            watcher: self,
            hello: Some(hello),
            fresh,
            batches: VecDeque::new(),
            progress_at: Instant::now() + PROGRESS_EVERY,
        };
        stream::unfold(Some(source), |source| async {
            let mut source = source?;
            match source.next().await {
                Ok(message) => Some((Ok(message), Some(source))),
                Err(refusal) => Some((Err(refusal.into()), None)),
            }
        })
    }
}

struct Source {
    watcher: Watcher,
    hello: Option<WatchHello>,
    /// Nothing of the room was sent yet, and the watcher has nothing of it.
    fresh: bool,
    batches: VecDeque<Arc<Batch>>,
    progress_at: Instant,
}

impl Source {
    /// The next message, once there is one.
    async fn next(&mut self) -> Result<Message, Refusal> {
        let asked = self.watcher.subscription.asked();
        let message = if asked { self.find().await } else { Err(Refusal::SlowWatcher) };
        self.watcher.subscription.given();
        message
    }

    async fn find(&mut self) -> Result<Message, Refusal> {
        if let Some(hello) = self.hello.take() {
            return Ok(of_kind(Kind::Hello(hello)));
        }
        if std::mem::take(&mut self.fresh) {
            return self.snapshot().await;
        }
        let mut ahead_since = None;
        loop {
            if let Some(batch) = self.batches.pop_front() {
                self.watcher.cursor = batch.last;
                self.progress_at = Instant::now() + PROGRESS_EVERY;
                return Ok(Message::ready(batch.message.clone()));
            }
            let next = self.watcher.subscription.next(self.watcher.cursor, BATCHES_PER_LOOK);
            if next != Next::Ahead {
                ahead_since = None;
            }
            match next {
                Next::Batches(batches) => self.batches = batches.into(),
                Next::Missed => return self.snapshot().await,
                Next::Ahead => {
                    let since = *ahead_since.get_or_insert_with(Instant::now);
                    match timeout_at(since + BEHIND_MAX, self.watcher.changed()).await {
                        Ok(changed) => changed?,
                        Err(_) => return Err(Refusal::Behind(self.watcher.cursor)),
                    }
                }
                Next::UpToDate { applied } => {
                    tokio::select! {
                        changed = self.watcher.changed() => changed?,
                        () = sleep_until(self.progress_at) => {
                            self.progress_at = Instant::now() + PROGRESS_EVERY;
                            let revision = self.watcher.cursor;
                            let stale_ms = self.watcher.group.contact().stale_ms();
                            let progress = Progress { revision, applied, stale_ms };
                            return Ok(of_kind(Kind::Progress(progress)));
                        }
                    }
                }
            }
        }
    }

    /// The room as it is: never older than what the watcher has.
    async fn snapshot(&mut self) -> Result<Message, Refusal> {
        let Watcher { group, kitchen, line, room: code, subscription, cursor, .. } =
            &mut self.watcher;
        let find = || group.read(|shard| shard.room(code).cloned());
        let made = kitchen.with_room(line, find, SNAPSHOT_FIELD, Vec::new()).await;
        let made = made.map_err(|error| Refusal::Internal(error.to_string()))?;
        let (room, message) = made.ok_or_else(|| Refusal::RoomUnknown(code.clone()))?;
        if room.revision().0 < *cursor {
            return Err(Refusal::Behind(*cursor));
        }
        *cursor = room.revision().0;
        #[cfg(feature = "planted")]
        if jam_proto::planted::Bug::DroppedEvent.is_planted() {
            *cursor += 1;
        }
        Ok(message.telling(subscription.takes_on()))
    }
}

fn of_kind(kind: Kind) -> Message {
    Message::ready(framed(&WatchMessage { kind: Some(kind) }))
}

impl Watcher {
    async fn changed(&mut self) -> Result<(), Refusal> {
        tokio::select! {
            () = self.subscription.changed() => Ok(()),
            _ = self.stopping.wait_for(|stopping| *stopping) => {
                Err(Refusal::Unavailable("this node is stopping; watch on another one".to_owned()))
            }
        }
    }
}
