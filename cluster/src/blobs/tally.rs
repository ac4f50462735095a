//! What became of the songs of this node, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Blobs;
use crate::metrics::Page;

/// Counters of this process.
#[derive(Debug, Default)]
pub struct Tally {
    scrubbed_bytes: AtomicU64,
    damaged: AtomicU64,
    unreadable: AtomicU64,
    repaired: AtomicU64,
    collected: AtomicU64,
}

impl Tally {
    pub(super) fn scrubbed(&self, bytes: u64) {
        self.scrubbed_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn damaged(&self) {
        self.damaged.fetch_add(1, Relaxed);
    }

    pub(super) fn unreadable(&self) {
        self.unreadable.fetch_add(1, Relaxed);
    }

    pub(super) fn repaired(&self) {
        self.repaired.fetch_add(1, Relaxed);
    }

    pub(super) fn collected(&self) {
        self.collected.fetch_add(1, Relaxed);
    }
}

impl Blobs {
    /// Writes what this node holds, lacks, found and mended.
    pub fn tell(&self, page: &mut Page) {
        let (songs, bytes) = self.store.total();
        let (missing, damaged) = {
            let wanted = self.wanted();
            (wanted.len(), wanted.values().filter(|want| want.damaged).count())
        };
        let tally = &self.tally;
        page.one(
            "jam_songs",
            "gauge",
            "Songs, and what was made of them, that this node holds, whole and durable.",
            songs,
        );
        page.one("jam_songs_bytes", "gauge", "Bytes of all that.", bytes);
        page.one(
            "jam_songs_missing",
            "gauge",
            "Committed songs that this node lacks and tries to fetch.",
            missing,
        );
        page.one(
            "jam_songs_waiting_for_repair",
            "gauge",
            "Of these, songs whose copy here was damaged.",
            damaged,
        );
        page.one(
            "jam_songs_lost",
            "gauge",
            "Of the missing ones, those that every other node says it does not have either.",
            self.lost().len(),
        );
        let mut counter = |name: &str, help: &str, count: &AtomicU64| {
            page.one(name, "counter", help, count.load(Relaxed));
        };
        counter(
            "jam_songs_scrubbed_bytes_total",
            "Bytes read to check songs against their hash.",
            &tally.scrubbed_bytes,
        );
        counter(
            "jam_songs_damaged_total",
            "Copies that were found damaged, cut off or deleted.",
            &tally.damaged,
        );
        counter(
            "jam_songs_unreadable_total",
            "Copies that the disk could not read; they stay.",
            &tally.unreadable,
        );
        counter(
            "jam_songs_repaired_total",
            "Damaged copies that were replaced by good ones.",
            &tally.repaired,
        );
        counter(
            "jam_songs_collected_total",
            "Songs that were removed since the cluster does not have them any more.",
            &tally.collected,
        );
        if let Some(outside) = &self.outside {
            outside.tell(page);
        }
    }
}
