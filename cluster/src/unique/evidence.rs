//! What a node concludes from all that it was told about itself. Pure.

use super::callers::{PROCESSES_MAX, Word};
use crate::identity::Id;

/// Why a node must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The membership has gone on without it.
    #[error(
        "node {node} was replaced: node {by} votes in its place. Its data folder must never be used again: move it away. \
         If node {by} is lost too, run `jam --servers … cluster replace {place}` and start jamd with an empty folder"
    )]
    Replaced {
        /// This node.
        node: u64,
        /// Its place.
        place: u64,
        /// Who has it.
        by: u64,
    },
    /// Another process of the same data folder runs.
    #[error(
        "another process, which began earlier, runs as node {node}{}: this data folder or that one is a copy of the other. \
         Remove the copy; only one of them may ever run",
        where_it_is(.address)
    )]
    Copied {
        /// This node.
        node: u64,
        /// Where the other one answers, if it was met there.
        address: Option<String>,
    },
}

fn where_it_is(address: &Option<String>) -> String {
    address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default()
}

/// All that a process was told about itself since it started.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The latest node that votes in its place, by members that know this one's folder no more.
    holder: u64,
    /// Other processes of the same folder, the last ones that anything was said of.
    others: Vec<Said>,
}

#[derive(Clone, Debug)]
struct Said {
    other: Id,
    stays: bool,
    ends: bool,
    address: Option<String>,
}

impl Evidence {
    /// A member says that `node` votes in this one's place, and that this one's folder is no member's any more.
    pub fn held_by(&mut self, node: u64) {
        self.holder = self.holder.max(node);
    }

    /// A member says this of another process.
    pub fn told(&mut self, word: Word) {
        match word {
            Word::Stays(other) => self.of(other).stays = true,
            Word::Ends(other) => self.of(other).ends = true,
            Word::Alone | Word::Unsettled(_) => {}
        }
    }

    /// Another process of this folder answered at `address`.
    pub fn met(&mut self, other: Id, address: &str) {
        self.of(other).address = Some(address.to_owned());
    }

    /// The processes over which this one was told to stay: to be said with each call.
    pub fn stays_over(&self) -> Vec<Id> {
        self.others.iter().filter(|said| said.stays).map(|said| said.other).collect()
    }

    fn of(&mut self, other: Id) -> &mut Said {
        let known = self.others.iter().position(|said| said.other == other);
        let said = match known {
            Some(at) => self.others.remove(at),
            None => Said { other, stays: false, ends: false, address: None },
        };
        if self.others.len() >= PROCESSES_MAX {
            self.others.remove(0);
        }
        self.others.push(said);
        self.others.last_mut().expect("it was pushed")
    }

    /// What the process `own` of the node `node` at `place` is to make of it: `None`, go on.
    ///
    /// A member's word about a place is as old as that member's log, so a node is replaced only by one of a higher id: ids
    /// rise. Members may disagree about which of two processes began earlier. Whoever is told to end knows that the
    /// other one was told to stay (see [`super::callers`]). If both were told both, the smaller id stays. So one of
    /// them ends, and never both.
    pub fn conclude(&self, own: Id, node: u64, place: u64) -> Option<Unfit> {
        if self.holder > node {
            return Some(Unfit::Replaced { node, place, by: self.holder });
        }
        let must_end = |said: &&Said| said.ends && (!said.stays || own > said.other);
        let said = self.others.iter().find(must_end)?;
        Some(Unfit::Copied { node, address: said.address.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::callers::{Callers, Process};
    use super::*;

    const LOW: Id = Id([1; 16]);
    const HIGH: Id = Id([2; 16]);

    #[test]
    fn what_a_node_concludes() {
        #[derive(Clone, Copy)]
        enum Told {
            Holder(u64),
            Word(Word),
        }
        use Told::{Holder, Word as Says};
        let copied = || Some(Unfit::Copied { node: 3, address: None });
        let replaced = |by| Some(Unfit::Replaced { node: 3, place: 3, by });
        for (own, told, concluded) in [
            // Silence is no refusal, and neither is not knowing.
            (LOW, vec![], None),
            (LOW, vec![Holder(0)], None),
            (LOW, vec![Says(Word::Alone)], None),
            (LOW, vec![Says(Word::Unsettled(HIGH))], None),
            // A member that lags knows the holder before this one.
            (LOW, vec![Holder(2)], None),
            (LOW, vec![Holder(0), Holder(101), Holder(0)], replaced(101)),
            (LOW, vec![Holder(102), Holder(101), Says(Word::Ends(HIGH))], replaced(102)),
            (LOW, vec![Says(Word::Stays(HIGH))], None),
            (LOW, vec![Says(Word::Ends(HIGH))], copied()),
            (HIGH, vec![Says(Word::Ends(LOW)), Says(Word::Unsettled(LOW))], copied()),
            // Members disagree.
            (LOW, vec![Says(Word::Ends(HIGH)), Says(Word::Stays(HIGH))], None),
            (HIGH, vec![Says(Word::Stays(LOW)), Says(Word::Ends(LOW))], copied()),
            // One of two others.
            (LOW, vec![Says(Word::Stays(HIGH)), Says(Word::Ends(Id([3; 16])))], copied()),
        ] {
            let mut evidence = Evidence::default();
            let mut text = String::new();
            for one in told {
                match one {
                    Holder(node) => evidence.held_by(node),
                    Says(word) => evidence.told(word),
                }
                text += match one {
                    Holder(node) => format!("held by {node}; "),
                    Says(word) => format!("{word:?}; "),
                }
                .as_str();
            }
            assert_eq!(evidence.conclude(own, 3, 3), concluded, "{own}: {text}");
        }
    }

    #[test]
    fn the_sentence_says_what_to_do() {
        let mut evidence = Evidence::default();
        evidence.told(Word::Ends(HIGH));
        evidence.met(HIGH, "127.0.0.1:7703");
        let said = evidence.conclude(LOW, 3, 3).expect("it ends").to_string();
        assert!(
            said.contains("runs as node 3 at 127.0.0.1:7703: ") && said.contains("Remove the copy")
        );
        evidence.held_by(101);
        let said = evidence.conclude(LOW, 3, 3).expect("it ends").to_string();
        assert!(said.contains("node 101 votes") && said.contains("cluster replace 3"), "{said}");
    }

    /// Two processes of one folder and some members. Messages are lost on the way there and back, members start anew, and
    /// the ages that they see are wrong.
    struct Game {
        draws: u64,
        members: Vec<Callers>,
        processes: Vec<(Id, Evidence)>,
    }

    impl Game {
        fn new(seed: u64) -> Self {
            let mut game = Self {
                draws: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                members: vec![],
                processes: vec![],
            };
            for _ in 0..1 + game.draw(3) {
                game.members.push(Callers::default());
            }
            for id in [LOW, HIGH] {
                game.processes.push((id, Evidence::default()));
            }
            game
        }

        /// Below `end`. SplitMix64.
        fn draw(&mut self, end: u64) -> u64 {
            self.draws = self.draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.draws ^ (self.draws >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) % end
        }

        fn call(&mut self, from: usize, to: usize, lost: bool, age_ms: u64, now_ms: i64) {
            let (id, evidence) = &mut self.processes[from];
            let process = Process { id: *id, age_ms, stays_over: evidence.stays_over() };
            let word = self.members[to].hear(Id([9; 16]), process, now_ms);
            if !lost {
                evidence.told(word);
            }
        }

        fn ended(&self) -> Vec<usize> {
            let ends = |at: &usize| {
                let (id, evidence) = &self.processes[*at];
                evidence.conclude(*id, 3, 3).is_some()
            };
            (0..2).filter(ends).collect()
        }
    }

    #[test]
    fn one_of_two_processes_ends_and_never_both() {
        for seed in 0..20_000 {
            let mut game = Game::new(seed);
            let mut now_ms = 100_000;
            for _ in 0..game.draw(30) {
                now_ms += 10;
                let running: Vec<usize> = (0..2).filter(|at| !game.ended().contains(at)).collect();
                assert!(!running.is_empty(), "both ended by seed {seed}");
                let from = running[game.draw(running.len() as u64) as usize];
                let to = game.draw(game.members.len() as u64) as usize;
                if game.draw(10) == 0 {
                    game.members[to] = Callers::default();
                }
                let (lost, age_ms) = (game.draw(3) == 0, game.draw(1000));
                game.call(from, to, lost, age_ms, now_ms);
            }
            // From now on all works: whoever still runs asks everybody.
            for _ in 0..8 {
                for from in 0..2 {
                    for to in 0..game.members.len() {
                        now_ms += 10;
                        if !game.ended().contains(&from) {
                            game.call(from, to, false, 2000 - 1000 * from as u64, now_ms);
                        }
                    }
                }
            }
            assert_eq!(game.ended().len(), 1, "by seed {seed}");
        }
    }
}
