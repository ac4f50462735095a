//! `result.json`: how a run stands, for scripts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Facts;
use super::outcome::Outcome;
use super::requests::{Came, requests};
use super::summary::Summary;
use super::words;
use crate::history::History;
use crate::promises::all::{Judged, Judgement};
use crate::promises::verdict::Verdict;

/// How a run stands:
///
/// ```text
/// scenario, purpose, seed, started_at (RFC 3339 or null), again, versions, could_not, untold
/// outcome      "held" | "broken" | "inconclusive"
/// exit_code    0 | 1 | 2
/// promises     [{ name, verdict: as outcome, findings: [{ what, shown_by: [line of the history, from 0] }], why: [text],
///                 judged: how much, if it held, judged_what: of what }]
/// counters     { name: how often }
/// figures      [{ name, value, unit, budget, held }]
/// totals       { seconds, nodes, clients, listeners, elections, log_entries, operations: { kind: { outcome: count } }, faults: { kind: count } }
/// ```
pub fn result(facts: &Facts, history: &History, judged: &Judged) -> Value {
    let outcome = Outcome::of(facts, judged);
    let summary = Summary::of(history, &requests(history));
    let operations: BTreeMap<&String, BTreeMap<&str, usize>> = summary
        .requests
        .iter()
        .map(|(kind, came)| {
            (kind, Came::ALL.map(|one| (one.name(), came.get(&one).copied().unwrap_or(0))).into())
        })
        .collect();
    json!({
        "scenario": facts.scenario,
        "purpose": facts.purpose,
        "seed": facts.seed,
        "started_at": facts.started_at,
        "again": facts.again,
        "versions": facts.versions.iter().cloned().collect::<BTreeMap<_, _>>(),
        "could_not": facts.could_not,
        "untold": facts.untold,
        "outcome": outcome.name(),
        "exit_code": outcome.exit_code(),
        "promises": judged.promises.iter().map(promise).collect::<Vec<_>>(),
        "counters": judged.counters,
        "figures": facts.figures,
        "totals": {
            "seconds": facts.seconds,
            "nodes": facts.nodes,
            "clients": facts.clients,
            "listeners": facts.listeners,
            "elections": summary.elections,
            "log_entries": summary.committed,
            "operations": operations,
            "faults": summary.faults,
        },
    })
}

fn promise(judgement: &Judgement) -> Value {
    let (findings, why, judged): (&[_], &[_], _) = match &judgement.verdict {
        Verdict::Held { judged } => (&[], &[], Some(judged)),
        Verdict::Violated(findings) => (findings, &[], None),
        Verdict::Inconclusive(why) => (&[], why, None),
    };
    json!({
        "name": judgement.promise,
        "verdict": Outcome::from(&judgement.verdict).name(),
        "findings": findings,
        "why": why,
        "judged": judged,
        "judged_what": words::judged(judgement.promise),
    })
}
