//! How much of a file may be read in one go.
//!
//! Symphonia keeps in memory what it reads before the first packet (pictures, comments, an MP4's tables), and then a packet at a
//! time. A file may say that any of these has 2 GiB; a node has not. What is passed over by a seek does not count.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::io::MediaSource;

use crate::Source;

/// Bytes before the first packet, or to the next one. Covers of 20 MB exist, and six hours of the shortest Opus packets in an
/// MP4 have tables of 35 MB.
pub(crate) const AT_ONCE_MIB_MAX: u64 = 64;
const UNLIMITED: u64 = u64::MAX;

/// What may still be read of a [`Source`].
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    /// Puts a source under an allowance, which limits nothing yet.
    pub(crate) fn over(source: Source) -> (Source, Self) {
        let allowance = Self(Arc::new(AtomicU64::new(UNLIMITED)));
        (Box::new(Limited { source, allowance: allowance.clone() }), allowance)
    }

    /// Does something that reads; none if it was too much.
    pub(crate) fn within<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        self.0.store(AT_ONCE_MIB_MAX << 20, Ordering::Relaxed);
        let done = read();
        let left = self.0.swap(UNLIMITED, Ordering::Relaxed);
        (left > 0).then_some(done)
    }
}

struct Limited {
    source: Source,
    allowance: Allowance,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.0.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("too much was read at once"));
        }
        let read = self.source.read(buffer)?;
        if left != UNLIMITED {
            self.allowance.0.store(left.saturating_sub(read as u64), Ordering::Relaxed);
        }
        Ok(read)
    }
}

impl Seek for Limited {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

impl MediaSource for Limited {
    fn is_seekable(&self) -> bool {
        self.source.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.source.byte_len()
    }
}
