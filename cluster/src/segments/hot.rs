//! Segments in memory: the ones that were asked for last.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;

use super::Rendition;

/// A bounded number of bytes, the least recently used going first.
pub(super) struct Hot {
    bytes_max: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    segments: LruCache<(Rendition, usize), Segment>,
    bytes: u64,
}

struct Segment {
    hash: [u8; 32],
    bytes: Bytes,
}

impl Hot {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, inner: Mutex::new(Inner { segments: LruCache::unbounded(), bytes: 0 }) }
    }

    /// The segment, if it is here with this hash.
    pub(super) fn find(&self, of: Rendition, index: usize, hash: &[u8; 32]) -> Option<Bytes> {
        let mut inner = self.lock();
        let found = inner.segments.get(&(of, index))?;
        (found.hash == *hash).then(|| found.bytes.clone())
    }

    /// Keeps one that was checked.
    pub(super) fn keep(&self, of: Rendition, index: usize, hash: [u8; 32], bytes: Bytes) {
        let mut inner = self.lock();
        inner.bytes += bytes.len() as u64;
        if let Some((_, before)) = inner.segments.push((of, index), Segment { hash, bytes }) {
            inner.bytes -= before.bytes.len() as u64;
        }
        while inner.bytes > self.bytes_max {
            let Some((_, oldest)) = inner.segments.pop_lru() else { break };
            inner.bytes -= oldest.bytes.len() as u64;
        }
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jam_proto::ids::TrackId;

    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_other_bytes_are_not_found() {
        let hot = Hot::new(20);
        let of = Rendition { track: TrackId([1; 32]), kbps: 0 };
        let bytes = || Bytes::from_static(&[0; 8]);
        hot.keep(of, 0, [0; 32], bytes());
        hot.keep(of, 1, [1; 32], bytes());
        assert!(hot.find(of, 0, &[0; 32]).is_some());
        hot.keep(of, 2, [2; 32], bytes());
        assert!(hot.find(of, 1, &[1; 32]).is_none());
        assert!(hot.find(of, 0, &[0; 32]).is_some());
        assert!(hot.find(of, 2, &[9; 32]).is_none());
        assert_eq!(hot.bytes(), 16);
        hot.keep(of, 2, [3; 32], bytes());
        assert_eq!(hot.bytes(), 16);
    }
}
