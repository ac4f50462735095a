//! The judge against a search through all orders: small random histories, most of them not linearizable.
//! And porcupine's search ([`linearizable`]) against the same.

use jam_proto::command::Command;

use super::super::linearizable;
use super::super::replay::Replay;
use super::super::story::{ROOM, Story, said};
use super::super::verdict::Verdict;
use super::judge;
use crate::history::{Answer, Request};

const COMMANDS: usize = 3;
const READS: usize = 2;
const ALL: usize = COMMANDS + READS;
const HISTORIES: u64 = 3000;

/// A history's operations, commands first, in the order of the log.
struct Small {
    /// The places of each one's request and answer.
    spans: [(usize, usize); ALL],
    /// What each one tells: the room's revision.
    revisions: [u64; ALL],
}

impl Small {
    fn random(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut places: Vec<usize> = (0..ALL).chain(0..ALL).collect();
        for at in (1..places.len()).rev() {
            places.swap(at, random.below(at + 1));
        }
        let span = |op: usize| {
            let mut at = (0..places.len()).filter(|&at| places[at] == op);
            (at.next().unwrap_or(0), at.next().unwrap_or(0))
        };
        // The room begins with revision 1.
        let revision = |op: usize| match op {
            0..COMMANDS => op as u64 + 2,
            _ => 1 + random.below(COMMANDS + 1) as u64,
        };
        Self { spans: std::array::from_fn(span), revisions: std::array::from_fn(revision) }
    }

    /// Whether any order of the operations explains it.
    fn is_linearizable(&self) -> bool {
        let mut order = Vec::new();
        self.search(&mut order, 1)
    }

    fn search(&self, order: &mut Vec<usize>, revision: u64) -> bool {
        if order.len() == ALL {
            return true;
        }
        for op in (0..ALL).filter(|op| !order.contains(op)).collect::<Vec<_>>() {
            let left = |other: &usize| !order.contains(other);
            let may_be_next =
                (0..ALL).filter(left).all(|other| self.spans[other].1 >= self.spans[op].0);
            let after = if op < COMMANDS { revision + 1 } else { revision };
            if may_be_next && self.revisions[op] == after {
                order.push(op);
                if self.search(order, after) {
                    return true;
                }
                order.pop();
            }
        }
        false
    }

    /// What both judges say.
    fn judge(&self) -> [Verdict; 2] {
        let mut story = Story::begin();
        let mut later = story.clone();
        let mut rooms = vec![later.room()];
        let mut commands = Vec::new();
        for name in ["a", "b", "c"] {
            let command = story.next("ann", Command::Rename { name: name.to_owned() });
            let reply = later.take(&command);
            rooms.push(later.room());
            commands.push((command, reply));
        }
        let mut asked = [0; ALL];
        for at in 0..2 * ALL {
            for (op, span) in self.spans.iter().enumerate() {
                if span.0 == at {
                    asked[op] = match commands.get(op) {
                        Some((command, _)) => story.send("ann", command),
                        None => story.ask("cat", Request::Read { room: ROOM.to_owned() }),
                    };
                } else if span.1 == at {
                    let answer: Answer = match commands.get(op) {
                        Some((_, reply)) => said(reply),
                        None => rooms[self.revisions[op] as usize - 1].clone(),
                    };
                    story.answer(asked[op], answer);
                }
            }
        }
        // The log, added at the end as from the nodes' disks: in here it says when nothing was applied. Its
        // stamps must be those that the replies know of.
        story.now_ns = Story::begin().now_ns;
        for (command, _) in &commands {
            story.take(command);
        }
        let replay = Replay::of(&story.history);
        [judge(&story.history, &replay), linearizable::judge(&story.history, &replay)]
    }
}

/// Numbers that look random enough (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end as u64) as usize
    }
}

#[test]
fn judges_as_a_search_would() {
    let mut linearizable = 0;
    for seed in 0..HISTORIES {
        let small = Small::random(seed);
        let expected = small.is_linearizable();
        for verdict in small.judge() {
            assert_eq!(verdict.is_held(), expected, "seed {seed}: {verdict}");
        }
        linearizable += u64::from(expected);
    }
    assert!((30..HISTORIES - 30).contains(&linearizable), "{linearizable}");
}
