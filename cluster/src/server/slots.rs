//! Who has a place at a door, and who makes room. Pure: it is told what time it is.
//!
//! There are places for strangers, who have not shown yet that they may come in, for guests, who have, and for nodes. None of
//! them can take the places of the others.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

/// Of strangers. Each of them goes within seconds, one way or the other.
pub const STRANGERS_MAX: usize = 1024;
/// Of guests. A listener has three connections: for events, time and songs.
const GUESTS_MAX: usize = 6912;
/// Of nodes. Each has about six to each other one.
const NODES_MAX: usize = 256;
/// Strangers of one address, unless a flag says otherwise. A client is one for a round trip or two, so this is for a few
/// hundred people behind one address who come in the same second.
const STRANGERS_PER_ADDRESS: usize = 64;
/// A stranger that has been here for so long makes room for a newcomer when there is none.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// What a connection has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nothing yet.
    Stranger,
    /// What clients must show.
    Guest,
    /// What nodes must show.
    Node,
}

/// Nobody else may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What one line gets: an IPv4 address, or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line(IpAddr);

impl Line {
    fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                Self(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into())
            }
            address => Self(address),
        }
    }
}

/// The book of a door. `V` is what a stranger is sent away by.
#[derive(Debug)]
pub struct Slots<V> {
    per_address: Option<usize>,
    next: u64,
    /// In the order in which they came.
    strangers: BTreeMap<u64, Stranger<V>>,
    lines: BTreeMap<Line, usize>,
    guests: usize,
    nodes: usize,
}

#[derive(Debug)]
struct Stranger<V> {
    line: Line,
    came: Instant,
    visit: V,
}

/// A place in the book.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot {
    number: u64,
    who: Who,
}

impl Slot {
    /// What it was admitted as.
    pub fn who(&self) -> Who {
        self.who
    }
}

impl<V> Slots<V> {
    /// An empty book. `per_address`: how many strangers one address may have; `None` is the default, of which this machine itself is
    /// free.
    pub fn new(per_address: Option<usize>) -> Self {
        Self {
            per_address,
            next: 0,
            strangers: BTreeMap::new(),
            lines: BTreeMap::new(),
            guests: 0,
            nodes: 0,
        }
    }

    /// When there is room for one more stranger, whose address is not known yet.
    pub fn room_at(&self, now: Instant) -> Instant {
        match self.strangers.first_key_value() {
            Some((_, oldest)) if self.strangers.len() >= STRANGERS_MAX => oldest.came + UNDISTURBED,
            _ => now,
        }
    }

    /// A stranger comes. Answers with its place, and with who must go for it.
    ///
    /// # Errors
    /// Its address has its share of strangers.
    pub fn arrive(
        &mut self,
        from: SocketAddr,
        visit: V,
        now: Instant,
    ) -> Result<(Slot, Option<V>), Full> {
        let line = Line::of(from);
        let share = match self.per_address {
            Some(share) => share,
            // All of a machine's own programs have one address.
            None if line.0.is_loopback() => usize::MAX,
            None => STRANGERS_PER_ADDRESS,
        };
        let present = self.lines.get(&line).copied().unwrap_or(0);
        if present >= share {
            return Err(Full);
        }
        let mut goes = None;
        if self.strangers.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = self.strangers.pop_first()
        {
            self.leave_line(oldest.line);
            goes = Some(oldest.visit);
        }
        *self.lines.entry(line).or_default() += 1;
        let number = self.next;
        self.next += 1;
        self.strangers.insert(number, Stranger { line, came: now, visit });
        Ok((Slot { number, who: Who::Stranger }, goes))
    }

    /// It has shown who it is. A guest may turn out to be a node; nobody becomes less than it was.
    ///
    /// # Errors
    /// There is no place for one more of them.
    pub fn admit(&mut self, slot: &mut Slot, who: Who) -> Result<(), Full> {
        match (slot.who, who) {
            (Who::Node, _) | (_, Who::Stranger) | (Who::Guest, Who::Guest) => return Ok(()),
            (_, Who::Guest) if self.guests >= GUESTS_MAX => return Err(Full),
            (_, Who::Node) if self.nodes >= NODES_MAX => return Err(Full),
            (_, Who::Guest) => self.guests += 1,
            (_, Who::Node) => self.nodes += 1,
        }
        self.give_up(slot);
        slot.who = who;
        Ok(())
    }

    /// It has gone.
    pub fn leave(&mut self, slot: &Slot) {
        self.give_up(slot);
    }

    fn give_up(&mut self, slot: &Slot) {
        match slot.who {
            // Gone already if it made room.
            Who::Stranger => {
                if let Some(stranger) = self.strangers.remove(&slot.number) {
                    self.leave_line(stranger.line);
                }
            }
            Who::Guest => self.guests -= 1,
            Who::Node => self.nodes -= 1,
        }
    }

    fn leave_line(&mut self, line: Line) {
        if let Entry::Occupied(mut present) = self.lines.entry(line) {
            *present.get_mut() -= 1;
            if *present.get() == 0 {
                present.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str) -> SocketAddr {
        (ip.parse::<IpAddr>().expect("an address"), 4000).into()
    }

    fn ip(number: usize) -> SocketAddr {
        address(&format!("10.0.{}.{}", number / 250, number % 250))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_share_of_strangers() {
        let now = Instant::now();
        for (given, first, same, other, share) in [
            (None, "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", 64),
            (None, "2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1", 64),
            (Some(3), "127.0.0.1", "127.0.0.1", "127.0.0.2", 3),
        ] {
            let mut slots = Slots::new(given);
            let mut held: Vec<Slot> = (0..share)
                .map(|_| slots.arrive(address(first), (), now).expect("its share").0)
                .collect();
            assert_eq!(slots.arrive(address(same), (), now), Err(Full), "{same}");
            assert!(slots.arrive(address(other), (), now).is_ok(), "{other}");
            slots.admit(&mut held[0], Who::Guest).expect("a place");
            assert!(slots.arrive(address(same), (), now).is_ok(), "a guest is no stranger");
            slots.leave(&held[1]);
            assert!(slots.arrive(address(same), (), now).is_ok(), "one has left");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn this_machine_may_fill_the_place_for_strangers() {
        let mut slots = Slots::new(None);
        let now = Instant::now();
        for _ in 0..STRANGERS_MAX {
            assert!(slots.arrive(address("127.0.0.1"), (), now).is_ok());
        }
        assert_eq!(slots.arrive(address("127.0.0.1"), (), now).map(|(_, goes)| goes), Ok(Some(())));
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_first_makes_room_and_guests_stay() {
        let mut slots = Slots::new(None);
        let now = Instant::now();
        let (mut guest, _) = slots.arrive(ip(0), 0, now).expect("a place");
        slots.admit(&mut guest, Who::Guest).expect("a place");
        let came: Vec<Slot> = (1..=STRANGERS_MAX)
            .map(|number| slots.arrive(ip(number), number, now).expect("a place").0)
            .collect();
        let later = now + UNDISTURBED / 2;
        assert_eq!(slots.room_at(later), now + UNDISTURBED, "nobody is sent away at once");
        let (_, goes) = slots.arrive(ip(2000), 2000, now + UNDISTURBED).expect("a place");
        assert_eq!(goes, Some(1));
        // The one that made room closes its connection later.
        slots.leave(&came[0]);
        assert_eq!(slots.strangers.len(), STRANGERS_MAX);
        slots.leave(&came[1]);
        assert_eq!(slots.room_at(later), later);
    }

    #[tokio::test(start_paused = true)]
    async fn guests_and_nodes_have_places_of_their_own() {
        let mut slots = Slots::new(None);
        let now = Instant::now();
        let mut enter = |who| {
            let (mut slot, _) = slots.arrive(ip(1), (), now).expect("a place");
            let admitted = slots.admit(&mut slot, who);
            if admitted.is_err() {
                slots.leave(&slot);
            }
            admitted.map(|()| slot)
        };
        let guests: Vec<Slot> = (0..GUESTS_MAX).map(|_| enter(Who::Guest).expect("in")).collect();
        assert_eq!(enter(Who::Guest), Err(Full));
        let mut nodes: Vec<Slot> = (0..NODES_MAX).map(|_| enter(Who::Node).expect("in")).collect();
        assert_eq!(enter(Who::Node), Err(Full));
        slots.admit(&mut nodes[0], Who::Guest).expect("it stays a node");
        slots.leave(&guests[0]);
        slots.leave(&nodes[0]);
        assert_eq!((slots.guests, slots.nodes), (GUESTS_MAX - 1, NODES_MAX - 1));
    }
}
