//! A value along time, as one column each few pixels: a picture stays small however long the run was.

use std::fmt::Write;

use super::{Axis, PLOT};
use crate::page::text::number;

/// Pixels of a column.
const COLUMN: f64 = 2.0;

/// The largest value within each column.
pub(super) struct Columns {
    axis: Axis,
    largest: Vec<Option<f64>>,
}

impl Columns {
    pub(super) fn new(axis: Axis) -> Self {
        Self { axis, largest: vec![None; (PLOT / COLUMN).ceil() as usize] }
    }

    /// The value was `value(t)` from one time to another; it never falls in between.
    pub(super) fn hold(&mut self, from_ns: i64, until_ns: i64, value: impl Fn(i64) -> f64) {
        let (first, last) = (self.place(from_ns), self.place(until_ns));
        for place in first..=last {
            let end_ns = self.begin_ns(place + 1).min(until_ns);
            let value = value(end_ns);
            let column = &mut self.largest[place];
            *column = Some(column.map_or(value, |known| known.max(value)));
        }
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.largest.iter().flatten().copied()
    }

    /// The area between the values and `base`, `y` down for each value.
    pub(super) fn area(&self, base: f64, class: &str, y: impl Fn(f64) -> f64) -> String {
        let mut path = String::new();
        let mut height = None;
        for (place, value) in self.largest.iter().enumerate() {
            let now = value.map(|value| number(y(value)));
            if now == height {
                continue;
            }
            let x = number(self.axis.ms(self.begin_ns(place)));
            // Writing into a string never fails.
            let _ = match (&height, &now) {
                (None, Some(now)) => write!(path, "M{x} {base}V{now}"),
                (Some(_), Some(now)) => write!(path, "H{x}V{now}"),
                (Some(_), None) => write!(path, "H{x}V{base}Z"),
                (None, None) => Ok(()),
            };
            height = now;
        }
        if height.is_some() {
            let _ = write!(path, "H{}V{base}Z", number(self.axis.ms(self.axis.end_ns)));
        }
        if path.is_empty() { path } else { format!("<path class=\"{class}\" d=\"{path}\"/>") }
    }

    fn place(&self, at_ns: i64) -> usize {
        ((self.axis.px(at_ns) / COLUMN).max(0.0) as usize).min(self.largest.len() - 1)
    }

    fn begin_ns(&self, place: usize) -> i64 {
        (place as f64 * COLUMN / PLOT * self.axis.end_ns as f64) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_keeps_its_largest_value() {
        let axis = Axis { end_ns: 1_000_000_000 };
        let mut columns = Columns::new(axis);
        assert_eq!(columns.area(10.0, "a", |value| value), "");
        columns.hold(0, 500_000_000, |_| 1.0);
        columns.hold(0, 1, |_| 3.0);
        assert_eq!(columns.largest[0], Some(3.0));
        assert_eq!(columns.largest[1], Some(1.0));
        assert_eq!(columns.largest.last(), Some(&None));
        let area = columns.area(10.0, "a", |value| value);
        assert!(
            area.starts_with("<path class=\"a\" d=\"M0 10V3H") && area.ends_with("V10Z\"/>"),
            "{area}"
        );
    }
}
