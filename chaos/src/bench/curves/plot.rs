//! Curves as SVG pictures.

use std::path::Path;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 420);
/// On a linear horizontal axis, at most. On a logarithmic one, each power of ten has one.
const LABELS: usize = 10;
/// Colours that colour-blind people tell apart (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// One picture. The vertical axis begins at 0.
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// The horizontal axis: what and in which unit.
    pub x: String,
    /// Whether the horizontal axis is logarithmic; then its values are above 0.
    pub log_x: bool,
    /// The vertical axis: what and in which unit.
    pub y: String,
    /// The curves.
    pub series: Vec<Series>,
    /// Moments worth a line: where, and what happened.
    pub marks: Vec<(f64, String)>,
}

/// One curve.
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// By x.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A curve of these points.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect() }
    }
}

impl Plot {
    /// Writes the picture to a file, and makes its folder where needed.
    pub fn draw(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let failed = |error| anyhow!("can't draw {}: {error}", path.display());
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        self.fill(&area).map_err(|error| failed(error.to_string()))?;
        area.present().map_err(|error| failed(error.to_string()))
    }

    fn fill<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let (left, right) = self.width();
        let top = self.height();
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(left..right, 0.0..top)?;
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&|at| self.x_label(*at))
            .y_label_formatter(&|at| number(*at))
            .x_labels(if self.log_x { (right - left) as usize + 1 } else { LABELS })
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (line, (at, what)) in self.marks.iter().enumerate() {
            let at = self.place(*at);
            // One below the other, since moments may be close together.
            let height = top * (0.99 - 0.05 * line as f64);
            chart.draw_series([PathElement::new([(at, 0.0), (at, top)], BLACK.mix(0.3))])?;
            chart.draw_series([Text::new(what.clone(), (at, height), ("sans-serif", 12))])?;
        }
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let points: Vec<_> = series.points.iter().map(|(x, y)| (self.place(*x), *y)).collect();
            chart
                .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
                .label(&series.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                });
            // A few points were measured one by one; many are one long measurement.
            if points.len() <= 12 {
                chart.draw_series(points.iter().map(|at| Circle::new(*at, 3, colour.filled())))?;
            }
        }
        if self.series.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .draw()?;
        }
        Ok(())
    }

    /// Where a value lies on the horizontal axis.
    fn place(&self, x: f64) -> f64 {
        if self.log_x { x.log10() } else { x }
    }

    fn x_label(&self, at: f64) -> String {
        match self.log_x {
            // Between the powers of ten a label would be crooked.
            true if at.fract().abs() > 1e-6 => String::new(),
            true => number(10_f64.powf(at)),
            false => number(at),
        }
    }

    fn width(&self) -> (f64, f64) {
        let places = self.points().map(|(x, _)| self.place(*x));
        let (left, right) =
            places.fold((f64::MAX, f64::MIN), |(left, right), x| (left.min(x), right.max(x)));
        if left < right { (left, right) } else { (0.0, 1.0) }
    }

    /// Far enough above the highest point for the legend.
    fn height(&self) -> f64 {
        let highest = self.points().map(|(_, y)| *y).fold(0.0, f64::max);
        if highest > 0.0 { highest * (1.1 + 0.07 * self.series.len() as f64) } else { 1.0 }
    }

    fn points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.series.iter().flat_map(|series| &series.points)
    }
}

/// As people write it: with separated thousands, and decimals only where they tell something.
fn number(value: f64) -> String {
    if value.abs() < 10.0 && value.fract().abs() > 1e-6 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let texts = [0.0, 0.5, 9.0, 10_000.0, -1_234_567.0].map(number);
        assert_eq!(texts, ["0", "0.5", "9", "10,000", "-1,234,567"]);
    }

    #[test]
    fn draws_every_curve_axis_and_mark() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("new/plot.svg");
        let plot = Plot {
            title: "Growth".into(),
            x: "rooms".into(),
            log_x: true,
            y: "commands/s".into(),
            series: vec![
                Series::new("seek", [(1.0, 5.0), (100.0, 6.0), (10_000.0, 4.0)]),
                Series::new("edit", [(1.0, 2.0), (10_000.0, 1.0)]),
            ],
            marks: vec![(100.0, "killed".into())],
        };
        plot.draw(&path)?;
        let svg = std::fs::read_to_string(path)?;
        for text in ["Growth", "rooms", "commands/s", "seek", "edit", "killed", "10,000"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        Ok(())
    }
}
