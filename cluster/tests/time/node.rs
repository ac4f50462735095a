//! A node's side of shared time: its real clock, and what the tasks of `cluster/src/time` do with it.

use std::sync::Arc;

use jam_cluster::time::awake::Awake;
use jam_cluster::time::clock::NodeClock;
use jam_cluster::time::saved::Saved;
use jam_proto::sync::{ClockFilter, Probe};
use jam_proto::time::SharedTime;
use jam_proto::wire::v1::TimeReply;

use crate::judge::Reign;
use crate::machine::Machine;

/// What Raft tells a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub term: u64,
    pub leader: Option<usize>,
}

/// What `follow.rs` knows of one leader's time.
#[derive(Default)]
pub struct Known {
    pub leader: u64,
    pub reign: Reign,
    pub filter: ClockFilter,
    pub rounds: u32,
}

/// What became of a node's saved map while it was down.
#[derive(Clone, Copy, Debug)]
pub enum File {
    Kept,
    Lost,
    /// An earlier copy is in its place.
    Old,
    /// This bit of it flipped, counted around.
    Rotten(u64),
}

/// Saves between two copies that are kept.
const COPY_EVERY: u32 = 10;

/// A node.
pub struct Node {
    pub id: u64,
    pub machine: Arc<Machine>,
    pub clock: NodeClock,
    pub known: Known,
    pub standing: Standing,
    /// Of the leader's lease.
    pub leased: bool,
    /// Leaders in the log that it has applied.
    pub heard: usize,
    /// Names the boot: a machine that was started anew has another one.
    boot: u32,
    /// What is on its disk.
    saved: Vec<u8>,
    /// An earlier one, and saves since then.
    copy: (Vec<u8>, u32),
    /// Its machine's clocks stood still, and it has not measured anything since: what it says of its bound is not true.
    pub stood_still: bool,
    /// Read last, and in which epoch.
    read: Option<(u64, SharedTime)>,
}

impl Node {
    pub fn new(id: u64, machine: Arc<Machine>) -> Self {
        let now = Awake::look(machine.as_ref());
        Self {
            id,
            clock: NodeClock::resume(machine.clone(), None, &boot_id(0), now),
            machine,
            known: Known::default(),
            standing: Standing::default(),
            leased: false,
            heard: 0,
            boot: 0,
            saved: Vec::new(),
            copy: (Vec::new(), 0),
            stood_still: false,
            read: None,
        }
    }

    /// `Keeper::save`.
    pub fn saves(&mut self) {
        self.copy.1 += 1;
        if self.copy.1 >= COPY_EVERY {
            self.copy = (self.saved.clone(), 0);
        }
        let now = Awake::look(self.machine.as_ref());
        self.saved = self.clock.to_save(&boot_id(self.boot), now).to_text().expect("it is text");
    }

    /// A new process. After a reboot its file is of another boot.
    pub fn starts(&mut self, rebooted: bool, fate: File) {
        self.boot += u32::from(rebooted);
        match fate {
            File::Lost => self.saved.clear(),
            File::Old => self.saved.clone_from(&self.copy.0),
            File::Rotten(bit) if !self.saved.is_empty() => {
                let at = bit as usize % (self.saved.len() * 8);
                self.saved[at / 8] ^= 1 << (at % 8);
            }
            File::Kept | File::Rotten(_) => {}
        }
        let (saved, now) = (Saved::parse(&self.saved).ok(), Awake::look(self.machine.as_ref()));
        let (machine, boot_id) = (self.machine.clone(), boot_id(self.boot));
        self.clock = NodeClock::resume(machine, saved.as_ref(), &boot_id, now);
        self.known = Known::default();
        self.standing = Standing::default();
        (self.leased, self.read) = (false, None);
    }

    /// As `api/time.rs` answers a probe.
    pub fn replies(&self, received_ns: i64) -> TimeReply {
        let (term, clock) = (self.standing.term, &self.clock);
        let mut reply = TimeReply {
            node: self.id,
            term,
            epoch: clock.epoch(),
            error_bound_ns: clock.error_bound_ns(),
            leads: self.leased && clock.leads_in() == Some(term),
            set_raw_ns: clock.set_raw_ns(),
            ..TimeReply::default()
        };
        (reply.received, reply.sent) = clock.span(received_ns, clock.raw_ns());
        reply
    }

    /// `Follower::learn`, after a burst of one leader in one reign.
    /// Answers whether it shows that clocks stood still.
    pub fn learns(&mut self, leader: u64, reign: Reign, burst: &[Probe]) -> bool {
        self.clock.notices_sleep();
        let against = self.clock.contradictions(burst, reign.0);
        self.stood_still &= against.is_empty() && self.clock.epoch() == reign.0;
        let burst = if against.is_empty() { burst } else { &against[..] };
        let fresh = !against.is_empty();
        if fresh || (self.known.leader, self.known.reign) != (leader, reign) {
            self.known = Known { leader, reign, ..Known::default() };
        }
        let known = &mut self.known;
        known.filter.observe(burst);
        known.rounds += 1;
        let (now_ns, (epoch, term)) = (self.clock.raw_ns(), reign);
        if let Some(estimate) = known.filter.estimate(now_ns) {
            self.clock.discipline(&estimate, known.rounds, (term, epoch), now_ns);
        }
        fresh
    }

    /// Reads its clock; in the same epoch: after what was read before.
    pub fn reads(&mut self) -> (Option<SharedTime>, SharedTime) {
        let (epoch, now) = (self.clock.epoch(), self.clock.now());
        let before = self.read.replace((epoch, now));
        (before.filter(|(of, _)| *of == epoch && epoch > 0).map(|(_, shared)| shared), now)
    }
}

fn boot_id(boot: u32) -> String {
    format!("boot {boot}")
}
