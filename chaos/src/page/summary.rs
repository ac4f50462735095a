//! A run in numbers.

use std::collections::BTreeMap;

use super::requests::{Asked, Came};
use crate::history::{History, What};

/// How often what happened.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Requests by kind, then by how they came out.
    pub requests: BTreeMap<String, BTreeMap<Came, usize>>,
    /// By kind of request: how long answers took, ns, sorted.
    pub took_ns: BTreeMap<String, Vec<i64>>,
    /// Faults by kind.
    pub faults: BTreeMap<String, usize>,
    /// Leaders, each for its term.
    pub elections: usize,
    /// Log entries.
    pub committed: u64,
}

impl Summary {
    /// Of a history; `asked` is of the same one.
    pub fn of(history: &History, asked: &[Asked<'_>]) -> Self {
        let mut summary = Self::default();
        for one in asked {
            let kind = summary.requests.entry(one.kind.clone()).or_default();
            *kind.entry(one.came).or_default() += 1;
            let took = summary.took_ns.entry(one.kind.clone()).or_default();
            took.extend(one.took_ns);
        }
        summary.took_ns.values_mut().for_each(|took| took.sort_unstable());
        for record in &history.records {
            match &record.what {
                What::FaultBegun { text, .. } => {
                    *summary.faults.entry(fault_kind(text)).or_default() += 1;
                }
                What::Leads { .. } => summary.elections += 1,
                What::Applied { index, .. } => summary.committed = summary.committed.max(*index),
                _ => {}
            }
        }
        summary
    }

    /// Requests that came out so.
    pub fn came(&self, came: Came) -> usize {
        self.requests.values().filter_map(|kind| kind.get(&came)).sum()
    }

    /// All requests.
    pub fn asked(&self) -> usize {
        self.requests.values().flat_map(BTreeMap::values).sum()
    }

    /// All faults.
    pub fn broke(&self) -> usize {
        self.faults.values().sum()
    }
}

/// What kind of fault a text tells of: without whom it affects, and how much.
fn fault_kind(text: &str) -> String {
    let what = text.split_once(": ").map_or(text, |(_, what)| what);
    let mut kind = String::new();
    for letter in what.chars() {
        match letter {
            '0'..='9' if kind.ends_with('N') => {}
            '0'..='9' => {
                if kind.ends_with('-') {
                    kind.pop();
                }
                kind.push('N');
            }
            other => kind.push(other),
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_of_one_kind_whoever_has_them() {
        assert_eq!(fault_kind("n1, n2: killed"), "killed");
        assert_eq!(fault_kind("n2: time of day set by -7717 s"), "time of day set by N s");
        assert_eq!(fault_kind("the whole network is slow"), "the whole network is slow");
    }
}
