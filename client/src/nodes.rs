//! The nodes that a listener knows: the servers it was given, and those that they told it of since.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jam_world::first_success;
use tokio::time::Instant;

use crate::connection::{Address, Dialer, Door, NoAnswer};

/// A node that was not up to date is asked after the others for so long.
const SHUN_FOR: Duration = Duration::from_secs(10);

/// Shared by all that needs any node.
pub struct Nodes {
    dialer: Dialer,
    addresses: ArcSwap<Vec<Address>>,
    next: AtomicUsize,
    /// Nodes that were not up to date, with when.
    shunned: Mutex<BTreeMap<Address, Instant>>,
}

impl Nodes {
    /// Starting at a random one, so that many listeners spread over the nodes.
    pub fn new(dialer: Dialer, addresses: Vec<Address>) -> Arc<Self> {
        let next = AtomicUsize::new(rand::random_range(0..addresses.len().max(1)));
        Arc::new(Self {
            dialer,
            addresses: ArcSwap::from_pointee(addresses),
            next,
            shunned: Mutex::default(),
        })
    }

    /// All of them.
    pub fn all(&self) -> Arc<Vec<Address>> {
        self.addresses.load_full()
    }

    /// One more was heard of.
    pub fn learn(&self, address: Address) {
        if self.addresses.load().contains(&address) {
            return;
        }
        self.addresses.rcu(|known| {
            let mut more = Vec::clone(known);
            if !more.contains(&address) {
                more.push(address.clone());
            }
            more
        });
    }

    /// How connections are opened.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// All of them, each time beginning with another one. Those that were not up to date just now come last.
    pub fn in_turn(&self) -> Vec<Address> {
        let mut order = Vec::clone(&self.all());
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        if !order.is_empty() {
            let first = turn % order.len();
            order.rotate_left(first);
        }
        let now = Instant::now();
        let mut shunned = self.shunned();
        shunned.retain(|_, since| now.saturating_duration_since(*since) < SHUN_FOR);
        order.sort_by_key(|address| shunned.contains_key(address));
        order
    }

    /// This one is not up to date.
    pub fn shun(&self, address: &Address) {
        self.shunned().insert(address.clone(), Instant::now());
    }

    /// A connection to one of them, each time to another. One that does not answer does not hold up the rest.
    ///
    /// # Errors
    /// If none answered: what each said.
    pub async fn dial_next(&self) -> Result<Door, Vec<NoAnswer>> {
        let order = self.in_turn();
        let attempts: Vec<_> = order.iter().map(|address| self.dialer.dial(address)).collect();
        first_success(attempts).await
    }

    fn shunned(&self) -> MutexGuard<'_, BTreeMap<Address, Instant>> {
        self.shunned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jam_world::World;

    use super::*;
    use crate::connection::Bearer;

    #[test]
    fn each_one_has_its_turn_and_the_outdated_come_last() {
        let addresses: Vec<Address> = (1..=3)
            .map(|port| Address::parse(&format!("127.0.0.1:{port}")).expect("an address"))
            .collect();
        let nodes = Nodes::new(Dialer::new(World::real(), Bearer::default()), addresses.clone());
        let firsts: Vec<Address> = (0..3).map(|_| nodes.in_turn().swap_remove(0)).collect();
        assert!(addresses.iter().all(|address| firsts.contains(address)), "{firsts:?}");
        nodes.shun(&addresses[1]);
        for _ in 0..3 {
            let order = nodes.in_turn();
            assert_eq!((order.len(), &order[2]), (3, &addresses[1]));
        }
    }
}
