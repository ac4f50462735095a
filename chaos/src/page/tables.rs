//! The page's tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Facts;
use super::explain::{First, cut};
use super::outcome::Outcome;
use super::requests::Came;
use super::summary::Summary;
use super::text::{count, escape, moment, span, thousands};
use super::words;
use crate::history::{History, What};
use crate::promises::all::Judged;
use crate::promises::verdict::Verdict;

/// Characters of a sentence in a table; all of it is further below.
const SENTENCE_CHARS: usize = 220;

/// A verdict as a mark with its word: never told by colour alone.
fn badge(outcome: Outcome) -> String {
    named(
        outcome,
        match outcome {
            Outcome::Held => "held",
            Outcome::Broken => "broken",
            Outcome::Inconclusive => "can’t be told",
        },
    )
}

fn named(outcome: Outcome, word: &str) -> String {
    let mark = outcome.mark();
    format!("<span class=\"badge {}\">{mark} {word}</span>", outcome.name())
}

/// Each promise, what it means, and how the run stands.
pub(super) fn promises(judged: &Judged, firsts: &[First<'_>]) -> String {
    let mut html = String::from(
        "<table class=\"promises\"><thead><tr><th>Promise</th><th>What it means</th><th>This run</th></tr></thead><tbody>",
    );
    for one in &judged.promises {
        let (title, means) = words::promise(one.promise);
        let why = match &one.verdict {
            Verdict::Held { judged } => {
                let judged = thousands(i64::try_from(*judged).unwrap_or(i64::MAX));
                format!("<div class=\"soft\">{judged} {}</div>", words::judged(one.promise))
            }
            Verdict::Violated(findings) => {
                let first = firsts.iter().find(|first| first.promise == one.promise);
                first.map_or_else(String::new, |first| {
                    format!(
                        "<div>{} <a href=\"#finding-{}\">{}</a></div>",
                        escape(&cut(&first.finding.what, SENTENCE_CHARS)),
                        first.number,
                        count(findings.len(), "finding"),
                    )
                })
            }
            Verdict::Inconclusive(why) => format!("<div>{}</div>", escape(&why.join("; "))),
        };
        let badge = badge(Outcome::from(&one.verdict));
        // Writing into a string never fails.
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}<code>{}</code></th><td>{}</td><td>{badge}{why}</td></tr>",
            escape(&title),
            escape(one.promise),
            escape(means),
        );
    }
    html.push_str("</tbody></table>");
    html
}

/// What was measured, and its budgets.
pub(super) fn figures(facts: &Facts) -> String {
    let mut html = String::from(
        "<table><thead><tr><th>Figure</th><th class=\"n\">Measured</th><th class=\"n\">Budget</th><th></th></tr></thead><tbody>",
    );
    for one in &facts.figures {
        let badge = match one.held {
            Some(true) => named(Outcome::Held, "within"),
            Some(false) => named(Outcome::Broken, "over budget"),
            None => String::new(),
        };
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{badge}</td></tr>",
            escape(&one.name),
            escape(&one.text()),
            escape(one.budget.as_deref().unwrap_or("–")),
        );
    }
    html.push_str("</tbody></table>");
    html
}

/// Requests by kind and outcome, and how long answers took.
pub(super) fn requests(summary: &Summary) -> String {
    let mut html = String::from("<table><thead><tr><th>Operation</th>");
    for came in Came::ALL {
        let _ = write!(html, "<th class=\"n\"><i class=\"sw {0}\"></i>{0}</th>", came.name());
    }
    html.push_str(
        "<th class=\"n\">half took under</th><th class=\"n\">99 %</th><th class=\"n\">slowest</th></tr></thead><tbody>",
    );
    for (kind, came) in &summary.requests {
        let _ = write!(html, "<tr><td>{}</td>", escape(kind));
        for one in Came::ALL {
            html.push_str(&cell(came.get(&one).copied().unwrap_or(0)));
        }
        let took = summary.took_ns.get(kind).map_or(&[][..], Vec::as_slice);
        for share in [0.5, 0.99, 1.0] {
            let rank = (share * took.len() as f64).ceil() as usize;
            let text = took.get(rank.max(1) - 1).map_or_else(|| "–".to_owned(), |&ns| span(ns));
            let _ = write!(html, "<td class=\"n\">{text}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody><tfoot><tr><td>all</td>");
    Came::ALL.iter().for_each(|came| html.push_str(&cell(summary.came(*came))));
    html.push_str("<td></td><td></td><td></td></tr></tfoot></table>");
    html
}

fn cell(number: usize) -> String {
    match number {
        0 => "<td class=\"n soft\">·</td>".to_owned(),
        number => format!("<td class=\"n\">{}</td>", thousands(number as i64)),
    }
}

/// All faults, as they came.
pub(super) fn faults(history: &History) -> String {
    let healed: BTreeMap<u64, i64> = (history.records.iter())
        .filter_map(|record| match &record.what {
            What::FaultHealed { fault } => Some((*fault, record.at_ns)),
            _ => None,
        })
        .collect();
    let mut html = String::from(
        "<table class=\"faults\"><thead><tr><th class=\"n\">#</th><th class=\"n\">from</th><th class=\"n\">for</th><th>fault</th><th>affects</th></tr></thead><tbody>",
    );
    for record in &history.records {
        let What::FaultBegun { fault, text, affects } = &record.what else { continue };
        let lasted = healed
            .get(fault)
            .map_or_else(|| "never healed".to_owned(), |until_ns| span(until_ns - record.at_ns));
        let _ = write!(
            html,
            "<tr><td class=\"n\">{fault}</td><td class=\"n\">{}</td><td class=\"n\">{lasted}</td><td>{}</td><td>{}</td></tr>",
            moment(record.at_ns),
            escape(text),
            escape(&affects.join(", ")),
        );
    }
    html.push_str("</tbody></table>");
    html
}

/// What the run reached.
pub(super) fn counters(judged: &Judged) -> String {
    let mut html = String::from(
        "<table><thead><tr><th>Reached</th><th class=\"n\">times</th></tr></thead><tbody>",
    );
    for (name, times) in judged.counters.iter() {
        let times = thousands(i64::try_from(times).unwrap_or(i64::MAX));
        let _ = write!(html, "<tr><td>{}</td><td class=\"n\">{times}</td></tr>", escape(name));
    }
    html.push_str("</tbody></table>");
    html
}
