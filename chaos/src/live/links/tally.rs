//! What went over a link.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// What one direction did with the bytes that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Delivered, ever.
    pub passed: u64,
    /// Lost, ever.
    pub swallowed: u64,
    /// Under way now: kept, late, or waiting for the other side to read.
    pub held: u64,
}

/// What went over a link. To wait for a fault to be effective: until `swallowed` or `held` grew; to wait for its end:
/// until `passed` grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Connections that were ever taken, the refused ones included.
    pub accepted: u64,
    /// Diallers' connections that are open now.
    pub open: u64,
    /// Those of them of which one end has vanished.
    pub half_open: u64,
    /// Connections that the link itself reset: on purpose, as refused, because the target did not take them, or because
    /// they had lost bytes. Resets by the ends do not count.
    pub reset: u64,
    /// From the dialler to the target.
    pub there: Bytes,
    /// From the target to the dialler.
    pub back: Bytes,
}

#[derive(Default)]
pub(super) struct BytesCount {
    pub passed: AtomicU64,
    pub swallowed: AtomicU64,
    pub held: AtomicU64,
}

#[derive(Default)]
pub(super) struct Count {
    pub accepted: AtomicU64,
    pub open: AtomicU64,
    pub half_open: AtomicU64,
    pub reset: AtomicU64,
    pub there: BytesCount,
    pub back: BytesCount,
}

impl Count {
    pub fn tally(&self) -> Tally {
        Tally {
            accepted: self.accepted.load(Relaxed),
            open: self.open.load(Relaxed),
            half_open: self.half_open.load(Relaxed),
            reset: self.reset.load(Relaxed),
            there: self.there.bytes(),
            back: self.back.bytes(),
        }
    }
}

impl BytesCount {
    fn bytes(&self) -> Bytes {
        Bytes {
            passed: self.passed.load(Relaxed),
            swallowed: self.swallowed.load(Relaxed),
            held: self.held.load(Relaxed),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

pub(super) fn sub(counter: &AtomicU64, n: usize) {
    counter.fetch_sub(n as u64, Relaxed);
}

/// Counts one as long as it lives.
pub(super) struct One<'a>(&'a AtomicU64);

impl<'a> One<'a> {
    pub fn of(counter: &'a AtomicU64) -> Self {
        add(counter, 1);
        Self(counter)
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        sub(self.0, 1);
    }
}
