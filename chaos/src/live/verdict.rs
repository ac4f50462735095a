//! How a run stands: the judges' verdicts by the scenario's own budgets, and what it had to reach.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::schedule::Schedule;
use crate::history::History;
use crate::page::{self, Facts, Outcome};
use crate::promises::all::{Bounds, Judged, judge as judge_all};
use crate::promises::sometimes::MUSIC_HEARD;
use crate::promises::verdict::Verdict;

/// What a run came to.
pub struct Judgement {
    /// What is told beside the history.
    pub facts: Facts,
    /// Promise by promise.
    pub judged: Judged,
    /// In one word.
    pub outcome: Outcome,
    /// For people.
    pub explained: String,
}

/// Judges a run.
pub fn judge(schedule: &Schedule, facts: Facts, history: &History) -> Judgement {
    let budget = &schedule.scenario.budget;
    let mut bounds = Bounds::default();
    bounds.progress.acknowledged_ns = budget.acknowledged_ms as i64 * 1_000_000;
    bounds.progress.together_ns = budget.together_ms as i64 * 1_000_000;
    bounds.shared_time.back_ns = budget.time_back_ms as i64 * 1_000_000;
    bounds.shared_time.ahead_ns = budget.time_ahead_ms as i64 * 1_000_000;
    bounds.shared_time.bumps_max = budget.bumps_max.unwrap_or(u64::MAX);
    let mut judged = judge_all(history, &bounds);
    let mut wants: Vec<&str> = schedule.scenario.wants.iter().map(String::as_str).collect();
    if facts.listeners > 0 {
        wants.push(MUSIC_HEARD);
    }
    judged.promises.push(crate::promises::all::Judgement {
        promise: "sometimes",
        verdict: judged.counters.judge(&wants),
    });
    let mut explained = judged.explain(history);
    for (name, count) in judged.counters.iter() {
        explained += &format!("reached: {name} {count}\n");
    }
    for what in &facts.untold {
        explained += &format!("can't be told: {what}\n");
    }
    let outcome = Outcome::of(&facts, &judged);
    Judgement { facts, judged, outcome, explained }
}

impl Judgement {
    /// For people, in a few words.
    pub fn word(&self) -> String {
        let named = |is: fn(&Verdict) -> bool| {
            let named = self.judged.promises.iter().filter(|one| is(&one.verdict));
            named.map(|one| one.promise).collect::<Vec<_>>().join(", ")
        };
        match self.outcome {
            Outcome::Held => "every promise held".to_owned(),
            Outcome::Broken => {
                let missed = self.facts.figures.iter().filter(|figure| figure.held == Some(false));
                let missed = missed.map(|figure| figure.name.clone());
                let broken = named(|verdict| matches!(verdict, Verdict::Violated(_)));
                let all: Vec<_> =
                    Some(broken).filter(|all| !all.is_empty()).into_iter().chain(missed).collect();
                format!("BROKEN: {}", all.join(", "))
            }
            Outcome::Inconclusive => {
                let open = named(|verdict| !verdict.is_held());
                let open = Some(open).filter(|open| !open.is_empty()).into_iter();
                let all: Vec<_> = open.chain(self.facts.untold.iter().cloned()).collect();
                format!("it can't be told: {}", all.join(", "))
            }
        }
    }

    /// Writes the page, the JSON and the JUnit file.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write(&self, dir: &Path, history: &History) -> anyhow::Result<()> {
        let Self { facts, judged, .. } = self;
        let result = serde_json::to_string_pretty(&page::result(facts, history, judged))?;
        for (name, text) in [
            ("report.html", page::html(facts, history, judged)),
            ("result.json", result + "\n"),
            ("junit.xml", page::junit(facts, history, judged)?),
        ] {
            let path = dir.join(name);
            fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }
}
