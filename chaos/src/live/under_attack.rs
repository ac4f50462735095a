//! How the well-behaved fared while somebody attacked: each attack against the stretch in which a process only burned
//! processor time.

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

/// A request that was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    asked_ns: i64,
    answered_ns: i64,
}

/// What there is to tell, in figures with budgets. `is_calm`: the machine had time for everybody, or nothing is judged.
pub fn figures(
    history: &History,
    attacked: &[Attacked],
    budget: &Budget,
    is_calm: bool,
) -> Vec<Figure> {
    let answered = acknowledged(history);
    let control = attacked.iter().find(|one| one.attack == Attack::Burn);
    let control = control.and_then(|one| p99_ms(&answered, one));
    let mut figures = Vec::new();
    for one in attacked {
        let name = format!("{:?}", one.attack).to_lowercase();
        let p99 = p99_ms(&answered, one);
        let most = control.map(|control| control * SLOWER_MAX);
        let is_control = one.attack == Attack::Burn;
        if let Some(p99) = p99 {
            figures.push(Figure {
                name: format!("requests during {name}, p99"),
                value: p99,
                unit: "ms".to_owned(),
                budget: most.filter(|_| !is_control).map(|most| format!("{most:.0} ms")),
                held: most.filter(|_| is_calm && !is_control).map(|most| p99 <= most),
            });
        }
        figures.push(Figure {
            name: format!("what the attacker did in {name}"),
            value: one.deeds as f64,
            unit: String::new(),
            budget: None,
            held: None,
        });
        let mib = one.peak_kib as f64 / 1024.0;
        figures.push(Figure {
            name: format!("memory of a node during {name}, most"),
            value: mib,
            unit: "MiB".to_owned(),
            budget: Some(format!("{} MiB", budget.node_mib)),
            held: Some(mib <= budget.node_mib as f64),
        });
        if let Some(after_ns) = first_after(&answered, one.until_ns) {
            figures.push(Figure {
                name: format!("first acknowledgement after {name}"),
                value: after_ns as f64 / 1e6,
                unit: "ms".to_owned(),
                budget: Some(format!("{} ms", AFTER_MAX_NS / 1_000_000)),
                held: is_calm.then_some(after_ns <= AFTER_MAX_NS),
            });
        }
    }
    figures
}

fn acknowledged(history: &History) -> Vec<Acknowledged> {
    let mut asked = BTreeMap::new();
    let mut found = Vec::new();
    for record in &history.records {
        match &record.what {
            What::Invoked { op, .. } => {
                asked.insert(*op, record.at_ns);
            }
            What::Answered { op, answer } => {
                let done = matches!(answer, Answer::Reply(_) | Answer::Stored | Answer::Opened);
                if let Some(asked_ns) = asked.remove(op).filter(|_| done) {
                    found.push(Acknowledged { asked_ns, answered_ns: record.at_ns });
                }
            }
            _ => {}
        }
    }
    found
}

/// Of the requests that were asked while it lasted; none: there were too few to say anything.
fn p99_ms(answered: &[Acknowledged], attacked: &Attacked) -> Option<f64> {
    let within = attacked.from_ns..attacked.until_ns;
    let during = answered.iter().filter(|one| within.contains(&one.asked_ns));
    let mut took: Vec<i64> = during.map(|one| one.answered_ns - one.asked_ns).collect();
    took.sort_unstable();
    let enough = took.len() >= REQUESTS_MIN;
    enough.then(|| took[(took.len() - 1) * 99 / 100] as f64 / 1e6)
}

/// How long after an instant the first request that was asked then was acknowledged.
fn first_after(answered: &[Acknowledged], at_ns: i64) -> Option<i64> {
    let later = answered.iter().filter(|one| one.asked_ns >= at_ns);
    later.map(|one| one.answered_ns - at_ns).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn requests(from_ms: i64, took_ms: i64) -> impl Iterator<Item = Acknowledged> {
        (0..40).map(move |n| Acknowledged {
            asked_ns: (from_ms + n * 10) * MS,
            answered_ns: (from_ms + n * 10 + took_ms) * MS,
        })
    }

    fn attacked(attack: Attack, from_ms: i64) -> Attacked {
        let (from_ns, until_ns) = (from_ms * MS, (from_ms + 400) * MS);
        Attacked { attack, from_ns, until_ns, peak_kib: 50 << 10, deeds: 1 }
    }

    #[test]
    fn an_attack_is_held_against_the_control() {
        let answered: Vec<_> = requests(0, 10).chain(requests(1000, 25)).collect();
        let (control, attack) = (attacked(Attack::Burn, 0), attacked(Attack::Lists, 1000));
        assert_eq!(p99_ms(&answered, &control), Some(10.0));
        assert_eq!(p99_ms(&answered, &attack), Some(25.0));
        assert_eq!(p99_ms(&answered, &attacked(Attack::Posts, 5000)), None, "nobody asked");
        assert_eq!(first_after(&answered, 395 * MS), Some(630 * MS));
        assert_eq!(first_after(&answered, 9000 * MS), None);
    }
}
