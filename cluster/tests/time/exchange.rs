//! Bursts of probes, one event for each probe: `cluster/src/time/follow.rs` and `client/src/clock/link.rs` without tasks.

use jam_cluster::time::burst::{BURST, Burst as Followed};
use jam_proto::sync::Probe;
use jam_proto::time::SharedTime;
use jam_proto::wire::v1::TimeReply;

use crate::site::{Event, MILLI, NODES, SECOND, Site};

/// Of followers.
const QUICK_ROUNDS: u32 = 4;
const QUICK_EVERY_NS: i64 = 150 * MILLI;
const ASK_EVERY_NS: i64 = 20 * MILLI;
const FOLLOWER_REPLY_NS_MAX: i64 = SECOND;
/// Of listeners.
const BURST_NS_MAX: i64 = 400 * MILLI;
const LISTENER_REPLY_NS_MAX: i64 = 1500 * MILLI;
const QUICK_BURSTS: u32 = 3;
const SETTLED_AFTER: u32 = 14;

/// What a burst brought.
#[derive(Default)]
pub struct Burst {
    pub probes: Vec<Probe>,
    pub last: TimeReply,
}

/// One that asks one node at a time.
#[derive(Default)]
pub struct Asker {
    /// The node, or the listener behind the nodes.
    pub host: usize,
    pub target: usize,
    /// Counts what it began: events of an earlier turn are void.
    pub turn: u64,
    /// Waits for its next turn: new orders don't let it wait.
    pub rests: bool,
    /// Bursts to the leader on this connection.
    led_for: u32,
    wanted: usize,
    pause_ns: i64,
    began_ns: i64,
    sent_ns: i64,
    target_life: u32,
    burst: Burst,
    /// A follower's.
    followed: Followed,
    epochs: Vec<u64>,
}

impl Asker {
    /// A node that asks whoever leads, or a listener's link to one node.
    pub fn new(host: usize, target: usize) -> Self {
        Self { host, target, ..Self::default() }
    }

    fn is_follower(&self) -> bool {
        self.host < NODES
    }

    fn reply_ns_max(&self) -> i64 {
        if self.is_follower() { FOLLOWER_REPLY_NS_MAX } else { LISTENER_REPLY_NS_MAX }
    }

    /// Takes a probe; true: the burst is complete.
    fn takes(&mut self, probe: Probe, reply: TimeReply, back_ns: i64) -> bool {
        if self.is_follower() {
            return !self.followed.take(probe, &reply);
        }
        self.burst.probes.push(probe);
        self.epochs.push(reply.epoch);
        self.wanted -= 1;
        let late = back_ns - self.began_ns > BURST_NS_MAX;
        self.burst.last = reply;
        self.wanted == 0 || late
    }

    /// Of a listener, what is of the epoch of the last reply.
    fn finishes(&mut self) -> Burst {
        let Burst { probes, last } = std::mem::take(&mut self.burst);
        let of_last = probes.iter().zip(&self.epochs).filter(|(_, epoch)| **epoch == last.epoch);
        Burst { probes: of_last.map(|(probe, _)| *probe).collect(), last }
    }
}

impl Site {
    /// An asker's next turn comes after so long.
    pub fn turns_in(&mut self, asker: usize, after_ns: i64) {
        let this = &mut self.askers[asker];
        this.turn += 1;
        this.rests = true;
        let turn = this.turn;
        self.after(after_ns, Event::Turn { asker, turn });
    }

    pub fn turn(&mut self, asker: usize) {
        let host = self.askers[asker].host;
        let (target, wanted, pause_ns) = if host < NODES {
            let Some(leader) = self.nodes[host].standing.leader.filter(|leader| *leader != host)
            else {
                return;
            };
            (leader, BURST, 0)
        } else {
            let (count, pause_ns) = self.pace(asker);
            (self.askers[asker].target, count, pause_ns)
        };
        let (target_life, now_ns) = (self.hosts[target].life, self.now_ns);
        let this = &mut self.askers[asker];
        (this.target, this.target_life, this.wanted, this.pause_ns) =
            (target, target_life, wanted, pause_ns);
        (this.burst, this.began_ns, this.rests) = (Burst::default(), now_ns, false);
        this.followed = Followed::default();
        this.epochs.clear();
        self.sends(asker, now_ns);
    }

    /// How many probes a listener's link sends now, and how long after their beginning it goes on.
    fn pace(&mut self, asker: usize) -> (usize, i64) {
        let this = &mut self.askers[asker];
        let orders = self.listeners[this.host - NODES].orders;
        if orders.leader != Some(this.target as u64) {
            this.led_for = 0;
            let pace = (1, 100 * MILLI);
            return if orders.searching { pace } else { (BURST, 10 * SECOND) };
        }
        this.led_for += 1;
        match this.led_for {
            ..=QUICK_BURSTS => (BURST, 150 * MILLI),
            led_for if led_for > SETTLED_AFTER && led_for % 2 == 0 => (1, SECOND),
            _ => (BURST, SECOND),
        }
    }

    fn sends(&mut self, asker: usize, sent_ns: i64) {
        let this = &mut self.askers[asker];
        this.sent_ns = sent_ns;
        let (turn, host, target) = (this.turn, this.host, this.target);
        let delay_ns = self.paths[host][target].there.delay_ns(sent_ns);
        self.at(sent_ns + delay_ns, Event::Arrives { asker, turn });
    }

    /// A probe is at its node, if that is there.
    pub fn arrives(&mut self, asker: usize) {
        let Asker { host, target, turn, sent_ns, target_life, .. } = self.askers[asker];
        let late_ns = sent_ns + self.askers[asker].reply_ns_max();
        let (server, now_ns) = (&self.hosts[target], self.now_ns);
        if server.life != target_life || server.down {
            return self.after(MILLI / 5, Event::Fails { asker, turn });
        }
        let cut_until_ns = server.cut_until_ns.max(self.hosts[host].cut_until_ns);
        let held_until_ns = server.paused_until_ns.max(cut_until_ns);
        if now_ns.max(held_until_ns) > late_ns {
            return self.at(late_ns, Event::Fails { asker, turn });
        }
        if held_until_ns > now_ns {
            return self.at(held_until_ns + MILLI / 2, Event::Arrives { asker, turn });
        }
        let received_ns = self.nodes[target].machine.raw_at(now_ns);
        let left_ns = now_ns + self.draws.exponential(15e3) as i64;
        self.set_now(left_ns);
        let reply = self.nodes[target].replies(received_ns);
        if reply.leads {
            let said = SharedTime(reply.received);
            self.judge.told((reply.epoch, reply.term), said, now_ns);
        }
        let back_ns = left_ns + self.paths[host][target].back.delay_ns(left_ns);
        let back_ns = back_ns.max(self.hosts[host].paused_until_ns);
        self.comes_back(asker, reply, back_ns.min(late_ns), back_ns > late_ns);
        self.set_now(now_ns);
    }

    fn comes_back(&mut self, asker: usize, reply: TimeReply, back_ns: i64, late: bool) {
        let this = &mut self.askers[asker];
        let (turn, machine) = (this.turn, &self.machines[this.host]);
        let raw_ns = |true_ns| machine.raw_at(true_ns);
        let probe = Probe::answered(raw_ns(this.sent_ns), &reply, raw_ns(back_ns));
        if late {
            self.at(back_ns, Event::Fails { asker, turn });
        } else if this.takes(probe.expect("instants that can be"), reply, back_ns) {
            self.at(back_ns, Event::Back { asker, turn });
        } else {
            let again_ns = back_ns + self.draws.exponential(10e3) as i64;
            self.sends(asker, again_ns);
        }
    }

    /// A burst is complete.
    pub fn back(&mut self, asker: usize) {
        let this = &mut self.askers[asker];
        let (host, target) = (this.host, this.target);
        if host < NODES {
            return self.follower_back(asker);
        }
        let (rest_ns, burst) = (this.began_ns + this.pause_ns, this.finishes());
        self.looks_at_listener(host);
        let listener = &mut self.listeners[host - NODES];
        let orders = listener.orders;
        listener.takes(&burst);
        debug_assert_eq!(burst.last.node, target as u64);
        self.publishes(host);
        self.turns_in(asker, rest_ns - self.now_ns);
        self.obeys(host, orders);
    }

    fn follower_back(&mut self, asker: usize) {
        let Asker { host, target, .. } = self.askers[asker];
        let burst = std::mem::take(&mut self.askers[asker].followed);
        let Some((probes, (term, epoch))) = burst.measured() else {
            return self.turns_in(asker, ASK_EVERY_NS);
        };
        // Just before it learns, what it knows is oldest.
        self.looks_at_node(host);
        let contradicted = self.nodes[host].learns(target as u64, (epoch, term), &probes);
        self.judge.figures.contradicted += u64::from(contradicted);
        self.looks_at_node(host);
        let quick = self.nodes[host].known.rounds < QUICK_ROUNDS;
        self.turns_in(asker, if quick { QUICK_EVERY_NS } else { SECOND });
    }

    /// A reply doesn't come, or the connection is gone.
    pub fn fails(&mut self, asker: usize) {
        let Asker { host, target, .. } = self.askers[asker];
        if host < NODES {
            return self.turns_in(asker, QUICK_EVERY_NS);
        }
        self.askers[asker].led_for = 0;
        let listener = &mut self.listeners[host - NODES];
        let orders = listener.orders;
        listener.misses(target as u64);
        let pause_ns = if listener.orders.searching { 100 * MILLI } else { 2 * SECOND };
        let pause_ns = (pause_ns as f64 * self.draws.within(0.7, 1.0)) as i64;
        self.turns_in(asker, pause_ns);
        self.obeys(host, orders);
    }

    /// Orders that have changed wake all links that rest.
    fn obeys(&mut self, host: usize, before: crate::listener::Orders) {
        if self.listeners[host - NODES].orders == before {
            return;
        }
        let links = self.links_of(host);
        for asker in links {
            if self.askers[asker].rests {
                self.turns_in(asker, MILLI);
            }
        }
    }
}
