//! What breaks.

use crate::site::{Event, HOSTS, MILLI, NODES, Site};

impl Site {
    /// Something breaks, or the leader changes; then there is calm for a while.
    pub fn breaks(&mut self) {
        let calm_ns = match self.draws.below(4) {
            0 => self.draws.millis(50, 1500),
            1 => self.draws.millis(10_000, 40_000),
            _ => self.draws.millis(1500, 10_000),
        };
        self.after(calm_ns, Event::Breaks);
        let all_well = self.electable().len() == NODES;
        match (self.draws.below(16), self.group.leader) {
            (..2, _) => self.listener_trouble(),
            (2..7, Some(_)) => self.hands_over(),
            // One at a time: two of three have to be well.
            _ if !all_well => {}
            (7..9, Some(leader)) => self.kills(leader),
            (9..11, Some(leader)) => self.pauses(leader),
            (11, Some(leader)) => self.cuts(leader),
            (12, _) => self.kills_all(),
            (13, Some(leader)) => self.prefers_who_was_away((leader + 1) % NODES),
            (_, Some(leader)) => self.follower_trouble((leader + 2) % NODES),
            _ => {}
        }
    }

    fn listener_trouble(&mut self) {
        let host = NODES + self.draws.below(HOSTS - NODES);
        let until_ns = self.now_ns + self.draws.millis(300, 15_000);
        match self.draws.below(4) {
            0 => self.joins_in(host, 10 * MILLI),
            1 => self.hosts[host].paused_until_ns = until_ns,
            _ => self.hosts[host].cut_until_ns = until_ns,
        }
    }

    /// Leadership goes over to another one, cleanly.
    fn hands_over(&mut self) {
        self.deposes();
        let after_ns = self.draws.millis(1, 20);
        self.elects_in(after_ns, None);
    }

    /// As long as an election takes, once the leader is gone.
    fn after_its_lease(&mut self) {
        self.deposes();
        let after_ns = self.draws.millis(60, 400);
        self.elects_in(after_ns, None);
    }

    fn kills(&mut self, node: usize) {
        self.judge.figures.restarts += 1;
        if self.draws.one_in(3) {
            // It is told to stop, and has the time to.
            self.nodes[node].saves();
        }
        let host = &mut self.hosts[node];
        host.down = true;
        host.life += 1;
        self.askers[node].turn += 1;
        if self.group.leader == Some(node) {
            self.after_its_lease();
        }
        let down_ns = match self.draws.below(3) {
            0 => self.draws.millis(50, 500),
            _ => self.draws.millis(500, 20_000),
        };
        self.after(down_ns, Event::Starts { node });
    }

    fn kills_all(&mut self) {
        (0..NODES).for_each(|node| self.kills(node));
    }

    /// The process stands still, its machine doesn't.
    fn pauses(&mut self, node: usize) {
        self.judge.figures.pauses += 1;
        self.hosts[node].paused_until_ns = self.now_ns + self.draws.millis(200, 10_000);
        if self.group.leader == Some(node) {
            self.after_its_lease();
        }
    }

    fn cuts(&mut self, node: usize) {
        self.hosts[node].cut_until_ns = self.now_ns + self.draws.millis(300, 15_000);
        if self.group.leader == Some(node) {
            self.after_its_lease();
        }
    }

    fn follower_trouble(&mut self, node: usize) {
        match self.draws.below(3) {
            0 => self.kills(node),
            1 => self.pauses(node),
            _ => self.cuts(node),
        }
    }

    /// A follower hears nothing for long, and leads as soon as it is back.
    fn prefers_who_was_away(&mut self, node: usize) {
        let away_ns = self.draws.millis(3000, 30_000);
        self.hosts[node].cut_until_ns = self.now_ns + away_ns;
        // As a virtual machine that is paused: it will believe that no time has passed.
        if self.file_draws.one_in(2) {
            let until_ns = self.now_ns + away_ns;
            self.hosts[node].paused_until_ns = until_ns;
            self.nodes[node].machine.stands_still(self.now_ns, until_ns);
            self.nodes[node].stood_still = true;
            self.judge.figures.stood_still += 1;
        }
        self.after(away_ns, Event::Returns { node });
    }

    /// It is back.
    pub fn returns(&mut self, node: usize) {
        // One whose clocks stood still is elected, or finds out as a follower.
        let follows = self.nodes[node].stood_still && self.file_draws.one_in(2);
        if self.group.leader != Some(node) && !follows {
            self.deposes();
            let after_ns = self.draws.millis(1, 50);
            self.elects_in(after_ns, Some(node));
        }
    }
}
