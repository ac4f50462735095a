//! Where connections come in: the book of its places, for all who look at it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::bucket::Bucket;
use super::slots::{Full, Slot, Slots, Who};
use super::visit::{End, Visit};

/// So many connections are accepted at once, and then one each so often. To begin one takes a quarter of a millisecond of the thread that
/// serves all the others: whoever opens a thousand may not hold them up for all that in one piece.
const ARRIVALS_BURST: u32 = 32;
const ARRIVAL_EVERY: Duration = Duration::from_millis(1);

/// A door.
pub struct Door {
    slots: Mutex<Slots<Arc<Visit>>>,
    arrivals: Mutex<Bucket>,
    left: Notify,
}

impl Door {
    /// With nobody in. `strangers_per_address`: as [`Slots::new`] has it.
    pub fn new(strangers_per_address: Option<usize>) -> Self {
        let arrivals = Bucket::new(ARRIVALS_BURST, ARRIVAL_EVERY, Instant::now());
        let slots = Slots::new(strangers_per_address);
        Self { slots: Mutex::new(slots), arrivals: Mutex::new(arrivals), left: Notify::new() }
    }

    /// Returns when one more may come.
    pub async fn room(&self) {
        loop {
            let now = Instant::now();
            let at = self.slots().room_at(now).max(now + self.arrivals().wait(1, now));
            if at <= now {
                return;
            }
            tokio::select! {
                () = self.left.notified() => {}
                () = sleep_until(at) => {}
            }
        }
    }

    /// One comes.
    ///
    /// # Errors
    /// Its address has its share.
    pub fn arrive(self: &Arc<Self>, from: SocketAddr) -> Result<Arc<Visit>, Full> {
        let now = Instant::now();
        self.arrivals().reserve(1, now);
        let visit = Arc::new(Visit::new(self.clone(), now));
        let (slot, goes) = self.slots().arrive(from, visit.clone(), now)?;
        visit.takes(slot);
        if let Some(goes) = goes {
            goes.end(End::MakesRoom);
        }
        Ok(visit)
    }

    /// As [`Slots::admit`]; answers with what it is then.
    pub(super) fn admit(&self, slot: &mut Slot, who: Who) -> Result<Who, Full> {
        let admitted = self.slots().admit(slot, who);
        self.left.notify_one();
        admitted.map(|()| slot.who())
    }

    /// It has gone.
    pub(super) fn leave(&self, slot: &Slot) {
        self.slots().leave(slot);
        self.left.notify_one();
    }

    fn arrivals(&self) -> MutexGuard<'_, Bucket> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, Slots<Arc<Visit>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
