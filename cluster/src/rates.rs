//! How fast each session may send commands to this node.
//!
//! A person sends a few in a second, a script that queues a library some hundreds, and a client that waits for each answer
//! as many as the log takes one after another. Above all of these is only who sends without waiting. What is refused here
//! never reached the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jam_proto::ids::SessionId;
use jam_proto::rate::Rate;
use tokio::time::Instant;

use crate::refusal::Refusal;

/// A thousand in a second, and two thousand at once.
const COMMANDS: Rate = Rate { every_ns: 1_000_000, burst: 2000 };
/// So many sessions are kept without a look at which of them still matter.
const SESSIONS_MIN: usize = 1024;

/// When each session's bucket is full again. One that is full needs no place.
#[derive(Debug)]
pub struct Rates {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    full_ns: BTreeMap<SessionId, i64>,
    /// With so many sessions, those whose buckets are full are dropped.
    sweep_at: usize,
}

impl Default for Rates {
    fn default() -> Self {
        let inner = Inner { full_ns: BTreeMap::new(), sweep_at: SESSIONS_MIN };
        Self { began: Instant::now(), inner: Mutex::new(inner) }
    }
}

impl Rates {
    /// Counts a command of a session.
    ///
    /// # Errors
    /// [`Refusal::TooFast`] if there were too many.
    pub fn take(&self, session: SessionId, now: Instant) -> Result<(), Refusal> {
        let now_ns = i64::try_from(now.saturating_duration_since(self.began).as_nanos());
        let now_ns = now_ns.unwrap_or(i64::MAX);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.full_ns.len() >= inner.sweep_at {
            inner.full_ns.retain(|_, full_ns| *full_ns > now_ns);
            inner.sweep_at = SESSIONS_MIN.max(2 * inner.full_ns.len());
        }
        let full_ns = inner.full_ns.entry(session).or_insert(now_ns);
        match COMMANDS.take(*full_ns, now_ns) {
            Ok(full) => *full_ns = full,
            Err(wait_ns) => {
                // In whole milliseconds, and not before one is there.
                let wait = Duration::from_nanos(wait_ns.unsigned_abs()).as_millis() as u64 + 1;
                return Err(Refusal::TooFast { wait_ms: wait });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u128) -> SessionId {
        SessionId(number.to_be_bytes())
    }

    #[test]
    fn who_sends_without_waiting_is_told_to_wait_and_nobody_else() {
        let (rates, now) = (Rates::default(), Instant::now());
        for _ in 0..COMMANDS.burst {
            assert_eq!(rates.take(session(1), now), Ok(()));
        }
        let refused = rates.take(session(1), now);
        let Err(Refusal::TooFast { wait_ms }) = refused else { panic!("{refused:?}") };
        assert_eq!(rates.take(session(2), now), Ok(()));
        assert_eq!(rates.take(session(1), now + Duration::from_millis(wait_ms)), Ok(()));
    }

    #[test]
    fn many_in_flight_from_many_sessions_are_not_refused() {
        let (rates, begin) = (Rates::default(), Instant::now());
        // 256 sessions that wait for each answer, 20,000 commands in a second, for a minute.
        for number in 0..1_200_000_u32 {
            let now = begin + number * Duration::from_micros(50);
            assert_eq!(rates.take(session(u128::from(number % 256)), now), Ok(()));
        }
    }

    #[test]
    fn made_up_sessions_are_not_kept() {
        let (rates, begin) = (Rates::default(), Instant::now());
        for number in 0..100_000_u32 {
            let now = begin + number * Duration::from_micros(10);
            assert_eq!(rates.take(session(u128::from(number)), now), Ok(()));
        }
        let kept = rates.inner.lock().expect("no panic").full_ns.len();
        assert!(kept <= 2 * SESSIONS_MIN, "{kept}");
    }
}
