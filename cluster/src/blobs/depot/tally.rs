//! What became of songs in the depot, counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::Outside;
use crate::metrics::Page;

/// Counters of this process.
#[derive(Debug, Default)]
pub(super) struct Tally {
    is_up: AtomicBool,
    there: AtomicU64,
    pub(super) put: AtomicU64,
    pub(super) put_bytes: AtomicU64,
    pub(super) taken: AtomicU64,
    pub(super) removed: AtomicU64,
    pub(super) wrong: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Tally {
    pub(super) fn answered(&self, is_up: bool) {
        self.is_up.store(is_up, Relaxed);
    }

    pub(super) fn listed(&self, songs: usize) {
        self.there.store(songs as u64, Relaxed);
    }
}

pub(super) fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Outside {
    /// Writes how the depot is, and what this node did there.
    pub(in crate::blobs) fn tell(&self, page: &mut Page) {
        let tally = &self.tally;
        let mut figure = |name: &str, kind: &str, help: &str, value: u64| {
            page.one(&format!("jam_songs_store_{name}"), kind, help, value);
        };
        let is_up = u64::from(tally.is_up.load(Relaxed));
        figure("up", "gauge", "1 if the songs' store answered when it was last used.", is_up);
        let owed = self.owed() as u64;
        figure("owed", "gauge", "Songs that this node, as the leader, has yet to put there.", owed);
        let there = tally.there.load(Relaxed);
        figure(
            "listed",
            "gauge",
            "Songs that were there when this node, as the leader, looked.",
            there,
        );
        let mut counter = |name: &str, help: &str, counter: &AtomicU64| {
            figure(name, "counter", help, counter.load(Relaxed));
        };
        counter("put_total", "Songs put there.", &tally.put);
        counter("put_bytes_total", "Bytes of these songs.", &tally.put_bytes);
        counter("taken_total", "Songs that this node took from there.", &tally.taken);
        counter(
            "removed_total",
            "Songs removed there, as the cluster forgot them.",
            &tally.removed,
        );
        counter("wrong_total", "Songs that came from there with wrong bytes.", &tally.wrong);
        counter(
            "failures_total",
            "Times that it failed, and was left alone for a while.",
            &tally.failed,
        );
    }
}
