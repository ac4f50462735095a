//! Operations: when, how long they took, how they came out; and how many were served.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::scale::Log;
use super::{Axis, Lane, PLOT, Row};
use crate::page::requests::{Asked, Came};
use crate::page::text::{escape, moment, number, span};

const HEIGHT: f64 = 120.0;
/// At the top: those without an answer.
const NO_ANSWER: f64 = 20.0;
/// With more than this, those that were served are shown as a density.
const POINTS_MAX: usize = 3000;
/// Of a cell of that density, pixels.
const CELL: (f64, f64) = (4.0, 4.0);
const SERVED_HEIGHT: f64 = 40.0;

/// A point each: time across, latency up.
pub(super) fn points(asked: &[Asked<'_>], axis: Axis) -> Option<Lane> {
    if asked.is_empty() {
        return None;
    }
    let mut took: Vec<f64> =
        asked.iter().filter_map(|one| one.took_ns).map(|ns| ns as f64 * 1e-6).collect();
    took.sort_by(f64::total_cmp);
    // A few that were refused at once stand at the bottom.
    let least = took.get(took.len() / 50).copied().unwrap_or(1.0).max(0.001);
    let log = Log::over(took.iter().copied(), least, HEIGHT - NO_ANSWER);
    let y = |one: &Asked<'_>| {
        one.took_ns.map_or(NO_ANSWER / 2.0 - 4.0, |ns| NO_ANSWER + log.y(ns as f64 * 1e-6))
    };
    let dense = asked.len() > POINTS_MAX;
    let is_rare = |came: Came| matches!(came, Came::Refused | Came::Unknown);
    let mut shapes = String::new();
    if dense {
        shapes.push_str(&density(asked.iter().filter(|one| !is_rare(one.came)), y, axis));
    }
    // The rare ones on top.
    for came in Came::ALL {
        let mut of_one = asked.iter().filter(|one| one.came == came && (!dense || is_rare(came)));
        // Writing into a string never fails.
        let _ = write!(shapes, "<g class=\"dots {}\">", came.name());
        of_one.by_ref().take(POINTS_MAX).for_each(|one| {
            let took = one.took_ns.map_or_else(
                || "never answered".to_owned(),
                |took_ns| format!("after {}", span(took_ns)),
            );
            let _ = write!(
                shapes,
                "<path d=\"M{} {}h0\"><title>{}, {}: {} {took}, asked at {}</title></path>",
                number(axis.ms(one.at_ns)),
                number(y(one)),
                escape(one.client),
                escape(&one.kind),
                came.name(),
                moment(one.at_ns)
            );
        });
        shapes.push_str("</g>");
    }
    let mut ticks: Vec<(f64, String)> =
        log.ticks().map(|(y, ms)| (NO_ANSWER + y, span((ms * 1e6).round() as i64))).collect();
    ticks.push((NO_ANSWER / 2.0 - 4.0, "no answer".to_owned()));
    let rows =
        vec![Row { name: "latency".to_owned(), height: HEIGHT, shapes, ticks, ..Row::default() }];
    let legend = Came::ALL.map(|came| (came.name().to_owned(), came.name().to_owned())).into();
    let note = if dense {
        "the fuller the colour, the more; unknown and refused one by one"
    } else {
        "a point each"
    };
    Some(Lane { title: "Operations", legend, note, rows })
}

/// Cells, the fuller the more there are.
fn density<'a>(
    asked: impl Iterator<Item = &'a Asked<'a>>,
    y: impl Fn(&Asked<'_>) -> f64,
    axis: Axis,
) -> String {
    let mut cells: BTreeMap<(i64, i64), [usize; 2]> = BTreeMap::new();
    for one in asked {
        let cell = ((axis.px(one.at_ns) / CELL.0) as i64, (y(one) / CELL.1) as i64);
        cells.entry(cell).or_default()[usize::from(one.came == Came::Rejected)] += 1;
    }
    let most = cells.values().map(|[one, other]| one + other).max().unwrap_or(1);
    let full = (1.0 + most as f64).ln();
    let ms = axis.ms(axis.end_ns) / PLOT;
    let mut shapes = String::new();
    for ((x, y), [acknowledged, rejected]) in cells {
        let all = (acknowledged + rejected) as f64;
        let came = if rejected > acknowledged { Came::Rejected } else { Came::Acknowledged };
        let _ = write!(
            shapes,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"{}\" opacity=\"{:.2}\"><title>{acknowledged} acknowledged, {rejected} rejected</title></rect>",
            number(x as f64 * CELL.0 * ms),
            number(y as f64 * CELL.1),
            number(CELL.0 * ms),
            number(CELL.1),
            came.name(),
            0.25 + 0.75 * (1.0 + all).ln() / full,
        );
    }
    shapes
}

/// How many were served, by the time of their answer.
pub(super) fn served(asked: &[Asked<'_>], axis: Axis) -> Option<Lane> {
    let step_ns = (axis.end_ns / 240 / 1_000_000_000 + 1) * 1_000_000_000;
    let mut counts = vec![[0_usize; 2]; (axis.end_ns / step_ns) as usize + 1];
    for one in asked {
        let Some(took_ns) = one.took_ns else { continue };
        let at = ((one.at_ns + took_ns) / step_ns).max(0) as usize;
        match (one.came, counts.get_mut(at)) {
            (Came::Acknowledged, Some(count)) => count[0] += 1,
            (Came::Rejected, Some(count)) => count[1] += 1,
            _ => {}
        }
    }
    let most = counts.iter().map(|[one, other]| one + other).max().filter(|most| *most > 0)?;
    let secs = step_ns as f64 * 1e-9;
    let up = |count: usize| count as f64 / most as f64 * (SERVED_HEIGHT - 2.0);
    let mut shapes = String::new();
    for (at, [acknowledged, rejected]) in counts.into_iter().enumerate() {
        let from_ns = at as i64 * step_ns;
        let until_ns = (from_ns + step_ns).min(axis.end_ns);
        let title = format!(
            "{acknowledged} acknowledged and {rejected} rejected in {secs} s from {}",
            moment(from_ns)
        );
        let middle = SERVED_HEIGHT - up(acknowledged);
        let top = middle - up(rejected);
        for (y, class) in [((middle, SERVED_HEIGHT), "acknowledged"), ((top, middle), "rejected")] {
            if y.0 < y.1 {
                shapes.push_str(&axis.bar(from_ns, until_ns, y, class, &title));
            }
        }
    }
    let ticks =
        vec![(SERVED_HEIGHT, "0".to_owned()), (2.0, format!("{}/s", number(most as f64 / secs)))];
    let rows = vec![Row {
        name: "served".to_owned(),
        height: SERVED_HEIGHT,
        shapes,
        ticks,
        ..Row::default()
    }];
    let legend = [Came::Acknowledged, Came::Rejected];
    let legend = legend.map(|came| (came.name().to_owned(), came.name().to_owned())).into();
    Some(Lane { title: "Answers", legend, note: "by the time of the answer", rows })
}
