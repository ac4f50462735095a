//! What broke a promise: in words, with what went on just then and the events around it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::text::{escape, moment, span};
use super::words;
use crate::history::{History, Phase, Stop, What};
use crate::promises::all::{Judged, Judgement};
use crate::promises::verdict::{Finding, Verdict};

/// Records shown before and after each one that a finding names.
const AROUND: usize = 4;
/// Lines of an excerpt are cut here: songs' and sessions' ids make long ones, and the history has them whole.
pub(super) const CUT_CHARS: usize = 260;
/// A finding may name more records than anybody reads.
const SHOWN_MAX: usize = 12;

/// The first finding of a broken promise.
pub(super) struct First<'a> {
    pub promise: &'static str,
    /// From 1, in the order of the promises.
    pub number: usize,
    /// True time of the record by which it was evident, ns. None: nothing shows it.
    pub at_ns: Option<i64>,
    pub finding: &'a Finding,
    /// The others of the same promise.
    pub more: &'a [Finding],
}

/// Of each broken promise.
pub(super) fn firsts<'a>(history: &History, judged: &'a Judged) -> Vec<First<'a>> {
    let broken =
        judged.promises.iter().filter_map(|Judgement { promise, verdict }| match verdict {
            Verdict::Violated(findings) => {
                findings.split_first().map(|(finding, more)| (*promise, finding, more))
            }
            _ => None,
        });
    (1..)
        .zip(broken)
        .map(|(number, (promise, finding, more))| {
            let last = finding.shown_by.last().and_then(|&place| history.records.get(place));
            First { promise, number, at_ns: last.map(|record| record.at_ns), finding, more }
        })
        .collect()
}

/// A section for each, as HTML.
pub(super) fn sections(history: &History, firsts: &[First<'_>]) -> String {
    let mut html = String::new();
    for first in firsts {
        let (title, means) = words::promise(first.promise);
        // Writing into a string never fails.
        let _ = write!(
            html,
            "<article class=\"finding\" id=\"finding-{0}\"><h3><span class=\"flag\">{0}</span> {1}: broken</h3>\
             <p class=\"soft\">{2}</p><p class=\"what\">{3}</p>",
            first.number,
            escape(&title),
            escape(means),
            escape(&first.finding.what),
        );
        if let Some(&place) = first.finding.shown_by.last()
            && place < history.records.len()
        {
            let _ = write!(html, "<p>{}</p>", escape(&Then::at(history, place).text()));
            let _ = write!(
                html,
                "<h4>The events around it</h4><pre class=\"events\">{}</pre>",
                marked(&events(history, first.finding))
            );
        }
        if !first.more.is_empty() {
            html.push_str(
                "<details><summary>All that was found against this promise</summary><ul>",
            );
            for finding in first.more {
                let _ = write!(html, "<li>{}</li>", escape(&finding.to_string()));
            }
            html.push_str("</ul></details>");
        }
        html.push_str("</article>");
    }
    html
}

/// The records around those that a finding names, a line each.
pub(super) fn events(history: &History, finding: &Finding) -> String {
    let from = finding.shown_by.len().saturating_sub(SHOWN_MAX);
    let mut text = String::new();
    for line in history.excerpt(&finding.shown_by[from..], AROUND).lines() {
        text.push_str(&cut(line, CUT_CHARS));
        text.push('\n');
    }
    text
}

/// The begin of a text.
pub(super) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn marked(text: &str) -> String {
    let mut html = String::new();
    for line in text.lines() {
        let line_html = escape(line);
        match line.starts_with('>') {
            true => html.push_str(&format!("<mark>{line_html}</mark>\n")),
            false => html.push_str(&format!("{line_html}\n")),
        }
    }
    html
}

/// What went on when something happened.
struct Then<'a> {
    at_ns: i64,
    phase: Option<Phase>,
    leader: Option<(u64, u64)>,
    down: BTreeSet<u64>,
    /// What is in effect: since when, and what.
    faults: BTreeMap<u64, (i64, &'a str)>,
    healed_ns: Option<i64>,
}

impl<'a> Then<'a> {
    fn at(history: &'a History, place: usize) -> Self {
        let mut then = Self {
            at_ns: history.records[place].at_ns,
            phase: None,
            leader: None,
            down: BTreeSet::new(),
            faults: BTreeMap::new(),
            healed_ns: None,
        };
        // Nodes that never come back.
        let mut gone = BTreeSet::new();
        for record in &history.records[..=place] {
            match &record.what {
                What::Phase(phase) => then.phase = Some(*phase),
                What::Leads { node, term, .. } => then.leader = Some((*node, *term)),
                What::Started { node, .. } => drop(then.down.remove(node)),
                What::Stopped { node, how: Stop::Wiped, .. } => {
                    gone.insert(*node);
                    then.down.remove(node);
                }
                What::Stopped { node, .. } if !gone.contains(node) => {
                    then.down.insert(*node);
                }
                What::FaultBegun { fault, text, .. } => {
                    then.faults.insert(*fault, (record.at_ns, text));
                }
                What::FaultHealed { fault } => {
                    then.faults.remove(fault);
                    then.healed_ns = Some(record.at_ns);
                }
                _ => {}
            }
        }
        then
    }

    fn text(&self) -> String {
        let mut text = format!("It was evident {} into the run", moment(self.at_ns));
        match self.phase {
            Some(Phase::Safety) => text.push_str(", while anything may break"),
            Some(Phase::Liveness) => text.push_str(", while a healthy majority must get on"),
            Some(Phase::Healed) => text.push_str(", when nothing was broken any more"),
            None => {}
        }
        text.push_str(". ");
        match self.leader {
            Some((node, term)) => {
                let _ = write!(text, "The last one elected was node {node}, in term {term}. ");
            }
            None => text.push_str("Nobody had been elected. "),
        }
        if !self.down.is_empty() {
            let down: Vec<String> = self.down.iter().map(u64::to_string).collect();
            let _ = write!(text, "Not running: node {}. ", down.join(", node "));
        }
        if self.faults.is_empty() {
            match self.healed_ns {
                Some(healed_ns) => {
                    let since = span(self.at_ns - healed_ns);
                    let _ = write!(
                        text,
                        "No fault was in effect; the last one was healed {since} before."
                    );
                }
                None => text.push_str("No fault had been in effect yet."),
            }
        } else {
            let faults = self.faults.values();
            let faults: Vec<String> = faults
                .map(|(since_ns, what)| format!("{what} (for {})", span(self.at_ns - since_ns)))
                .collect();
            let _ = write!(text, "In effect: {}.", faults.join("; "));
        }
        text
    }
}
