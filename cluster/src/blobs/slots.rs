//! Who may send songs at one time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Each takes a thread that writes, and at most 1.5 MiB of memory. More wait their turn.
const AT_ONCE: usize = 32;
/// Of one origin: the others find room whatever it does.
const AT_ONCE_PER_ORIGIN: usize = 8;

/// Where uploads come from, as far as is known: an IPv4 address, or the first 64 bits of an IPv6 one.
pub type Origin = Option<IpAddr>;

/// Slots for uploads.
#[derive(Debug)]
pub struct Slots {
    all: Arc<Semaphore>,
    by_origin: Mutex<BTreeMap<Origin, Weak<Semaphore>>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    /// Keeps the origin's own count.
    _origin: Arc<Semaphore>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(AT_ONCE)), by_origin: Mutex::default() }
    }
}

impl Slots {
    /// Waits for a slot.
    pub async fn take(&self, origin: Origin) -> Slot {
        let own = self.of(origin);
        let acquire = async |semaphore: &Arc<Semaphore>| {
            semaphore.clone().acquire_owned().await.expect("nobody closes the semaphore")
        };
        // First its own: who waits for itself keeps nothing from others.
        let _own = acquire(&own).await;
        Slot { _all: acquire(&self.all).await, _own, _origin: own }
    }

    fn of(&self, origin: Origin) -> Arc<Semaphore> {
        let mut origins = self.by_origin.lock().unwrap_or_else(PoisonError::into_inner);
        origins.retain(|_, slots| slots.strong_count() > 0);
        if let Some(slots) = origins.get(&origin).and_then(Weak::upgrade) {
            return slots;
        }
        let slots = Arc::new(Semaphore::new(AT_ONCE_PER_ORIGIN));
        origins.insert(origin, Arc::downgrade(&slots));
        slots
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_origin_leaves_slots_to_the_others() {
        let slots = Slots::default();
        let origin = |n| Some(IpAddr::from([192, 0, 2, n]));
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE_PER_ORIGIN {
            taken.push(slots.take(origin(1)).await);
        }
        assert!(slots.take(origin(1)).now_or_never().is_none(), "it has all that it may");
        drop(slots.take(origin(2)).now_or_never().expect("another has its own"));
        taken.pop();
        assert!(slots.take(origin(1)).now_or_never().is_some());
        taken.clear();
        drop(slots.take(origin(3)).await);
        drop(slots.of(origin(4)));
        assert_eq!(slots.by_origin.lock().expect("no panic").len(), 1, "no more than are in use");
    }
}
