//! How far each listener's shared time is from the leader's, and how far it says that it may be.

use std::collections::BTreeMap;
use std::fmt::Write;

use jam_proto::time::Flicks;

use super::scale::Both;
use super::{Axis, Lane, PLOT, Row};
use crate::history::{History, TimeSample, What};
use crate::page::text::{moment, number, span};

const HEIGHT: f64 = 64.0;
/// The scale is even up to here, ns: about what can be heard of.
const EVEN_NS: f64 = 10_000.0;
/// Between two looks at a leader that belong together, ns; and between two points of one line.
const APART_NS: i64 = 400_000_000;
/// Between two labels, pixels.
const LABEL: f64 = 11.0;
/// Points a row, at most: one a pixel.
const POINTS_MAX: usize = PLOT as usize;

/// One listener's clock, held against the leader's.
#[derive(Clone, Copy)]
struct Point {
    at_ns: i64,
    off_ns: i64,
    bound_ns: i64,
    epoch: u64,
}

/// A row for each listener.
pub(super) fn lane(history: &History, axis: Axis) -> Option<Lane> {
    let listeners = points(history);
    let all = listeners.values().flatten();
    let high = all.flat_map(|point| [point.off_ns.unsigned_abs(), point.bound_ns.unsigned_abs()]);
    // A bound of seconds says that nothing is known, and would leave no room for the rest.
    let high = high.filter(|ns| *ns <= 100_000_000).max()? as f64;
    let high = 10_f64.powf(high.max(1.0).log10().ceil());
    let both = Both::new(EVEN_NS, high, HEIGHT);
    let mut ticks: Vec<(f64, String)> = vec![(both.y(0.0), "0".to_owned())];
    for value in [high, high / 100.0] {
        // Labels want some room.
        if both.y(0.0) - both.y(value) >= LABEL {
            ticks.push((both.y(value), format!("+{}", span(value as i64))));
            ticks.push((both.y(-value), format!("−{}", span(value as i64))));
        }
    }
    let rows = listeners.iter().map(|(name, points)| {
        let largest = points.iter().max_by_key(|point| point.off_ns.unsigned_abs());
        let title = largest.map_or_else(String::new, |largest| {
            let at = moment(largest.at_ns);
            format!("{name}: at most {} off, at {at}", span(largest.off_ns.abs()))
        });
        Row {
            name: name.clone(),
            height: HEIGHT,
            shapes: shapes(points, both, axis, &title),
            ticks: ticks.clone(),
            ..Row::default()
        }
    });
    let rows = rows.collect();
    let legend = [
        ("off", "off the leader’s time, as it was"),
        ("bound", "at most this, by its own account"),
    ];
    let legend = legend.map(|(class, words)| (class.to_owned(), words.to_owned())).into();
    let note = "even to 10 µs, then logarithmic; nothing where no leader’s time is known";
    Some(Lane { title: "Clocks of listeners", legend, note, rows })
}

/// What leaders said, each in the middle of the time in which it was true.
fn looks(history: &History) -> Vec<(i64, &TimeSample)> {
    let looks = history.records.iter().filter_map(|record| match &record.what {
        What::Time(said) if said.leads => {
            Some((said.asked_ns + (record.at_ns - said.asked_ns) / 2, said))
        }
        _ => None,
    });
    let mut looks: Vec<_> = looks.collect();
    looks.sort_by_key(|(at_ns, _)| *at_ns);
    looks
}

fn points(history: &History) -> BTreeMap<String, Vec<Point>> {
    let looks = looks(history);
    let mut points: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    for record in &history.records {
        let What::Listens(said) = &record.what else { continue };
        let Some(shared) = said.shared else { continue };
        let behind = looks.partition_point(|(look_ns, _)| *look_ns <= said.at_ns);
        let Some(before) = behind.checked_sub(1).and_then(|at| looks.get(at)) else { continue };
        let Some(after) = looks.get(behind) else { continue };
        let of_one = |look: &TimeSample| (look.node, look.life, look.term, look.epoch);
        let apart_ns = after.0 - before.0;
        if of_one(before.1) != of_one(after.1)
            || apart_ns > APART_NS
            || before.1.epoch != said.epoch
        {
            continue;
        }
        let share = (said.at_ns - before.0) as f64 / apart_ns.max(1) as f64;
        let passed = (after.1.shared - before.1.shared) as f64 * share;
        let off_ns = Flicks(shared - before.1.shared - passed as i64).as_nanos();
        let point = Point { at_ns: said.at_ns, off_ns, bound_ns: said.bound_ns, epoch: said.epoch };
        points.entry(said.listener.clone()).or_default().push(point);
    }
    for points in points.values_mut() {
        points.sort_by_key(|point| point.at_ns);
        let each = points.len().div_ceil(POINTS_MAX).max(1);
        // Of those that share a pixel, the farthest off.
        *points = points
            .chunks(each)
            .filter_map(|chunk| chunk.iter().max_by_key(|point| point.off_ns.unsigned_abs()))
            .copied()
            .collect();
    }
    points
}

fn shapes(points: &[Point], both: Both, axis: Axis, title: &str) -> String {
    let mut shapes = format!("<title>{}</title>", crate::page::text::escape(title));
    let apart_ns = APART_NS.max(axis.end_ns / 200);
    let goes_on = |a: &Point, b: &Point| a.epoch == b.epoch && b.at_ns - a.at_ns <= apart_ns;
    for piece in points.chunk_by(goes_on) {
        let (mut line, mut above, mut below) = (String::new(), String::new(), String::new());
        for (at, point) in piece.iter().enumerate() {
            let x = number(axis.ms(point.at_ns));
            let step = if at == 0 { "M" } else { "L" };
            // Writing into a string never fails.
            let _ = write!(line, "{step}{x} {}", number(both.y(point.off_ns as f64)));
            let _ = write!(above, "{step}{x} {}", number(both.y(point.bound_ns as f64)));
        }
        for point in piece.iter().rev() {
            let x = number(axis.ms(point.at_ns));
            let _ = write!(below, "L{x} {}", number(both.y(-(point.bound_ns as f64))));
        }
        let _ = write!(
            shapes,
            "<path class=\"bound\" d=\"{above}{below}Z\"/><path class=\"off\" d=\"{line}\"/>"
        );
    }
    shapes
}
