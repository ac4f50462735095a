//! Where everybody in a run writes down what happened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::history::{Answer, History, Request, What};

/// True time.
pub trait TrueTime: std::fmt::Debug + Send + Sync {
    /// Since the run began, ns.
    fn now_ns(&self) -> i64;
}

/// A history that is being written. Clones share it.
#[derive(Clone, Debug)]
pub struct Book {
    time: Arc<dyn TrueTime>,
    history: Arc<Mutex<History>>,
    ops: Arc<AtomicU64>,
}

impl Book {
    /// An empty one.
    pub fn new(time: Arc<dyn TrueTime>) -> Self {
        Self { time, history: Arc::default(), ops: Arc::default() }
    }

    /// True time, ns.
    pub fn now_ns(&self) -> i64 {
        self.time.now_ns()
    }

    /// Writes down what happens now.
    pub fn note(&self, what: What) {
        // Stamped under the lock: a history is in order.
        let mut history = self.lock();
        history.push(self.now_ns(), what);
    }

    /// A client asks; the number of the request.
    pub fn invoked(&self, client: &str, request: Request) -> u64 {
        let op = self.ops.fetch_add(1, Ordering::Relaxed) + 1;
        self.note(What::Invoked { client: client.to_owned(), op, request });
        op
    }

    /// It was answered.
    pub fn answered(&self, op: u64, answer: Answer) {
        self.note(What::Answered { op, answer });
    }

    /// Something that a batch of runs must reach was reached.
    pub fn sometimes(&self, name: &str) {
        self.note(What::Sometimes { name: name.to_owned() });
    }

    /// Looks at what there is so far.
    pub fn look<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.lock())
    }

    /// All of it; the book is empty afterwards.
    pub fn take(&self) -> History {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
