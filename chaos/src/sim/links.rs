//! Who can reach whom. Faults overlap, so each link knows all that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

/// The links between the hosts of a simulation.
#[derive(Default)]
pub struct Links {
    hosts: Vec<String>,
    /// By direction: the faults that cut it.
    cut: BTreeMap<(String, String), BTreeSet<u64>>,
    /// By pair, in order: the faults that hold it.
    held: BTreeMap<(String, String), BTreeSet<u64>>,
}

impl Links {
    /// One more host, whose links are whole.
    pub fn add(&mut self, host: &str) {
        self.hosts.push(host.to_owned());
    }

    /// A fault cuts one direction.
    pub fn cut(&mut self, sim: &turmoil::Sim<'_>, fault: u64, from: &str, to: &str) {
        let reasons = self.cut.entry((from.to_owned(), to.to_owned())).or_default();
        if reasons.insert(fault) && reasons.len() == 1 {
            sim.partition_oneway(from, to);
        }
    }

    /// A fault cuts a host off from all others.
    pub fn isolate(&mut self, sim: &turmoil::Sim<'_>, fault: u64, host: &str) {
        for other in self.hosts.clone() {
            if other != host {
                self.cut(sim, fault, host, &other);
                self.cut(sim, fault, &other, host);
            }
        }
    }

    /// A fault holds what two hosts send to each other.
    pub fn hold(&mut self, sim: &turmoil::Sim<'_>, fault: u64, one: &str, other: &str) {
        let pair = if one < other { (one, other) } else { (other, one) };
        let reasons = self.held.entry((pair.0.to_owned(), pair.1.to_owned())).or_default();
        if reasons.insert(fault) && reasons.len() == 1 {
            sim.hold(one, other);
        }
    }

    /// A fault holds what a host sends and what is sent to it.
    pub fn hold_all(&mut self, sim: &turmoil::Sim<'_>, fault: u64, host: &str) {
        for other in self.hosts.clone() {
            if other != host {
                self.hold(sim, fault, host, &other);
            }
        }
    }

    /// A fault is over.
    pub fn heal(&mut self, sim: &turmoil::Sim<'_>, fault: u64) {
        for ((from, to), reasons) in &mut self.cut {
            if reasons.remove(&fault) && reasons.is_empty() {
                sim.repair_oneway(from.as_str(), to.as_str());
            }
        }
        for ((one, other), reasons) in &mut self.held {
            if reasons.remove(&fault) && reasons.is_empty() {
                sim.release(one.as_str(), other.as_str());
                // Releasing forgets that something else is wrong with the link.
                for (from, to) in [(one, other), (other, one)] {
                    let cut = self.cut.get(&(from.clone(), to.clone()));
                    if cut.is_some_and(|reasons| !reasons.is_empty()) {
                        sim.partition_oneway(from.as_str(), to.as_str());
                    }
                }
            }
        }
    }
}
