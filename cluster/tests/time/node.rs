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
            read: None,
        }
    }

    /// `Keeper::save`.
    pub fn saves(&mut self) {
        let now = Awake::look(self.machine.as_ref());
        self.saved = self.clock.to_save(&boot_id(self.boot), now).to_text().expect("it is text");
    }

    /// A new process. After a reboot its file is of another boot.
    pub fn starts(&mut self, rebooted: bool) {
        self.boot += u32::from(rebooted);
        let (saved, now) = (Saved::parse(&self.saved), Awake::look(self.machine.as_ref()));
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
            ..TimeReply::default()
        };
        (reply.received, reply.sent) = clock.span(received_ns, clock.raw_ns());
        reply
    }

    /// `Follower::learn`, after a burst of one leader in one reign.
    pub fn learns(&mut self, leader: u64, reign: Reign, burst: &[Probe]) {
        self.clock.notices_sleep();
        if (self.known.leader, self.known.reign) != (leader, reign) {
            self.known = Known { leader, reign, ..Known::default() };
        }
        let known = &mut self.known;
        known.filter.observe(burst);
        known.rounds += 1;
        let (now_ns, (epoch, term)) = (self.clock.raw_ns(), reign);
        if let Some(estimate) = known.filter.estimate(now_ns) {
            self.clock.discipline(&estimate, known.rounds, (term, epoch), now_ns);
        }
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
