//! What is under way in one direction of a connection, and when it may leave. Pure: counts of bytes and times go in.

use std::collections::VecDeque;

use super::way::{Gate, Way};
use crate::seed::Stream;

/// How much is taken from a source at once, and kept if nothing holds bytes back.
pub(super) const READ_BYTES: usize = 64 << 10;

/// How much is kept at most in each direction of a connection while something holds bytes back. Then nothing more is
/// taken from the source, and TCP's own window closes.
pub const HELD_BYTES_MAX: usize = 1 << 20;

/// The same for the number of reads, which cost memory too.
const PARCELS_MAX: usize = 1 << 14;

/// Bandwidth is given out in pieces of an Ethernet frame's payload, so that a slow link trickles.
const FRAME_BYTES: usize = 1448;

/// Between slices. Without a pause the other side's kernel would put them together again.
const SLICE_GAP_NS: u64 = 1_000_000;

/// How late a piece may leave without the next ones being later, too: timers are late by a millisecond or two. More
/// than that (the other side did not read, nothing was sent) is not caught up with. Slices catch up with nothing.
const LATE_NS: u64 = 10_000_000;

const MS_NS: u64 = 1_000_000;

/// The bytes of one read, or, if there are none, the end of all bytes.
struct Parcel {
    bytes: usize,
    came_ns: u64,
    due_ns: u64,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// So many bytes may leave in one piece.
    Pass(usize),
    /// All bytes have left; the end may.
    End,
    /// Nothing before this time.
    At(u64),
    /// Nothing before something comes or the way changes.
    Nothing,
}

/// Bytes under way. Times are nanoseconds since any instant that all connections of a link share.
pub(super) struct Transit {
    way: Way,
    draws: Stream,
    stalls_seed: u64,
    parcels: VecDeque<Parcel>,
    held: usize,
    /// When the way is free for the next piece.
    free_ns: u64,
}

impl Transit {
    /// Nothing, on a healthy way. Jitter is drawn from `draws`; stalls depend on their seed only.
    pub fn new(draws: Stream, stalls_seed: u64) -> Self {
        let way = Way::default();
        Self { way, draws, stalls_seed, parcels: VecDeque::new(), held: 0, free_ns: 0 }
    }

    /// The way as it is now.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// The way changes, for what is under way, too: it is treated as if the way had been so when it came.
    pub fn set_way(&mut self, way: &Way) {
        if self.way == *way {
            return;
        }
        self.way = way.clone();
        self.free_ns = 0;
        let mut due_ns = 0;
        for parcel in &mut self.parcels {
            due_ns = due(&self.way, &mut self.draws, parcel.came_ns).max(due_ns);
            parcel.due_ns = due_ns;
        }
    }

    /// Bytes came.
    pub fn push(&mut self, now_ns: u64, bytes: usize) {
        debug_assert!(bytes > 0, "none would be the end");
        self.held += bytes;
        self.append(now_ns, bytes);
    }

    /// The source has ended: nothing will come.
    pub fn end(&mut self, now_ns: u64) {
        self.append(now_ns, 0);
    }

    fn append(&mut self, came_ns: u64, bytes: usize) {
        let due_ns = due(&self.way, &mut self.draws, came_ns);
        // Nothing overtakes.
        let due_ns = self.parcels.back().map_or(due_ns, |last| last.due_ns.max(due_ns));
        self.parcels.push_back(Parcel { bytes, came_ns, due_ns });
    }

    /// Bytes under way.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many bytes may be taken from the source.
    pub fn room(&self) -> usize {
        let max = if self.way.is_prompt() { READ_BYTES } else { HELD_BYTES_MAX };
        if self.parcels.len() < PARCELS_MAX { max.saturating_sub(self.held) } else { 0 }
    }

    /// What may leave.
    pub fn next(&self, now_ns: u64) -> Next {
        let Some(first) = self.parcels.front() else { return Next::Nothing };
        if self.way.gate != Gate::Open {
            return Next::Nothing;
        }
        if let Some(over_ns) = stalled_until(&self.way, self.stalls_seed, now_ns) {
            return Next::At(over_ns);
        }
        let may_ns = first.due_ns.max(self.free_ns);
        if may_ns > now_ns {
            return Next::At(may_ns);
        }
        if first.bytes == 0 {
            return Next::End;
        }
        match self.piece() {
            Some(piece) => Next::Pass(first.bytes.min(piece)),
            None => Next::Pass(
                self.parcels
                    .iter()
                    .take_while(|parcel| parcel.due_ns <= now_ns)
                    .map(|parcel| parcel.bytes)
                    .sum(),
            ),
        }
    }

    /// Bytes left, not more than [`Next::Pass`] said.
    pub fn left(&mut self, now_ns: u64, bytes: usize) {
        self.held -= bytes;
        if self.piece().is_some() {
            let late_ns = if self.way.slice_bytes > 0 { 0 } else { LATE_NS };
            let began_ns = self.free_ns.max(now_ns.saturating_sub(late_ns));
            self.free_ns = began_ns + self.takes_ns(bytes);
        }
        let mut left = bytes;
        while let Some(first) = self.parcels.front_mut() {
            let of_first = first.bytes.min(left);
            first.bytes -= of_first;
            left -= of_first;
            if first.bytes > 0 || of_first == 0 {
                // `of_first` is 0 at the end, which stays, and once all is counted.
                break;
            }
            self.parcels.pop_front();
        }
    }

    /// Everything is forgotten: how many bytes, and whether anything, the end included.
    pub fn clear(&mut self) -> (usize, bool) {
        let some = !self.parcels.is_empty();
        self.parcels.clear();
        (std::mem::take(&mut self.held), some)
    }

    /// How large a piece may be; none if that does not matter.
    fn piece(&self) -> Option<usize> {
        let slice = usize::try_from(self.way.slice_bytes).unwrap_or(usize::MAX);
        match (slice, self.way.bytes_per_sec) {
            (0, 0) => None,
            (slice, 0) => Some(slice),
            (0, _) => Some(FRAME_BYTES),
            (slice, _) => Some(slice.min(FRAME_BYTES)),
        }
    }

    /// How long the way is taken by a piece.
    fn takes_ns(&self, bytes: usize) -> u64 {
        let gap_ns = if self.way.slice_bytes > 0 { SLICE_GAP_NS } else { 0 };
        let bytes_ns = (bytes as u64).saturating_mul(1_000_000_000);
        gap_ns.max(bytes_ns.checked_div(self.way.bytes_per_sec).unwrap_or(0))
    }
}

/// When what came has arrived.
fn due(way: &Way, draws: &mut Stream, came_ns: u64) -> u64 {
    if way.is_prompt() {
        // At any time: nobody reads a clock then.
        return 0;
    }
    let jitter_ns = match way.jitter_ms {
        0 => 0,
        jitter_ms => draws.below(jitter_ms.saturating_mul(MS_NS)),
    };
    came_ns.saturating_add(way.delay_ms.saturating_mul(MS_NS)).saturating_add(jitter_ns)
}

/// The end of the stall, if this is in one. Each period has one, at a moment that depends on nothing but the seed and
/// the period's number: all connections of a link stall together, and no state is needed.
fn stalled_until(way: &Way, seed: u64, now_ns: u64) -> Option<u64> {
    let every_ns = way.stall_every_ms.saturating_mul(MS_NS);
    let for_ns = way.stall_ms.saturating_mul(MS_NS).min(every_ns);
    if for_ns == 0 {
        return None;
    }
    let period = now_ns / every_ns;
    let offset = Stream::new(seed.wrapping_add(period), "stall").below(every_ns - for_ns + 1);
    let from_ns = period * every_ns + offset;
    (from_ns..from_ns + for_ns).contains(&now_ns).then_some(from_ns + for_ns)
}

#[cfg(test)]
mod tests;
