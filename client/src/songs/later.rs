//! Errands that failed, and when each is tried again: later each time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::plan::Errand;
use crate::connection::Backoff;

const PAUSE_MAX: Duration = Duration::from_secs(3);

/// What waits for another try.
#[derive(Debug, Default)]
pub(super) struct Later(BTreeMap<Errand, Waiting>);

#[derive(Debug)]
struct Waiting {
    until: Instant,
    backoff: Backoff,
    /// The song's own trouble, not that of the line.
    is_lasting: bool,
}

impl Later {
    /// An errand failed. Whether this is the first that is heard of a lasting trouble.
    pub(super) fn failed(&mut self, errand: Errand, now: Instant, is_lasting: bool) -> bool {
        let waiting = self.0.entry(errand).or_insert_with(|| Waiting {
            until: now,
            backoff: Backoff::default(),
            is_lasting: false,
        });
        let is_new = is_lasting && !waiting.is_lasting;
        waiting.until = now + waiting.backoff.next_pause(PAUSE_MAX);
        waiting.is_lasting = is_lasting;
        is_new
    }

    /// It was done, or there is nothing left to do.
    pub(super) fn done(&mut self, errand: Errand) {
        self.0.remove(&errand);
    }

    /// Whether it is to be left alone for now.
    pub(super) fn waits(&self, errand: Errand, now: Instant) -> bool {
        self.0.get(&errand).is_some_and(|waiting| waiting.until > now)
    }

    /// Errands that wait for what may never come: nothing else has to wait for them.
    pub(super) fn lasting(&self, now: Instant) -> impl Iterator<Item = Errand> {
        let lasting =
            self.0.iter().filter(move |(_, waiting)| waiting.is_lasting && waiting.until > now);
        lasting.map(|(errand, _)| *errand)
    }

    /// When the next one may be tried again.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|waiting| waiting.until).filter(|until| *until > now).min()
    }

    /// Forgets errands for songs that nobody wants any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(Errand) -> bool) {
        self.0.retain(|errand, _| wanted(*errand));
    }
}

#[cfg(test)]
mod tests {
    use jam_proto::ids::TrackId;

    use super::*;

    #[test]
    fn each_waits_for_itself_longer_each_time_and_a_trouble_is_told_once() {
        let (gone, late) =
            (Errand::Manifest(TrackId([1; 32]), 0), Errand::Segment(TrackId([2; 32]), 0, 3));
        let mut later = Later::default();
        let now = Instant::now();
        assert!(later.failed(gone, now, true));
        assert!(!later.failed(gone, now, true));
        assert!(!later.failed(late, now, false));
        assert!(later.waits(gone, now) && later.waits(late, now));
        assert!(!later.waits(late, now + PAUSE_MAX));
        assert_eq!(later.lasting(now).collect::<Vec<_>>(), [gone]);
        assert!(later.next(now).is_some_and(|until| until <= now + PAUSE_MAX));
        assert_eq!(later.next(now + PAUSE_MAX), None);

        for _ in 0..10 {
            later.failed(late, now, false);
        }
        assert!(later.waits(late, now + PAUSE_MAX / 3));
        later.done(late);
        assert!(!later.waits(late, now));
        later.retain(|errand| errand.track() != gone.track());
        assert!(!later.waits(gone, now));
    }
}
