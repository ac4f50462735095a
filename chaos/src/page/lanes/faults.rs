//! What was broken, and whose.

use std::collections::BTreeMap;

use super::{Axis, GUTTER, LETTER, Label, Lane, PLOT, Row, WIDTH};
use crate::history::{History, What};
use crate::page::text::{moment, span};

const HEIGHT: f64 = 17.0;
/// Between two faults of one row.
const APART: f64 = 8.0;

struct Fault<'a> {
    text: &'a str,
    affects: &'a [String],
    from_ns: i64,
    until_ns: Option<i64>,
}

/// One row each for whoever is affected, and one for all that several share, such as links; more if faults overlap.
pub(super) fn lane(history: &History, axis: Axis) -> Option<Lane> {
    let mut faults: BTreeMap<u64, Fault<'_>> = BTreeMap::new();
    for record in &history.records {
        match &record.what {
            What::FaultBegun { fault, text, affects } => {
                let from_ns = record.at_ns;
                faults.insert(*fault, Fault { text, affects, from_ns, until_ns: None });
            }
            What::FaultHealed { fault } => {
                if let Some(fault) = faults.get_mut(fault) {
                    fault.until_ns = Some(record.at_ns);
                }
            }
            _ => {}
        }
    }
    let mut groups: BTreeMap<(bool, String), Vec<Fault<'_>>> = BTreeMap::new();
    let mut sorted: Vec<Fault<'_>> = faults.into_values().collect();
    sorted.sort_by_key(|fault| fault.from_ns);
    for fault in sorted {
        let group = match fault.affects {
            [one] => (false, one.clone()),
            [] => (true, "all".to_owned()),
            _ => (true, "more than one".to_owned()),
        };
        groups.entry(group).or_default().push(fault);
    }
    let rows: Vec<Row> =
        groups.iter().flat_map(|((_, name), faults)| rows(name, faults, axis)).collect();
    let note = "each bar is a fault, for as long as it is in effect";
    (!rows.is_empty()).then_some(Lane { title: "Faults", legend: Vec::new(), note, rows })
}

fn rows(name: &str, faults: &[Fault<'_>], axis: Axis) -> Vec<Row> {
    // How far each row is taken, pixels.
    let mut taken: Vec<f64> = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for fault in faults {
        let until_ns = fault.until_ns.unwrap_or(axis.end_ns);
        let whose = format!("{}: ", fault.affects.join(", "));
        let text = fault.text.strip_prefix(&whose).unwrap_or(fault.text);
        let text = crate::page::explain::cut(text, 60);
        let width = text.chars().count() as f64 * LETTER + 8.0;
        let (from, until) = (axis.px(fault.from_ns), axis.px(until_ns));
        let inside = until - from >= width;
        let before =
            !inside && GUTTER + until + width > WIDTH - (WIDTH - GUTTER - PLOT) && from > width;
        let (begin, end) = match (inside, before) {
            (true, _) => (from, until),
            (false, true) => (from - width, until),
            (false, false) => (from, until + width),
        };
        let place = taken.iter().position(|&taken| taken + APART <= begin).unwrap_or_else(|| {
            taken.push(f64::MIN);
            let name = if rows.is_empty() { name.to_owned() } else { String::new() };
            rows.push(Row { name, height: HEIGHT, ..Row::default() });
            rows.len() - 1
        });
        taken[place] = end;
        let row = &mut rows[place];
        let lasts = fault.until_ns.map_or_else(
            || "never healed".to_owned(),
            |until_ns| format!("for {}", span(until_ns - fault.from_ns)),
        );
        let title = format!("{} (from {} {lasts})", fault.text, moment(fault.from_ns));
        row.shapes.push_str(&axis.bar(
            fault.from_ns,
            until_ns,
            (1.0, HEIGHT - 1.0),
            "fault",
            &title,
        ));
        row.shapes.push_str(&axis.tick(fault.from_ns, (1.0, HEIGHT - 1.0), "begins", &title));
        let from_ns = if inside || before { fault.from_ns } else { until_ns };
        let until_ns = inside.then_some(until_ns);
        row.labels.push(Label { from_ns, until_ns, before, y: 12.5, text, class: "in" });
    }
    rows
}
