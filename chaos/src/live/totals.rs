//! What many runs come to, taken together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::schedule::Schedule;
use super::verdict::Judgement;
use crate::page::Outcome;

/// Sums over runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Runs that were judged.
    pub runs: u64,
    /// Of these: some promise was broken.
    pub broken: u64,
    /// Of these: it can't be told.
    pub inconclusive: u64,
    /// All runs, one after the other, s.
    pub seconds: f64,
    /// Requests that were acknowledged.
    pub acknowledged: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// What runs reached, by name.
    pub reached: BTreeMap<String, u64>,
}

impl Totals {
    /// Counts a run.
    pub fn count(&mut self, schedule: &Schedule, judgement: &Judgement) {
        self.runs += 1;
        match judgement.outcome {
            Outcome::Broken => self.broken += 1,
            Outcome::Inconclusive => self.inconclusive += 1,
            Outcome::Held => {}
        }
        self.seconds += judgement.facts.seconds;
        let figures = judgement.facts.figures.iter();
        let acknowledged = figures.filter(|figure| figure.name == super::figures::ACKNOWLEDGED);
        self.acknowledged += acknowledged.map(|figure| figure.value as u64).sum::<u64>();
        for fault in &schedule.faults {
            *self.faults.entry(fault.what.name()).or_default() += 1;
        }
        for (name, count) in judgement.judged.counters.iter() {
            *self.reached.entry(name.to_owned()).or_default() += count;
        }
    }

    /// Writes them down, so that a batch that is stopped has them.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, broken, inconclusive, seconds, acknowledged, faults, reached } = self;
        let hours = seconds / 3600.0;
        writeln!(out, "{runs} runs, {hours:.1} h: {broken} broken, {inconclusive} inconclusive")?;
        writeln!(out, "{acknowledged} requests acknowledged")?;
        writeln!(out, "{} faults: {}", faults.values().sum::<u64>(), list(faults))?;
        writeln!(out, "reached: {}", list(reached))
    }
}

fn list<N: fmt::Display>(of: &BTreeMap<N, u64>) -> String {
    let parts: Vec<_> = of.iter().map(|(name, count)| format!("{name} {count}")).collect();
    parts.join(", ")
}
