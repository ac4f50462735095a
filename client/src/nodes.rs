//! The nodes that a listener knows: the servers it was given, and those that they told it of since.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::connection::{Address, Dialer, Door};

/// Shared by all that needs any node.
pub struct Nodes {
    dialer: Dialer,
    addresses: ArcSwap<Vec<Address>>,
    next: AtomicUsize,
}

impl Nodes {
    /// Starting at a random one, so that many listeners spread over the nodes.
    pub fn new(dialer: Dialer, addresses: Vec<Address>) -> Arc<Self> {
        let next = AtomicUsize::new(rand::random_range(0..addresses.len().max(1)));
        Arc::new(Self { dialer, addresses: ArcSwap::from_pointee(addresses), next })
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

    /// A connection to one of them, each time to another.
    pub async fn dial_next(&self) -> Result<Door, String> {
        let all = self.all();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let address = all.get(turn % all.len().max(1)).ok_or("no node is known")?;
        self.dialer.dial(address).await
    }
}
