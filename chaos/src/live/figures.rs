//! What was measured in a run, beside what was judged.

use super::scenario::Budget;
use crate::history::{Answer, History, What};
use crate::page::Figure;
use crate::promises::report::{ListenerReport, Report};
use crate::promises::trace::{Agreement, OFF_MAX_NS};

/// The name of the first figure.
pub(super) const ACKNOWLEDGED: &str = "requests acknowledged";

/// All that there is to tell.
pub fn figures(
    history: &History,
    heard: Option<&Report>,
    stalls: usize,
    budget: &Budget,
) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut tell = |name: &str, value: f64, unit: &str| {
        figures.push(Figure {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            budget: None,
            held: None,
        });
    };
    let answered: Vec<i64> = history
        .records
        .iter()
        .filter_map(|record| match &record.what {
            What::Answered {
                answer: Answer::Reply(_) | Answer::Stored | Answer::Opened, ..
            } => Some(record.at_ns),
            _ => None,
        })
        .collect();
    tell(ACKNOWLEDGED, answered.len() as f64, "");
    let longest = answered.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    tell("longest time without an acknowledgement", longest as f64 / 1e6, "ms");
    tell("times that the machine stalled", stalls as f64, "");
    for (name, trace) in traces(heard) {
        let held = (stalls == 0).then_some(trace.max_ns <= OFF_MAX_NS && trace.other_song <= 1);
        figures.push(Figure {
            name: format!("trace of {name} against its sound, furthest"),
            value: trace.max_ns as f64 / 1e3,
            unit: "µs".to_owned(),
            budget: Some(format!("{} µs", OFF_MAX_NS / 1000)),
            held,
        });
    }
    for pair in heard.map(|report| report.skews.as_slice()).unwrap_or_default() {
        if let Some(skew) = &pair.all {
            let name = format!("skew of {} and {} at p99", pair.names.0, pair.names.1);
            // Nobody could have done better on a machine that stood still.
            let held = (stalls == 0).then_some(skew.p99_ns <= budget.skew_p99_us * 1000);
            figures.push(Figure {
                name,
                value: skew.p99_ns as f64 / 1e3,
                unit: "µs".to_owned(),
                budget: Some(format!("{} µs", budget.skew_p99_us)),
                held,
            });
        }
    }
    figures
}

/// What traces could be held against.
fn traces(heard: Option<&Report>) -> impl Iterator<Item = (&str, Agreement)> {
    let listeners = heard.map(|report| report.listeners.as_slice()).unwrap_or_default();
    let compared = |listener: &ListenerReport| listener.trace.filter(|trace| trace.compared > 0);
    listeners.iter().filter_map(move |one| Some((one.name.as_str(), compared(one)?)))
}
