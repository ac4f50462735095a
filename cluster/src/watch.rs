//! Committed events on their way to those who watch.
//!
//! The hub hears each applied entry while the state is locked, and keeps the last events of each
//! room. A watcher has a cursor (a revision) and reads from there at its own speed: nothing is
//! queued for it, so a slow one costs nothing but itself. What has left the history is made good
//! by a snapshot. So each event comes once and in order, and never a gap.
//!
//! Lock order: the group's state, then the hub.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use jam_proto::event::Event;
use jam_proto::ids::{Revision, RoomCode};
use jam_proto::shard::Shard;
use jam_proto::wire::v1;
use jam_proto::wire::v1::watch_message::Kind;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answers::framed;
use crate::shard::AppliedSink;

/// Entries' worth of events that are kept of one room. A watcher that was away for longer gets a snapshot.
const ROOM_BATCHES_MAX: usize = 512;
/// And of all rooms together; a batch is a few hundred bytes.
const BATCHES_MAX: usize = 32_768;

/// A watcher that takes no message for this long is dropped.
const SLOW_MAX: Duration = Duration::from_secs(10);

/// The events of one log entry in one room.
#[derive(Debug, PartialEq)]
pub struct Batch {
    /// The room's revision before it.
    pub after: u64,
    /// And once all of it is folded.
    pub last: u64,
    /// As it is sent, encoded once for all who watch.
    pub message: Bytes,
}

/// What a watcher with some cursor is to be sent next.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// These, in order.
    Batches(Vec<Arc<Batch>>),
    /// It has all that is applied here, up to this log index.
    UpToDate {
        /// Log index.
        applied: u64,
    },
    /// It knows more than this node does yet.
    Ahead,
    /// The events are not kept any more (or the cursor lies within an entry): only a snapshot helps.
    Missed,
}

/// The events of every room that is watched or was changed lately.
#[derive(Debug, Default)]
pub struct WatchHub {
    inner: Mutex<Inner>,
    applied: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    feeds: BTreeMap<RoomCode, Feed>,
    /// Oldest first: which room's oldest batch goes when there are too many.
    order: VecDeque<RoomCode>,
    /// Those who watch; now and then some who have left.
    watchers: Vec<Weak<Mutex<Pace>>>,
    watching: usize,
}

/// Whether a watcher keeps up.
#[derive(Debug, Default)]
enum Pace {
    /// It asked for the next message.
    #[default]
    Waits,
    /// It was given one, and has not asked for the next since.
    Takes(Instant),
    /// It took too long over one.
    Dropped,
}

#[derive(Debug)]
struct Feed {
    /// `history` holds every event after this revision.
    base: u64,
    head: u64,
    history: VecDeque<Arc<Batch>>,
    /// The room's head; what it holds doesn't matter, that it changed does.
    changed: watch::Sender<u64>,
}

/// A place in one room's events. Dropping it leaves.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<WatchHub>,
    pace: Arc<Mutex<Pace>>,
    room: RoomCode,
    changed: watch::Receiver<u64>,
}

impl WatchHub {
    /// Last log index applied.
    pub fn applied_index(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Wakes at each applied log entry.
    pub fn applied_changes(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.lock().watching
    }

    /// Drops those who take nothing for too long by `now`, and says how many. Each hears of it if it ever
    /// asks again.
    pub fn drop_slow(&self, now: Instant) -> u64 {
        let mut dropped = 0;
        self.lock().watchers.retain(|pace| {
            let Some(pace) = pace.upgrade() else { return false };
            let mut pace = lock(&pace);
            let slow = matches!(*pace, Pace::Takes(since) if now >= since + SLOW_MAX);
            if slow {
                *pace = Pace::Dropped;
                dropped += 1;
            }
            !slow
        });
        dropped
    }

    /// Starts to watch a room whose revision is `revision` (0: there is none yet). Call it while the state is locked, so that no event
    /// falls between.
    pub fn subscribe(self: &Arc<Self>, room: &RoomCode, revision: Revision) -> Subscription {
        let mut inner = self.lock();
        inner.watching += 1;
        let pace = Arc::<Mutex<Pace>>::default();
        inner.watchers.push(Arc::downgrade(&pace));
        let feed = inner.feeds.entry(room.clone()).or_insert_with(|| Feed::at(revision.0));
        Subscription {
            hub: Arc::clone(self),
            pace,
            room: room.clone(),
            changed: feed.changed.subscribe(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

/// Nothing that holds one of these can panic half-way through a change that matters.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AppliedSink for WatchHub {
    fn applied(&self, index: u64, events: &[(RoomCode, Vec<Event>)], _state: &Shard) {
        if !events.is_empty() {
            let mut inner = self.lock();
            for (room, events) in events {
                inner.publish(index, room, events);
            }
        }
        self.applied.send_replace(index);
    }

    fn passed(&self, index: u64) {
        self.applied.send_replace(index);
    }

    fn replaced(&self, index: u64, state: &Shard) {
        let mut inner = self.lock();
        inner.order.clear();
        inner.feeds.retain(|code, feed| {
            let revision = state.room(code).map_or(0, |room| room.revision().0);
            feed.history.clear();
            feed.base = revision;
            feed.head = revision;
            feed.changed.send_replace(revision);
            feed.changed.receiver_count() > 0
        });
        drop(inner);
        self.applied.send_replace(index);
    }
}

impl Inner {
    fn publish(&mut self, index: u64, room: &RoomCode, events: &[Event]) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        let (after, last) = (first.revision.0 - 1, last.revision.0);
        let events = v1::Events { events: events.iter().map(Event::to_wire).collect(), index };
        let message = framed(&v1::WatchMessage { kind: Some(Kind::Events(events)) });
        let batch = Arc::new(Batch { after, last, message });
        let feed = self.feeds.entry(room.clone()).or_insert_with(|| Feed::at(batch.after));
        debug_assert_eq!(feed.head, batch.after, "revisions are contiguous");
        feed.head = batch.last;
        feed.history.push_back(batch);
        feed.changed.send_replace(feed.head);
        self.order.push_back(room.clone());
        if feed.history.len() > ROOM_BATCHES_MAX {
            feed.drop_oldest();
        }
        // Where a room's own limit dropped one, its place in `order` drops another one early: that
        // costs somebody a snapshot, never an event.
        if self.order.len() > BATCHES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(feed) = self.feeds.get_mut(&oldest) {
                feed.drop_oldest();
            }
            self.drop_unused(&oldest);
        }
    }

    fn drop_unused(&mut self, room: &RoomCode) {
        let unused = |feed: &Feed| feed.history.is_empty() && feed.changed.receiver_count() == 0;
        if self.feeds.get(room).is_some_and(unused) {
            self.feeds.remove(room);
        }
    }
}

impl Feed {
    fn at(revision: u64) -> Self {
        Self {
            base: revision,
            head: revision,
            history: VecDeque::new(),
            changed: watch::Sender::new(revision),
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(batch) = self.history.pop_front() {
            self.base = batch.last;
        }
    }
}

impl Subscription {
    /// What comes after `cursor`; at most `count` batches.
    pub fn next(&mut self, cursor: u64, count: usize) -> Next {
        let inner = self.hub.lock();
        self.changed.mark_unchanged();
        let Some(feed) = inner.feeds.get(&self.room) else { return Next::Missed };
        if cursor == feed.head {
            return Next::UpToDate { applied: self.hub.applied_index() };
        }
        if cursor > feed.head {
            return Next::Ahead;
        }
        let from = feed.history.partition_point(|batch| batch.after < cursor);
        match feed.history.get(from) {
            Some(batch) if cursor >= feed.base && batch.after == cursor => {
                Next::Batches(feed.history.iter().skip(from).take(count).cloned().collect())
            }
            _ => Next::Missed,
        }
    }

    /// The watcher asks for its next message. False: it was dropped meanwhile.
    pub fn asked(&self) -> bool {
        let mut pace = lock(&self.pace);
        if matches!(*pace, Pace::Dropped) {
            return false;
        }
        *pace = Pace::Waits;
        true
    }

    /// To be called when the watcher takes a part of the message that it was given: it has time for the next one.
    pub fn takes_on(&self) -> impl Fn() + Send + use<> {
        let pace = Arc::clone(&self.pace);
        move || {
            let mut pace = lock(&pace);
            if matches!(*pace, Pace::Takes(_)) {
                *pace = Pace::Takes(Instant::now());
            }
        }
    }

    /// The watcher was given a message.
    pub fn given(&self) {
        let mut pace = lock(&self.pace);
        if matches!(*pace, Pace::Waits) {
            *pace = Pace::Takes(Instant::now());
        }
    }

    /// Waits until there is something that the last look at [`Self::next`] did not see.
    pub async fn changed(&mut self) {
        // The hub, and so the sender, lives as long as this.
        let _ = self.changed.changed().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // The receiver must be gone before the feed is looked at.
        let (_, placeholder) = watch::channel(0);
        drop(std::mem::replace(&mut self.changed, placeholder));
        let mut inner = self.hub.lock();
        inner.watching -= 1;
        inner.drop_unused(&self.room);
    }
}

#[cfg(test)]
mod tests;
