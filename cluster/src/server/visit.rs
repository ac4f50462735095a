//! One connection's stay: what it has shown, what it may still do, and when it must go.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::bucket::Bucket;
use super::door::Door;
use super::slots::{Full, Slot, Who};

/// A stranger must have shown by then that it may come in.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(10);
/// A guest that asks nothing for so long may connect again when it does.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// A stranger sends some headers, and what it had on the way of a body when it was refused: HTTP/2's window, which is 1 MiB.
const STRANGER_BYTES_MAX: usize = 2 << 20;

/// The budget for frames grows by one in this time: 16,000 in a second. Prices are in `frames.rs`.
const FRAME_EVERY: Duration = Duration::from_nanos(62_500);
/// 500 frames without data; a client begins with five or six.
const STRANGER_FRAMES_BURST: u32 = 4_000;
/// 8,000 frames without data: a client that gives up 512 streams sends as many.
const FRAMES_BURST: u32 = 64_000;
/// What a request adds to the budget: its headers, its end, a reset and the windows for its answer, twice over.
const FRAMES_PER_REQUEST: u32 = 64;
/// So many bytes of answers add one to the budget, so a window for each 4 KiB is free. Frames are of 16 KiB, and a careless client
/// sends two windows for each.
const ANSWER_BYTES_PER_FRAME: usize = 512;

/// A guest's requests: 2,000 in a second. The benchmark's busiest connection makes a few hundred.
const REQUEST_EVERY: Duration = Duration::from_micros(500);
const REQUESTS_BURST: u32 = 4_000;
/// A stranger has nothing to ask but whether the node is ready.
const STRANGER_REQUEST_EVERY: Duration = Duration::from_millis(50);
const STRANGER_REQUESTS_BURST: u32 = 32;

/// Why a connection must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has gone by itself.
    Gone,
    /// It did not show in time that it may come in.
    Late,
    /// It makes room for a newcomer.
    MakesRoom,
    /// Nothing was asked for long.
    Idle,
    /// It sent more frames than anybody needs.
    Frames,
    /// It sent much before it had shown that it may come in.
    Bytes,
    /// There is no place for one more of its kind.
    Full,
}

impl End {
    /// How long what is under way may take to end.
    pub fn grace(self) -> Duration {
        match self {
            Self::Idle => Duration::from_secs(5),
            Self::Full => Duration::from_secs(1),
            // For the last words.
            _ => Duration::from_millis(100),
        }
    }

    /// Nothing more is read of it.
    fn is_deaf(self) -> bool {
        matches!(self, Self::Frames | Self::Bytes)
    }
}

/// A connection's stay.
pub struct Visit {
    door: Arc<Door>,
    state: Mutex<State>,
    changed: Notify,
    /// Of whoever serves the connection.
    waker: AtomicWaker,
    is_cut: AtomicBool,
}

struct State {
    /// Until it has gone.
    slot: Option<Slot>,
    came: Instant,
    who: Who,
    /// Requests whose answers are under way.
    open: usize,
    quiet_since: Instant,
    bytes: usize,
    frames: Bucket,
    requests: Bucket,
    end: Option<End>,
}

impl Visit {
    /// Begins as a stranger's, whose place is given with [`Visit::takes`].
    pub(super) fn new(door: Arc<Door>, now: Instant) -> Self {
        let state = State {
            slot: None,
            came: now,
            who: Who::Stranger,
            open: 0,
            quiet_since: now,
            bytes: 0,
            frames: Bucket::new(STRANGER_FRAMES_BURST, FRAME_EVERY, now),
            requests: Bucket::new(STRANGER_REQUESTS_BURST, STRANGER_REQUEST_EVERY, now),
            end: None,
        };
        Self {
            door,
            state: Mutex::new(state),
            changed: Notify::new(),
            waker: AtomicWaker::new(),
            is_cut: AtomicBool::new(false),
        }
    }

    /// Its place.
    pub(super) fn takes(&self, slot: Slot) {
        self.state().slot = Some(slot);
    }

    /// A request came, and showed `who` asks. Answers with what to hold while its answer is under way, and how long it must wait
    /// for its turn.
    ///
    /// # Errors
    /// There is no place for one more connection of this kind.
    pub fn enter(self: &Arc<Self>, who: Who, price: u32) -> Result<(Open, Duration), Full> {
        let now = Instant::now();
        let state = &mut *self.state();
        if state.who != who
            && let Some(slot) = &mut state.slot
        {
            let was = state.who;
            state.who = match self.door.admit(slot, who) {
                Ok(who) => who,
                Err(Full) => {
                    self.set_end(state, End::Full);
                    return Err(Full);
                }
            };
            if was == Who::Stranger && state.who != was {
                state.frames = Bucket::new(FRAMES_BURST, FRAME_EVERY, now);
                state.requests = Bucket::new(REQUESTS_BURST, REQUEST_EVERY, now);
                self.changed.notify_one();
            }
        }
        let wait = match state.who {
            Who::Node => Duration::ZERO,
            Who::Stranger => state.requests.reserve(price, now),
            Who::Guest => {
                state.frames.earn(FRAMES_PER_REQUEST, now);
                state.requests.reserve(price, now)
            }
        };
        state.open += 1;
        Ok((Open(self.clone()), wait))
    }

    /// Bytes came, with frames of this price.
    pub(super) fn read(&self, bytes: usize, price: u32) {
        let state = &mut *self.state();
        if state.who == Who::Node {
            return;
        }
        if state.who == Who::Stranger {
            state.bytes += bytes;
            if state.bytes > STRANGER_BYTES_MAX {
                self.set_end(state, End::Bytes);
            }
        }
        if price > 0 && !state.frames.take(price, Instant::now()) {
            self.set_end(state, End::Frames);
        }
    }

    /// Bytes went.
    pub(super) fn wrote(&self, bytes: usize) {
        // No write is larger than what a `u32` holds times this.
        let earned = (bytes / ANSWER_BYTES_PER_FRAME) as u32;
        if earned > 0 {
            let state = &mut *self.state();
            if state.who == Who::Guest {
                state.frames.earn(earned, Instant::now());
            }
        }
    }

    /// Returns when the connection must go, or has gone.
    pub(super) async fn ended(&self) -> End {
        loop {
            let now = Instant::now();
            let look_at = {
                let state = &mut *self.state();
                match state.due(now) {
                    Ok(look_at) => look_at,
                    Err(end) => return *state.end.insert(end),
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(look_at) => {}
            }
        }
    }

    /// It must go.
    pub(super) fn end(&self, end: End) {
        self.set_end(&mut self.state(), end);
    }

    fn set_end(&self, state: &mut State, end: End) {
        if state.end.is_none() {
            state.end = Some(end);
            self.changed.notify_one();
        }
    }

    /// The connection is closed: its place is free.
    pub(super) fn leave(&self) {
        let state = &mut *self.state();
        if let Some(slot) = state.slot.take() {
            self.door.leave(&slot);
        }
        state.end = Some(End::Gone);
        self.changed.notify_one();
    }

    /// Whoever serves the connection finds that it is broken.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether to go on reading: ready with whether the connection is cut; pending for good if nothing more is read of it.
    pub(super) fn poll_open(&self, context: &Context<'_>) -> Poll<bool> {
        self.waker.register(context.waker());
        if self.is_cut.load(Ordering::Acquire) {
            return Poll::Ready(false);
        }
        match self.state().end {
            Some(end) if end.is_deaf() => Poll::Pending,
            _ => Poll::Ready(true),
        }
    }

    /// Whether [`Visit::cut`] was called.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// When to look again, or why it must go now.
    fn due(&self, now: Instant) -> Result<Instant, End> {
        if let Some(end) = self.end {
            return Err(end);
        }
        let (at, end) = match self.who {
            Who::Stranger => (self.came + STRANGER_TIMEOUT, End::Late),
            Who::Guest if self.open == 0 => (self.quiet_since + IDLE_TIMEOUT, End::Idle),
            // Nobody wakes whoever looks when a request ends, since that is often.
            Who::Guest | Who::Node => (now + IDLE_TIMEOUT, End::Idle),
        };
        if at > now { Ok(at) } else { Err(end) }
    }
}

/// A request whose answer is under way.
pub struct Open(Arc<Visit>);

impl Drop for Open {
    fn drop(&mut self) {
        let state = &mut *self.0.state();
        state.open -= 1;
        state.quiet_since = Instant::now();
    }
}

/// An answer, under way until it is dropped.
pub struct Answer {
    body: Body,
    _open: Open,
}

impl Answer {
    /// This body, which holds `open` until then.
    pub fn holding(body: Body, open: Open) -> Body {
        Body::new(Self { body, _open: open })
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
