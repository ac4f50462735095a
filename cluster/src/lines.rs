//! What the answers of one connection may take of a node, and of all connections together.
//!
//! A piece of an answer is charged from when it is made until the connection has sent it off or is closed, and what an answer
//! needs to make its pieces is charged until the last one was made. Whoever takes nothing makes no more pieces, and its
//! connection is closed in the end.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Pieces that one connection has not taken yet: several of the largest, so that a quick reader never waits.
const LINE_PIECES_BYTES: usize = 1 << 20;
/// And all connections.
const PIECES_BYTES: usize = 64 << 20;
/// What the answers of one connection need.
const LINE_SOURCES_BYTES: usize = 8 << 20;
/// And those of all connections.
const SOURCES_BYTES: usize = 128 << 20;
/// Bytes are counted so many at a time.
const UNIT: usize = 256;

/// A connection that leaves a piece for so long is closed.
const STUCK_MAX: Duration = Duration::from_secs(30);
/// As long as others wait for what it holds.
const STUCK_MAX_IN_NEED: Duration = Duration::from_secs(2);

/// The connections of a node.
#[derive(Debug)]
pub struct Lines {
    by_peer: Mutex<BTreeMap<SocketAddr, Weak<Line>>>,
    all: Budget,
}

/// One connection.
#[derive(Debug)]
pub struct Line {
    own: Budget,
    all: Budget,
    /// The pieces that were not taken yet, oldest first.
    given: Mutex<VecDeque<(u64, Instant)>>,
    next: AtomicU64,
    close: Arc<Notify>,
}

#[derive(Clone, Debug)]
struct Budget {
    pieces: Arc<Semaphore>,
    sources: Arc<Semaphore>,
}

/// A part of the budgets of a connection and of the node.
#[derive(Debug)]
pub struct Share {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Default for Lines {
    fn default() -> Self {
        Self { by_peer: Mutex::default(), all: Budget::new(PIECES_BYTES, SOURCES_BYTES) }
    }
}

impl Lines {
    /// A connection from `peer` begins. It counts as long as this is kept.
    pub fn open(&self, peer: SocketAddr) -> Arc<Line> {
        let line = Arc::new(Line {
            own: Budget::new(LINE_PIECES_BYTES, LINE_SOURCES_BYTES),
            all: self.all.clone(),
            given: Mutex::default(),
            next: AtomicU64::new(0),
            close: Arc::default(),
        });
        let mut lines = lock(&self.by_peer);
        lines.retain(|_, line| line.strong_count() > 0);
        lines.insert(peer, Arc::downgrade(&line));
        line
    }

    /// The connection that a request came over; a new one, if it is none of these.
    pub fn of(&self, peer: Option<SocketAddr>) -> Arc<Line> {
        let known = peer.and_then(|peer| lock(&self.by_peer).get(&peer)?.upgrade());
        known.unwrap_or_else(|| self.open(peer.unwrap_or_else(|| ([0, 0, 0, 0], 0).into())))
    }

    /// Closes the connections that have left a piece for too long by `now`, and says how many: sooner while others wait for
    /// room.
    pub fn close_stuck(&self, now: Instant) -> u64 {
        let patience = if self.all.is_used_up() { STUCK_MAX_IN_NEED } else { STUCK_MAX };
        let lines: Vec<_> = lock(&self.by_peer).values().filter_map(Weak::upgrade).collect();
        let stuck = lines.iter().filter(|line| line.is_stuck(now, patience));
        stuck.map(|line| line.close.notify_one()).count() as u64
    }
}

impl Budget {
    fn new(pieces: usize, sources: usize) -> Self {
        let semaphore = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT));
        Self { pieces: semaphore(pieces), sources: semaphore(sources) }
    }

    /// Less is left than a large answer needs.
    fn is_used_up(&self) -> bool {
        self.pieces.available_permits() < LINE_PIECES_BYTES / UNIT
            || self.sources.available_permits() < LINE_SOURCES_BYTES / UNIT
    }
}

impl Line {
    /// Told once when the connection is to be closed.
    pub fn closing(&self) -> Arc<Notify> {
        self.close.clone()
    }

    /// Waits for room for what an answer needs to be made: at most all that a connection has.
    pub async fn source(&self, bytes: usize) -> Share {
        take(&self.own.sources, &self.all.sources, bytes.min(LINE_SOURCES_BYTES)).await
    }

    /// Waits for room for a piece.
    pub async fn piece(&self, bytes: usize) -> Share {
        take(&self.own.pieces, &self.all.pieces, bytes.min(LINE_PIECES_BYTES)).await
    }

    /// A piece is given to the connection. It has the room until the connection lets go of it.
    pub fn give(self: &Arc<Self>, bytes: Bytes, share: Share) -> Bytes {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.given).push_back((number, Instant::now()));
        Bytes::from_owner(Piece { bytes, number, line: self.clone(), _share: share })
    }

    fn is_stuck(&self, now: Instant, patience: Duration) -> bool {
        lock(&self.given).front().is_some_and(|(_, since)| now >= *since + patience)
    }
}

async fn take(own: &Arc<Semaphore>, all: &Arc<Semaphore>, bytes: usize) -> Share {
    let units = u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
    let take = async |semaphore: &Arc<Semaphore>| {
        semaphore.clone().acquire_many_owned(units).await.expect("nobody closes the semaphore")
    };
    // First its own: who waits for itself keeps nothing from others.
    let own = take(own).await;
    Share { _own: own, _all: take(all).await }
}

/// A piece that the connection has.
struct Piece {
    bytes: Bytes,
    number: u64,
    line: Arc<Line>,
    _share: Share,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut given = lock(&self.line.given);
        if let Ok(at) = given.binary_search_by_key(&self.number, |(number, _)| *number) {
            given.remove(at);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    async fn give(line: &Arc<Line>, bytes: usize) -> Bytes {
        let room = line.piece(bytes).await;
        line.give(Bytes::from(vec![7; bytes]), room)
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_no_more_and_is_closed() {
        let lines = Lines::default();
        let (stuck, quick) = (lines.open(peer(1)), lines.open(peer(2)));
        let untaken = give(&stuck, LINE_PIECES_BYTES).await;
        assert!(stuck.piece(1).now_or_never().is_none(), "it has all that it may");
        drop(give(&quick, LINE_PIECES_BYTES).await);
        drop(give(&quick, LINE_PIECES_BYTES).await);

        let later = Instant::now() + STUCK_MAX;
        assert_eq!(lines.close_stuck(Instant::now()), 0);
        assert_eq!(lines.close_stuck(later), 1);
        assert!(stuck.closing().notified_owned().now_or_never().is_some());
        assert!(quick.closing().notified_owned().now_or_never().is_none());
        drop(untaken);
        assert_eq!(lines.close_stuck(later + STUCK_MAX), 0, "it took it");
        assert!(stuck.piece(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn while_others_wait_for_room_the_stuck_are_closed_soon() {
        let lines = Lines::default();
        let many: Vec<_> = (1..=64).map(|port| lines.open(peer(port))).collect();
        let mut untaken = Vec::new();
        for line in &many {
            untaken.push(give(line, LINE_PIECES_BYTES).await);
        }
        let honest = lines.open(peer(65));
        tokio::task::yield_now().await;
        assert!(honest.piece(1).now_or_never().is_none());
        assert_eq!(lines.close_stuck(Instant::now() + STUCK_MAX_IN_NEED), 64);
        drop(untaken.pop());
        // Tokio has a task that did so much wait for its next turn.
        tokio::task::yield_now().await;
        assert!(honest.piece(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn sources_are_bounded_for_each_connection() {
        let lines = Lines::default();
        let (greedy, honest) = (lines.open(peer(1)), lines.open(peer(2)));
        let held = greedy.source(usize::MAX).await;
        assert!(greedy.source(1).now_or_never().is_none());
        assert!(honest.source(LINE_SOURCES_BYTES).now_or_never().is_some());
        drop(held);
        assert!(greedy.source(1).now_or_never().is_some());
    }

    #[test]
    fn a_request_finds_its_connection_and_ended_ones_are_forgotten() {
        let lines = Lines::default();
        let line = lines.open(peer(1));
        assert!(Arc::ptr_eq(&lines.of(Some(peer(1))), &line));
        drop(line);
        drop(lines.open(peer(2)));
        assert_eq!(lock(&lines.by_peer).len(), 1);
    }
}
