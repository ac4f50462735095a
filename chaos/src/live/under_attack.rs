//! How the well-behaved fared while somebody attacked: each attack against the stretch in which a process only burned
//! processor time.
//!
//! Every request counts, whatever came of it: one that was given up after its time limit hurts its client most.

use std::collections::BTreeMap;

use super::attackers::Attacked;
use super::scenario::Budget;
use crate::attack::Attack;
use crate::history::{Answer, History, What};
use crate::page::Figure;

/// How much longer than in the control stretch a request may take at p99.
const SLOWER_MAX: f64 = 3.0;
/// Until a request is acknowledged once an attack is over, ns.
const AFTER_MAX_NS: i64 = 2_000_000_000;
/// Fewer requests say nothing.
const REQUESTS_MIN: usize = 20;

/// What there is to tell.
#[derive(Debug, Default)]
pub struct UnderAttack {
    /// Figures with their budgets.
    pub figures: Vec<Figure>,
    /// What could not be judged, a sentence each.
    pub untold: Vec<String>,
}

/// A request of a well-behaved client.
#[derive(Clone, Copy, Debug)]
struct Asked {
    asked_ns: i64,
    /// When an answer came, or the history ended.
    until_ns: i64,
    /// It was done, or read.
    served: bool,
}

/// Measures all attacks of a run. `is_calm`: the machine had time for everybody, or no time is judged.
pub fn measure(
    history: &History,
    attacked: &[Attacked],
    budget: &Budget,
    is_calm: bool,
) -> UnderAttack {
    let mut told = UnderAttack::default();
    if attacked.is_empty() {
        return told;
    }
    let requests = requests(history);
    if !is_calm {
        told.untold.push("the machine stalled, so no times are judged".to_owned());
    }
    let control = attacked.iter().find(|one| one.attack == Attack::Burn);
    let control = control.and_then(|one| p99_ms(&requests, one));
    if control.is_none() {
        told.untold.push("there is no control to compare the attacks with".to_owned());
    }
    for one in attacked {
        told.one(&requests, one, control, budget, is_calm);
    }
    told
}

impl UnderAttack {
    fn one(
        &mut self,
        requests: &[Asked],
        one: &Attacked,
        control: Option<f64>,
        budget: &Budget,
        is_calm: bool,
    ) {
        let name = format!("{:?}", one.attack).to_lowercase();
        self.figure(format!("what the attacker did in {name}"), one.deeds as f64, "", None);
        let most = control.filter(|_| one.attack != Attack::Burn).map(|most| most * SLOWER_MAX);
        match p99_ms(requests, one) {
            Some(p99) => {
                let judged = most.map(|most| (most, is_calm.then_some(p99 <= most)));
                self.figure(format!("requests during {name}, p99"), p99, "ms", judged);
            }
            None => self.untold.push(format!("fewer than {REQUESTS_MIN} requests during {name}")),
        }
        if one.peak_kib == 0 {
            self.untold.push(format!("nobody saw how much memory the nodes took during {name}"));
        } else {
            let (mib, most) = (one.peak_kib as f64 / 1024.0, budget.node_mib as f64);
            let judged = Some((most, Some(mib <= most)));
            self.figure(format!("memory of a node during {name}, most"), mib, "MiB", judged);
        }
        match first_after(requests, one.until_ns) {
            Some(after_ns) => {
                let (after, most) = (after_ns as f64 / 1e6, AFTER_MAX_NS as f64 / 1e6);
                let judged = Some((most, is_calm.then_some(after <= most)));
                self.figure(format!("first answer after {name}"), after, "ms", judged);
            }
            None => self.untold.push(format!("nothing was answered after {name}")),
        }
    }

    /// `judged`: how much is allowed, and whether that was kept.
    fn figure(
        &mut self,
        name: String,
        value: f64,
        unit: &str,
        judged: Option<(f64, Option<bool>)>,
    ) {
        let budget = judged.map(|(most, _)| format!("{most:.0} {unit}"));
        let held = judged.and_then(|(_, held)| held);
        self.figures.push(Figure { name, value, unit: unit.to_owned(), budget, held });
    }
}

fn requests(history: &History) -> Vec<Asked> {
    let mut open = BTreeMap::new();
    let mut found = Vec::new();
    for record in &history.records {
        match &record.what {
            What::Invoked { op, .. } => {
                open.insert(*op, record.at_ns);
            }
            What::Answered { op, answer } => {
                let served = !matches!(answer, Answer::Refused { .. } | Answer::Unknown);
                if let Some(asked_ns) = open.remove(op) {
                    found.push(Asked { asked_ns, until_ns: record.at_ns, served });
                }
            }
            _ => {}
        }
    }
    let until_ns = history.end_ns();
    found.extend(open.into_values().map(|asked_ns| Asked { asked_ns, until_ns, served: false }));
    found
}

/// Of the requests that were asked while it lasted; none: there were too few to say anything.
fn p99_ms(requests: &[Asked], attacked: &Attacked) -> Option<f64> {
    let within = attacked.from_ns..attacked.until_ns;
    let during = requests.iter().filter(|one| within.contains(&one.asked_ns));
    let mut took: Vec<i64> = during.map(|one| one.until_ns - one.asked_ns).collect();
    took.sort_unstable();
    let enough = took.len() >= REQUESTS_MIN;
    enough.then(|| took[(took.len() - 1) * 99 / 100] as f64 / 1e6)
}

/// How long after an instant a request that was asked then was served.
fn first_after(requests: &[Asked], at_ns: i64) -> Option<i64> {
    let later = requests.iter().filter(|one| one.served && one.asked_ns >= at_ns);
    later.map(|one| one.until_ns - at_ns).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Request;

    const MS: i64 = 1_000_000;

    /// Reads, one each 10 ms from an instant on; each takes so long.
    fn reads(history: &mut History, from_ms: i64, took_ms: i64, answer: &Answer) {
        for n in 0..40 {
            let (op, asked_ms) = ((from_ms + n) as u64, from_ms + n * 10);
            let request = Request::Read { room: "R".to_owned() };
            let what = What::Invoked { client: format!("c{op}"), op, request };
            history.push(asked_ms * MS, what);
            history.push((asked_ms + took_ms) * MS, What::Answered { op, answer: answer.clone() });
        }
        history.records.sort_by_key(|record| record.at_ns);
    }

    fn attacked(attack: Attack, from_ms: i64) -> Attacked {
        let (from_ns, until_ns) = (from_ms * MS, (from_ms + 400) * MS);
        Attacked { attack, from_ns, until_ns, peak_kib: 50 << 10, deeds: 1 }
    }

    fn missed(told: &UnderAttack) -> Vec<&str> {
        let missed = told.figures.iter().filter(|figure| figure.held == Some(false));
        missed.map(|figure| figure.name.as_str()).collect()
    }

    #[test]
    fn an_attack_is_held_against_the_control() {
        let mut history = History::default();
        reads(&mut history, 0, 10, &Answer::NoRoom);
        reads(&mut history, 1000, 25, &Answer::NoRoom);
        reads(&mut history, 2000, 31, &Answer::NoRoom);
        reads(&mut history, 2500, 10, &Answer::NoRoom);
        // Given up by its client, after its own time limit.
        reads(&mut history, 3000, 2500, &Answer::Unknown);
        reads(&mut history, 9000, 10, &Answer::NoRoom);
        let all = [
            (Attack::Burn, 0),
            (Attack::Lists, 1000),
            (Attack::Posts, 2000),
            (Attack::Pings, 3000),
        ];
        let all = all.map(|(attack, from_ms)| attacked(attack, from_ms));
        let told = measure(&history, &all, &Budget::default(), true);
        assert_eq!(
            missed(&told),
            [
                "requests during posts, p99",
                "requests during pings, p99",
                "first answer after pings"
            ]
        );
        assert_eq!(told.untold, Vec::<String>::new());
        // On a machine that stalled nobody could have done better.
        let told = measure(&history, &all, &Budget::default(), false);
        assert_eq!((missed(&told).len(), told.untold.len()), (0, 1));
    }

    #[test]
    fn what_could_not_be_measured_is_said() {
        let mut history = History::default();
        reads(&mut history, 0, 10, &Answer::NoRoom);
        let unseen = Attacked { peak_kib: 0, ..attacked(Attack::Lists, 5000) };
        let told = measure(&history, &[unseen], &Budget::default(), true);
        let said = told.untold.join("; ");
        for part in ["no control", "fewer than 20", "how much memory", "nothing was answered"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let told = measure(&history, &[], &Budget::default(), true);
        assert!(told.figures.is_empty() && told.untold.is_empty(), "nobody attacked");
    }

    #[test]
    fn memory_has_its_budget() {
        let mut history = History::default();
        reads(&mut history, 0, 10, &Answer::NoRoom);
        reads(&mut history, 500, 10, &Answer::NoRoom);
        let large = Attacked { peak_kib: 3 << 20, ..attacked(Attack::Burn, 0) };
        let told = measure(&history, &[large], &Budget::default(), true);
        assert_eq!(missed(&told), ["memory of a node during burn, most"]);
    }
}
