//! Which nodes ran, and which one led.

use std::collections::BTreeMap;

use super::{Axis, Label, Lane, Row};
use crate::history::{History, Stop, What};
use crate::page::text::{moment, span};

const HEIGHT: f64 = 24.0;
/// Looks at a leader that are nearer than this belong together.
const LOOKS_APART_NS: i64 = 600_000_000;

/// One row a node.
pub(super) fn lane(history: &History, axis: Axis) -> Option<Lane> {
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for (node, spans) in runs(history) {
        let row = rows.entry(node).or_insert_with(|| row(node));
        let is_gone = |run: &Run| matches!(run.ended, Some((_, Stop::Wiped)));
        let gone = spans.iter().any(is_gone);
        for (at, run) in spans.iter().enumerate() {
            let until_ns = run.ended.as_ref().map_or(axis.end_ns, |(at_ns, _)| *at_ns);
            let lasted = span(until_ns - run.from_ns);
            let title = format!("node {node} runs for {lasted} from {}", moment(run.from_ns));
            row.shapes.push_str(&axis.bar(run.from_ns, until_ns, (3.0, 21.0), "up", &title));
            let Some((ended_ns, how)) = &run.ended else { continue };
            let next_ns = spans.get(at + 1).map(|next| next.from_ns);
            let (word, title) = words(how);
            let title = format!("node {node}: {title} at {}", moment(*ended_ns));
            if let Some(until_ns) = next_ns.or((!gone).then_some(axis.end_ns)) {
                row.shapes.push_str(&axis.bar(*ended_ns, until_ns, (3.0, 21.0), "down", &title));
            }
            row.shapes.push_str(&axis.tick(*ended_ns, (2.0, 22.0), "ends", &title));
            row.labels.push(Label {
                from_ns: *ended_ns,
                until_ns: next_ns.or(Some(axis.end_ns)),
                before: false,
                y: 16.0,
                text: if gone && next_ns.is_none() { "disk lost" } else { word }.to_owned(),
                class: "in soft",
            });
        }
    }
    for led in led(history, axis) {
        let row = rows.entry(led.node).or_insert_with(|| row(led.node));
        let title =
            format!("node {} leads in term {} from {}", led.node, led.term, moment(led.from_ns));
        row.shapes.push_str(&axis.bar(led.from_ns, led.until_ns, (3.0, 21.0), "elected", &title));
        for (from_ns, until_ns) in &led.lease {
            let title = format!("{title}, with a live lease");
            row.shapes.push_str(&axis.bar(*from_ns, *until_ns, (3.0, 21.0), "leads", &title));
        }
        row.labels.push(Label {
            from_ns: led.from_ns,
            until_ns: Some(led.until_ns),
            before: false,
            y: 16.0,
            text: format!("leads, term {}", led.term),
            class: "on",
        });
    }
    let legend = [
        ("leads", "leads"),
        ("elected", "elected, no live lease seen"),
        ("up", "runs"),
        ("down", "does not run"),
    ];
    let legend = legend.map(|(class, words)| (class.to_owned(), words.to_owned())).into();
    let rows: Vec<Row> = rows.into_values().collect();
    (!rows.is_empty()).then_some(Lane { title: "Nodes", legend, note: "", rows })
}

fn row(node: u64) -> Row {
    Row { name: format!("node {node}"), height: HEIGHT, ..Row::default() }
}

/// A process, from its start to its end.
struct Run {
    from_ns: i64,
    ended: Option<(i64, Stop)>,
}

fn runs(history: &History) -> BTreeMap<u64, Vec<Run>> {
    let mut runs: BTreeMap<u64, Vec<Run>> = BTreeMap::new();
    for record in &history.records {
        match &record.what {
            What::Started { node, .. } => {
                runs.entry(*node).or_default().push(Run { from_ns: record.at_ns, ended: None });
            }
            What::Stopped { node, how, .. } => {
                let runs = runs.entry(*node).or_default();
                let ended = Some((record.at_ns, how.clone()));
                match runs.last_mut().filter(|run| run.ended.is_none()) {
                    Some(run) => run.ended = ended,
                    // It failed before it could tell that it runs.
                    None => runs.push(Run { from_ns: record.at_ns, ended }),
                }
            }
            _ => {}
        }
    }
    runs
}

fn words(how: &Stop) -> (&'static str, String) {
    match how {
        Stop::Stop => ("stopped", "was told to stop".to_owned()),
        Stop::Failed { why } => ("failed", format!("could not go on: {why}")),
        Stop::Crash => ("killed", "was killed".to_owned()),
        Stop::Power => ("no power", "lost its power".to_owned()),
        Stop::Wiped => ("disk lost", "lost its disk and never comes back".to_owned()),
    }
}

/// A leader, for as long as nobody else is known to lead.
struct Led {
    node: u64,
    term: u64,
    from_ns: i64,
    until_ns: i64,
    /// When it said that it leads.
    lease: Vec<(i64, i64)>,
}

fn led(history: &History, axis: Axis) -> Vec<Led> {
    let mut all: Vec<Led> = Vec::new();
    for record in &history.records {
        match &record.what {
            What::Leads { node, term, .. } => {
                end(&mut all, |led| led.term < *term, record.at_ns);
                let (from_ns, until_ns) = (record.at_ns, i64::MAX);
                all.push(Led { node: *node, term: *term, from_ns, until_ns, lease: Vec::new() });
            }
            What::Stopped { node, .. } => end(&mut all, |led| led.node == *node, record.at_ns),
            What::Time(said) if said.leads => {
                let leads = |led: &&mut Led| {
                    (led.node, led.term) == (said.node, said.term) && led.until_ns == i64::MAX
                };
                let Some(led) = all.iter_mut().rev().find(leads) else { continue };
                match led.lease.last_mut().filter(|span| record.at_ns - span.1 < LOOKS_APART_NS) {
                    Some(span) => span.1 = record.at_ns,
                    None => led.lease.push((record.at_ns, record.at_ns)),
                }
            }
            _ => {}
        }
    }
    end(&mut all, |_| true, axis.end_ns);
    all
}

fn end(all: &mut [Led], which: impl Fn(&Led) -> bool, at_ns: i64) {
    all.iter_mut()
        .filter(|led| led.until_ns == i64::MAX && which(led))
        .for_each(|led| led.until_ns = at_ns);
}
