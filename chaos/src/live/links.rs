//! The links of a real cluster: each pair of a dialler (a node, a client) and a target (a node) has a TCP proxy of its
//! own, which breaks each of the two directions by itself. It needs no root.
//!
//! ```no_run
//! # use jam_chaos::live::links::{End, Link, Way};
//! # async fn story(node: std::net::SocketAddr) -> std::io::Result<()> {
//! let link = Link::open("n1-n2", node, 7).await?;
//! println!("n1 dials {}", link.address());
//! link.set(Way::blackhole(), Way::default()); // n2 hears nothing of n1
//! link.set(Way::default(), Way::delay(50, 20));
//! link.half_open(End::Target); // n2 forgets its connections, n1 does not know
//! link.heal();
//! # Ok(()) }
//! ```
//!
//! A healthy link is as good as none: it hands on bytes, FIN and RST as they come. Where a broken one differs from a
//! broken network:
//!
//! - The dialler's kernel finds the link's listener, always: a connection is made at once, and then refused, silent or
//!   served. The target's kernel is asked once both directions pass.
//! - A blackhole swallows bytes that a network would lose and TCP repeat. A connection that lost some (or its end) is
//!   dead until both directions are no blackholes, and is then reset. One that has lost none goes on.
//! - Acknowledgements are no bytes: one direction works for ever while the other is a blackhole.
//! - RST passes in the direction of bytes, late, held and swallowed like them.

mod connection;
mod lane;
mod tally;
mod transit;
mod way;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use connection::Road;
use tally::Count;

pub use tally::{Bytes, Tally};
pub use transit::HELD_BYTES_MAX;
pub use way::{Gate, Way};

/// One of the two that a connection connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Who asked for it.
    Dialler,
    /// Who was asked.
    Target,
}

impl End {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Target,
            Self::Target => Self::Dialler,
        }
    }
}

/// What a link's connections are told.
#[derive(Clone, Debug, Default)]
struct Orders {
    there: Way,
    back: Way,
    refuse: bool,
    closed: bool,
    /// Who is gone of the connections before the last [`Link::half_open`]; none once healed.
    gone: Option<End>,
    /// How often, so that nothing is missed by who looks late.
    resets: u64,
    half_opens: u64,
    heals: u64,
}

impl Orders {
    /// No direction is a blackhole.
    fn passes(&self) -> bool {
        self.there.gate != Gate::Blackhole && self.back.gate != Gate::Blackhole
    }
}

/// A handle of a link. The link is closed with its last handle.
#[derive(Clone)]
pub struct Link {
    road: Arc<Road>,
    address: SocketAddr,
    orders: Arc<watch::Sender<Orders>>,
}

impl Link {
    /// A healthy link to a target, which may be down. Its port is a free one of 127.0.0.1. What is drawn depends on the
    /// seed and the name; when, on the machine.
    pub async fn open(name: &str, to: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (name, epoch, count) = (name.to_owned(), Instant::now(), Count::default());
        let road = Arc::new(Road { name, to, seed, epoch, count });
        let (sender, receiver) = watch::channel(Orders::default());
        tokio::spawn(connection::listen(listener, road.clone(), receiver));
        Ok(Self { road, address, orders: Arc::new(sender) })
    }

    /// What it was called.
    pub fn name(&self) -> &str {
        &self.road.name
    }

    /// Where to dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it leads.
    pub fn target(&self) -> SocketAddr {
        self.road.to
    }

    /// Both directions, from the dialler to the target and back, are so from now on.
    pub fn set(&self, there: Way, back: Way) {
        self.order(|orders| (orders.there, orders.back) = (there, back));
    }

    /// From the dialler to the target, from now on.
    pub fn set_there(&self, there: Way) {
        self.order(|orders| orders.there = there);
    }

    /// From the target to the dialler, from now on.
    pub fn set_back(&self, back: Way) {
        self.order(|orders| orders.back = back);
    }

    /// Both directions, as ordered.
    pub fn ways(&self) -> (Way, Way) {
        let orders = self.orders.borrow();
        (orders.there.clone(), orders.back.clone())
    }

    /// New connections are reset at once, or not.
    pub fn refuse(&self, refuse: bool) {
        self.order(|orders| orders.refuse = refuse);
    }

    /// All connections are reset, on both sides, whatever the ways are. New ones are fine.
    pub fn reset(&self) {
        self.order(|orders| orders.resets += 1);
    }

    /// One end of all connections vanishes: its socket sees a reset. The other is not told, and what it sends is
    /// swallowed, until [`Link::heal`] or [`Link::reset`] resets it, too. New connections are fine.
    pub fn half_open(&self, gone: End) {
        self.order(|orders| {
            orders.gone = Some(gone);
            orders.half_opens += 1;
        });
    }

    /// All is well: ways, new connections, and what is half-open or has lost bytes is reset.
    pub fn heal(&self) {
        self.order(|orders| {
            (orders.there, orders.back) = (Way::default(), Way::default());
            orders.refuse = false;
            orders.gone = None;
            orders.heals += 1;
        });
    }

    /// Resets all connections and stops listening, for all handles and for good.
    pub fn close(&self) {
        self.order(|orders| orders.closed = true);
    }

    /// What went over it so far.
    pub fn tally(&self) -> Tally {
        self.road.count.tally()
    }

    fn order(&self, order: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(order);
    }
}

#[cfg(test)]
mod tests;
