//! Where connections come in: the book of its places, for all who look at it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::slots::{Full, Slot, Slots, Who};
use super::visit::{End, Visit};

/// A door.
pub struct Door {
    slots: Mutex<Slots<Arc<Visit>>>,
    left: Notify,
}

impl Door {
    /// With nobody in. `strangers_per_address`: as [`Slots::new`] has it.
    pub fn new(strangers_per_address: Option<usize>) -> Self {
        Self { slots: Mutex::new(Slots::new(strangers_per_address)), left: Notify::new() }
    }

    /// Returns when one more may come.
    pub async fn room(&self) {
        loop {
            let now = Instant::now();
            let at = self.slots().room_at(now);
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

    fn slots(&self) -> MutexGuard<'_, Slots<Arc<Visit>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
