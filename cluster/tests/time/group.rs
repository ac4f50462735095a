//! Who leads, and what is in the log: Raft's outcomes without Raft, and what `cluster/src/time/leadership.rs` does at each.

use jam_proto::shard::Shard;
use jam_proto::sync::readings::Reading;
use jam_proto::sync::{SharedMap, Succession};
use jam_proto::time::SharedTime;
use jam_proto::wire::log::v1::log_entry::Op;
use jam_proto::wire::log::v1::{ClockEpoch, LogEntry};

use crate::judge::Tenure;
use crate::node::{File, Known};
use crate::site::{Event, MILLI, NODES, Site};

/// The group.
#[derive(Default)]
pub struct Group {
    /// All that is committed.
    pub shard: Shard,
    /// After each `ClockEpoch` in the log.
    pub leaders: Vec<Succession>,
    pub term: u64,
    pub leader: Option<usize>,
    /// Counts elections: one that was overtaken is void.
    election: u64,
    /// Proposed and not committed yet: by whom, what, and the map that it is about.
    opening: Option<Opening>,
    /// What the voters say of time, to the last one that asked them.
    readings: Vec<Reading>,
}

/// As in `cluster/src/time/voters.rs`.
const ASK_NS_MAX: i64 = 300 * MILLI;

struct Opening {
    node: usize,
    opened: ClockEpoch,
    stamp: SharedTime,
    map: SharedMap,
}

impl Site {
    /// Nodes that can win an election now.
    pub fn electable(&self) -> Vec<usize> {
        let now_ns = self.now_ns;
        let well = |node: &usize| {
            let host = &self.hosts[*node];
            let runs = host.paused_until_ns <= now_ns && host.cut_until_ns <= now_ns;
            !host.down && runs && !self.is_off_unseen(*node)
        };
        (0..NODES).filter(well).collect()
    }

    /// Its clocks stood still, and no stamp shows it: it would go on with a time that is behind, and nobody could know.
    fn is_off_unseen(&self, node: usize) -> bool {
        let (this, shard) = (&self.nodes[node], &self.group.shard);
        this.stood_still && this.clock.continues(shard.succession(), shard.last_stamp())
    }

    pub fn elects_in(&mut self, after_ns: i64, preferred: Option<usize>) {
        self.group.election += 1;
        let election = self.group.election;
        self.after(after_ns, Event::Elects { election, preferred });
    }

    pub fn elects(&mut self, election: u64, preferred: Option<usize>) {
        if election != self.group.election || self.group.leader.is_some() {
            return;
        }
        let candidates = self.electable();
        if candidates.len() < 2 {
            return self.after(100 * MILLI, Event::Elects { election, preferred });
        }
        let drawn = candidates[self.draws.below(candidates.len())];
        let node = preferred.filter(|node| candidates.contains(node)).unwrap_or(drawn);
        self.group.term += 1 + self.draws.below(2) as u64;
        self.group.leader = Some(node);
        let term = self.group.term;
        self.tells_standing(node, 0);
        for other in (0..NODES).filter(|other| *other != node) {
            let beat_ns = self.draws.millis(1, 40);
            self.tells_standing(other, beat_ns);
        }
        let barrier_ns = self.trip_ns(node);
        self.after(barrier_ns, Event::Opens { node, term });
    }

    /// To one of the others and back.
    fn trip_ns(&mut self, node: usize) -> i64 {
        let path = &mut self.paths[node][(node + 1) % NODES];
        path.there.delay_ns(self.now_ns) + path.back.delay_ns(self.now_ns)
    }

    /// A node hears who leads, and then what is in the log.
    pub fn tells_standing(&mut self, node: usize, after_ns: i64) {
        let life = self.hosts[node].life;
        let (term, leader, leaders) =
            (self.group.term, self.group.leader, self.group.leaders.len());
        // It knows by itself that nobody leads.
        let cut_ns = (self.hosts[node].cut_until_ns - self.now_ns).max(0);
        let stands_ns = if leader.is_some() { after_ns + cut_ns } else { after_ns };
        self.after(stands_ns, Event::Stands { node, life, term, leader });
        let applied_ns = cut_ns + after_ns + self.draws.millis(1, 100);
        self.after(applied_ns, Event::Hears { node, life, leaders });
    }

    pub fn stands(&mut self, node: usize, term: u64, leader: Option<usize>) {
        let this = &mut self.nodes[node];
        let standing = crate::node::Standing { term, leader };
        if this.standing.term > term || this.standing == standing {
            return;
        }
        this.standing = standing;
        if leader != Some(node) {
            this.leased = false;
            this.clock.step_down();
        }
        self.turns_in(node, 0);
    }

    pub fn hears(&mut self, node: usize, leaders: usize) {
        let this = &mut self.nodes[node];
        for succession in self.group.leaders.get(this.heard..leaders).unwrap_or_default() {
            this.clock.hear(succession);
        }
        this.heard = this.heard.max(leaders);
    }

    /// `leadership::open` up to the voters' answers, if they have to be asked.
    pub fn opens(&mut self, node: usize, term: u64) {
        if !self.leads(node, term) {
            return;
        }
        self.group.readings.clear();
        let (this, shard) = (&self.nodes[node], &self.group.shard);
        let succession = shard.succession();
        if succession.epoch == 0 || this.clock.continues(succession, shard.last_stamp()) {
            return self.answered(node, term);
        }
        let others = (0..NODES).filter(|other| *other != node);
        let asked: Vec<_> = others.map(|other| self.asks(node, other)).collect();
        let waits_ns = asked.iter().map(|(_, took_ns)| *took_ns).max().unwrap_or(0);
        self.group.readings = asked.into_iter().filter_map(|(reading, _)| reading).collect();
        self.after(waits_ns, Event::Answered { node, term });
    }

    /// `voters::read_one`: what one node says, if it does in time, and how long that took.
    fn asks(&mut self, node: usize, other: usize) -> (Option<Reading>, i64) {
        let now_ns = self.now_ns;
        if !self.electable().contains(&other) {
            return (None, ASK_NS_MAX);
        }
        let path = &mut self.paths[node][other];
        let there_ns = now_ns + path.there.delay_ns(now_ns);
        let back_ns = there_ns + path.back.delay_ns(there_ns);
        if back_ns - now_ns > ASK_NS_MAX {
            return (None, ASK_NS_MAX);
        }
        let sent_raw_ns = self.nodes[node].clock.raw_ns();
        self.set_now(there_ns);
        let reply = self.nodes[other].clock.told();
        self.set_now(back_ns);
        let back_raw_ns = self.nodes[node].clock.raw_ns();
        self.set_now(now_ns);
        let reading = Reading::answered(sent_raw_ns, &reply, back_raw_ns);
        (Some(reading.expect("an instant that can be")), back_ns - now_ns)
    }

    /// `leadership::open` up to the proposal.
    pub fn answered(&mut self, node: usize, term: u64) {
        if !self.leads(node, term) {
            return;
        }
        let (this, shard) = (&self.nodes[node], &self.group.shard);
        this.clock.notices_sleep();
        let raw_ns = this.clock.raw_ns();
        let (last_stamp, reign) = (shard.last_stamp(), (term, this.id));
        let opened =
            this.clock.open(shard.succession(), last_stamp, reign, &self.group.readings, raw_ns);
        let asked = !self.group.readings.is_empty();
        let this = &mut self.nodes[node];
        if std::mem::take(&mut this.stood_still) {
            this.known = Known::default();
            self.judge.figures.caught += 1;
        }
        let this = &self.nodes[node];
        let stamp = this.clock.now();
        let map = SharedMap { raw_ns, shared: stamp, drift: this.clock.drift() };
        self.judge.opens(&opened, &map, &this.machine, asked, self.now_ns);
        self.group.opening = Some(Opening { node, opened, stamp, map });
        match self.draws.below(16) {
            // Nobody took it, or it is not known that they did: once more.
            fate @ ..2 => {
                if fate == 0 {
                    self.group.opening = None;
                }
                self.enters_log();
                self.nodes[node].clock.step_down();
                let after_ns = self.draws.millis(5, 300);
                self.after(after_ns, Event::Opens { node, term });
            }
            // Another election comes first.
            2 => {
                self.deposes();
                let after_ns = self.draws.millis(60, 200);
                self.elects_in(after_ns, None);
            }
            _ => {
                let commit_ns = self.trip_ns(node);
                self.after(commit_ns, Event::Commits { node, term });
            }
        }
    }

    fn leads(&self, node: usize, term: u64) -> bool {
        !self.hosts[node].down && self.group.leader == Some(node) && self.group.term == term
    }

    /// The opening that is on its way is committed, whether its node will know or not.
    fn enters_log(&mut self) {
        let Some(Opening { node, opened, stamp, map }) = self.group.opening.take() else { return };
        self.applies(Some(Op::ClockEpoch(opened)), stamp);
        let succession = *self.group.shard.succession();
        self.group.leaders.push(succession);
        let machine = self.nodes[node].machine.clone();
        let stood_ns = machine.stood_ns(self.now_ns);
        let tenure = Tenure { machine, map, succession, stood_ns };
        self.judge.committed(tenure, self.now_ns);
        let leaders = self.group.leaders.len();
        for other in (0..NODES).filter(|other| *other != node) {
            let (life, after_ns) = (self.hosts[other].life, self.draws.millis(1, 60));
            let cut_ns = (self.hosts[other].cut_until_ns - self.now_ns).max(0);
            self.after(cut_ns + after_ns, Event::Hears { node: other, life, leaders });
        }
    }

    fn applies(&mut self, op: Option<Op>, stamp: SharedTime) {
        let entry = LogEntry {
            proposed_stamp: stamp.0,
            proposed_effective: stamp.0,
            op,
            ..LogEntry::default()
        };
        self.group.shard.apply(self.group.term, &entry);
        self.judge.stamped(self.group.shard.last_stamp(), self.now_ns);
    }

    /// `leadership::open` from the proposal on.
    pub fn commits(&mut self, node: usize, term: u64) {
        let is_its = self.group.opening.as_ref().is_some_and(|opening| opening.opened.term == term);
        if !is_its || !self.leads(node, term) {
            return;
        }
        self.enters_log();
        let this = &mut self.nodes[node];
        this.clock.lead(self.group.shard.succession());
        this.leased = true;
        this.heard = self.group.leaders.len();
    }

    /// The leader leads no more, and knows it if it runs. What it has proposed may have been taken.
    pub fn deposes(&mut self) {
        if self.draws.one_in(2) {
            self.enters_log();
        }
        self.group.opening = None;
        if let Some(node) = self.group.leader.take() {
            self.nodes[node].leased = false;
            self.tells_standing(node, 0);
        }
    }

    /// The leader stamps something.
    pub fn stamps(&mut self) {
        let next_ns = self.draws.millis(20, 300);
        self.after(next_ns, Event::Stamps);
        let Some(node) = self.group.leader.filter(|node| self.electable().contains(node)) else {
            return;
        };
        let this = &self.nodes[node];
        if this.leased && this.clock.leads_in() == Some(self.group.term) {
            let (epoch, now) = (this.clock.epoch(), this.clock.now());
            self.judge.told((epoch, self.group.term), now, self.now_ns);
            self.applies(None, now);
        }
    }

    /// A node's process starts, and reads its disk: its map, and the log as far as it had it.
    pub fn starts(&mut self, node: usize) {
        let rebooted = self.draws.one_in(8);
        self.hosts[node].down = false;
        let (life, leaders) = (self.hosts[node].life, self.nodes[node].heard);
        self.nodes[node].heard = 0;
        let fate = match self.file_draws.below(12) {
            0 => File::Lost,
            1 => File::Old,
            2 => File::Rotten(self.file_draws.draw()),
            _ => File::Kept,
        };
        self.nodes[node].starts(rebooted, fate);
        let replayed_ns = self.draws.millis(5, 100);
        self.after(replayed_ns, Event::Hears { node, life, leaders });
        let saves_ns = self.draws.millis(0, 100);
        self.after(saves_ns, Event::Saves { node, life });
        if self.group.leader.is_some() {
            let joins_ns = self.draws.millis(30, 300);
            self.tells_standing(node, joins_ns);
        }
    }
}
