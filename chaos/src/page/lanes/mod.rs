//! All that happened along one time axis, as one SVG picture.
//!
//! Each row is a nested `<svg>` of its own whose horizontal unit is the millisecond: to zoom, the page's script sets
//! their view boxes and moves the labels, nothing else. Without the script the whole run is shown.

mod behind;
mod clocks;
mod columns;
mod faults;
mod heard;
mod nodes;
mod operations;
mod scale;

use std::fmt::Write;

use super::explain::First;
use super::requests::Asked;
use super::text::{escape, moment, number};
use crate::history::{History, Phase, What};
use crate::promises::replay::Replay;

/// Of the picture; it is scaled to the page.
const WIDTH: f64 = 1200.0;
/// For the rows' names.
const GUTTER: f64 = 132.0;
/// For the rows.
const PLOT: f64 = WIDTH - GUTTER - 16.0;
/// Above the first lane: phases and times.
const TOP: f64 = 46.0;
/// Above a lane's rows: its title.
const TITLE: f64 = 30.0;
const BETWEEN_ROWS: f64 = 3.0;
const AXIS: f64 = 26.0;
/// About what a letter of a label takes.
const LETTER: f64 = 6.5;

/// Rows that belong together.
struct Lane {
    title: &'static str,
    /// Classes of colours and what they stand for.
    legend: Vec<(String, String)>,
    /// What else there is to know.
    note: &'static str,
    rows: Vec<Row>,
}

/// One row.
#[derive(Default)]
struct Row {
    name: String,
    height: f64,
    /// SVG: milliseconds across, pixels down.
    shapes: String,
    labels: Vec<Label>,
    /// Heights that have a name.
    ticks: Vec<(f64, String)>,
}

/// A text at a time.
struct Label {
    from_ns: i64,
    /// It is shown if it fits in before this. None: always.
    until_ns: Option<i64>,
    /// It ends there rather than to begin there.
    before: bool,
    y: f64,
    text: String,
    class: &'static str,
}

/// The time axis: from the begin of the run to its end.
#[derive(Clone, Copy)]
struct Axis {
    end_ns: i64,
}

impl Axis {
    fn of(history: &History) -> Self {
        Self { end_ns: history.end_ns().max(1_000_000) }
    }

    /// Milliseconds, as rows count.
    fn ms(self, at_ns: i64) -> f64 {
        at_ns as f64 * 1e-6
    }

    /// Pixels from the begin of a row, in the picture as it is drawn.
    fn px(self, at_ns: i64) -> f64 {
        at_ns as f64 / self.end_ns as f64 * PLOT
    }

    /// A box between two times, with its text on hover.
    fn bar(self, from_ns: i64, until_ns: i64, y: (f64, f64), class: &str, title: &str) -> String {
        let (x, width) = (self.ms(from_ns), self.ms(until_ns.max(from_ns) - from_ns));
        format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"{class}\"><title>{}</title></rect>",
            number(x),
            number(y.0),
            number(width),
            number(y.1 - y.0),
            escape(title)
        )
    }

    /// A line down, as wide on the screen as its class says however far the picture is zoomed.
    fn tick(self, at_ns: i64, y: (f64, f64), class: &str, title: &str) -> String {
        format!(
            "<path d=\"M{} {}V{}\" class=\"{class}\"><title>{}</title></path>",
            number(self.ms(at_ns)),
            number(y.0),
            number(y.1),
            escape(title)
        )
    }
}

/// The picture; `asked` and `firsts` are of the same history.
pub(super) fn draw(history: &History, asked: &[Asked<'_>], firsts: &[First<'_>]) -> String {
    let axis = Axis::of(history);
    let replay = Replay::of(history);
    let lanes = [
        faults::lane(history, axis),
        nodes::lane(history, axis),
        operations::points(asked, axis),
        operations::served(asked, axis),
        behind::nodes(history, axis),
        behind::watchers(history, &replay, axis),
        clocks::lane(history, axis),
        heard::lane(history, &replay, axis),
    ];
    let mut picture =
        Picture { axis, y: TOP, over: String::new(), stays: String::new(), rows: String::new() };
    let phases = phases(history, axis);
    picture.heading(&phases);
    lanes.iter().flatten().for_each(|lane| picture.lane(lane));
    picture.finish(&phases, firsts)
}

/// Each phase: from, until, and which.
fn phases(history: &History, axis: Axis) -> Vec<(i64, i64, Phase)> {
    let begun = history.records.iter().filter_map(|record| match record.what {
        What::Phase(phase) => Some((record.at_ns, phase)),
        _ => None,
    });
    let begun: Vec<(i64, Phase)> = begun.collect();
    let ends = begun.iter().skip(1).map(|(at_ns, _)| *at_ns).chain([axis.end_ns]);
    begun.iter().zip(ends).map(|(&(from_ns, phase), until_ns)| (from_ns, until_ns, phase)).collect()
}

fn phase_words(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Safety => ("safety", "safety: anything may break"),
        Phase::Liveness => ("liveness", "liveness: a majority is healthy"),
        Phase::Healed => ("healed", "healed: nothing is broken"),
    }
}

struct Picture {
    axis: Axis,
    y: f64,
    /// What moves with the time axis, over the rows.
    over: String,
    /// What stays: titles, legends, the rows' names.
    stays: String,
    rows: String,
}

impl Picture {
    fn heading(&mut self, phases: &[(i64, i64, Phase)]) {
        for &(from_ns, until_ns, phase) in phases {
            let (class, words) = phase_words(phase);
            let fits = self.axis.px(until_ns - from_ns) > words.len() as f64 * LETTER + 8.0;
            let text = if fits { words } else { class }.to_owned();
            let until_ns = Some(until_ns);
            self.label(
                &Label { from_ns, until_ns, before: false, y: 15.0, text, class: "phase" },
                0.0,
            );
        }
    }

    fn lane(&mut self, lane: &Lane) {
        let baseline = self.y + 21.0;
        let _ = write!(
            self.stays,
            "<text class=\"title\" x=\"0\" y=\"{baseline}\">{}</text>",
            lane.title
        );
        let mut x = (lane.title.chars().count() as f64 * 8.8 + 14.0).max(GUTTER);
        for (class, words) in &lane.legend {
            let _ = write!(
                self.stays,
                "<rect class=\"sw {class}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\"/><text class=\"soft\" x=\"{}\" y=\"{baseline}\">{}</text>",
                baseline - 9.0,
                x + 14.0,
                escape(words)
            );
            x += 14.0 + words.chars().count() as f64 * LETTER + 16.0;
        }
        let _ = write!(
            self.stays,
            "<text class=\"soft\" x=\"{x}\" y=\"{baseline}\">{}</text>",
            lane.note
        );
        self.y += TITLE;
        for row in &lane.rows {
            self.row(row);
        }
        self.y += 8.0;
    }

    fn row(&mut self, row: &Row) {
        let (y, height, end) = (self.y, row.height, number(self.axis.ms(self.axis.end_ns)));
        let _ = write!(
            self.rows,
            "<svg class=\"p\" x=\"{GUTTER}\" y=\"{y}\" width=\"{PLOT}\" height=\"{height}\" viewBox=\"0 0 {end} {height}\" preserveAspectRatio=\"none\">\
             <rect class=\"row\" x=\"0\" y=\"0\" width=\"{end}\" height=\"{height}\"/>",
        );
        for (tick_y, _) in &row.ticks {
            let _ = write!(self.rows, "<path class=\"grid\" d=\"M0 {0}H{end}\"/>", number(*tick_y));
        }
        let _ = write!(self.rows, "{}</svg>", row.shapes);
        let _ = write!(
            self.stays,
            "<text class=\"name\" x=\"0\" y=\"{}\">{}</text>",
            number(y + (height / 2.0).min(14.0) + 4.0),
            escape(&super::explain::cut(&row.name, 20))
        );
        for (tick_y, text) in &row.ticks {
            let _ = write!(
                self.over,
                "<text class=\"tick\" x=\"{}\" y=\"{}\">{}</text>",
                GUTTER - 6.0,
                number(y + (tick_y + 3.5).clamp(8.0, height.max(8.0))),
                escape(text)
            );
        }
        row.labels.iter().for_each(|label| self.label(label, y));
        self.y += height + BETWEEN_ROWS;
    }

    fn label(&mut self, label: &Label, y: f64) {
        let px = self.axis.px(label.from_ns);
        let width = label.text.chars().count() as f64 * LETTER + 6.0;
        let fits = label.until_ns.is_none_or(|until_ns| self.axis.px(until_ns) - px >= width);
        let until = label.until_ns.map_or_else(String::new, |until_ns| {
            format!(" data-until=\"{}\"", number(self.axis.ms(until_ns)))
        });
        let side = if label.before { -4.0 } else { 4.0 };
        let _ = write!(
            self.over,
            "<text class=\"t {}{}\" data-t=\"{}\"{until} x=\"{}\" y=\"{}\"{}>{}</text>",
            label.class,
            if label.before { " before" } else { "" },
            number(self.axis.ms(label.from_ns)),
            number(GUTTER + px + side),
            number(y + label.y),
            if fits { "" } else { " visibility=\"hidden\"" },
            escape(&label.text)
        );
    }

    fn finish(self, phases: &[(i64, i64, Phase)], firsts: &[First<'_>]) -> String {
        let (axis, bottom) = (self.axis, self.y);
        let height = bottom + AXIS;
        let end = number(axis.ms(axis.end_ns));
        let mut html = String::from("<p class=\"soft\">The bands behind the rows: ");
        for phase in [Phase::Safety, Phase::Liveness, Phase::Healed] {
            let (class, words) = phase_words(phase);
            let _ = write!(html, "<i class=\"sw ph-{class}\"></i>{words}. ");
        }
        html.push_str("</p>");
        let _ = write!(
            html,
            "<div class=\"tools\" hidden=\"hidden\"><button type=\"button\" data-zoom=\"in\">Zoom in</button>\
             <button type=\"button\" data-zoom=\"out\">Zoom out</button><button type=\"button\" data-zoom=\"all\">All</button>\
             <span class=\"soft\">Drag across the picture to zoom in; hover for details.</span></div>\
             <div class=\"lanes\"><svg id=\"lanes\" role=\"img\" aria-label=\"What happened, along one time axis\" viewBox=\"0 0 {WIDTH} {height}\" \
             data-end=\"{end}\" data-gutter=\"{GUTTER}\" data-plot=\"{PLOT}\" data-bottom=\"{bottom}\" xmlns=\"http://www.w3.org/2000/svg\">",
        );
        let layer = format!(
            "<svg class=\"p\" x=\"{GUTTER}\" y=\"0\" width=\"{PLOT}\" height=\"{bottom}\" viewBox=\"0 0 {end} {bottom}\" preserveAspectRatio=\"none\""
        );
        let _ = write!(html, "{layer}>");
        for &(from_ns, until_ns, phase) in phases {
            let (class, words) = phase_words(phase);
            html.push_str(&axis.bar(
                from_ns,
                until_ns,
                (0.0, bottom),
                &format!("ph-{class}"),
                words,
            ));
        }
        html.push_str("</svg>");
        html.push_str(&self.rows);
        let _ = write!(html, "<g id=\"ticks\">");
        for at_ns in scale::times(axis.end_ns) {
            let x = number(GUTTER + axis.px(at_ns));
            let text = scale::time_text(at_ns, axis.end_ns);
            let _ = write!(
                html,
                "<path d=\"M{x} {TOP}V{bottom}\"/><text x=\"{x}\" y=\"{}\">{text}</text><text x=\"{x}\" y=\"{}\">{text}</text>",
                TOP - 8.0,
                bottom + 16.0,
            );
        }
        let _ = write!(html, "</g>{}", self.over);
        let _ = write!(html, "{layer} pointer-events=\"none\">");
        for first in firsts {
            if let Some(at_ns) = first.at_ns {
                html.push_str(&axis.tick(at_ns, (18.0, bottom), "evident", &first.finding.what));
            }
        }
        html.push_str("</svg>");
        for first in firsts {
            let Some(at_ns) = first.at_ns else { continue };
            let x = number(GUTTER + axis.px(at_ns));
            // Several may be evident at once: their flags stand beside each other.
            let before = firsts.iter().take_while(|other| other.number != first.number);
            let near = before
                .filter_map(|other| other.at_ns)
                .filter(|other_ns| (axis.px(*other_ns) - axis.px(at_ns)).abs() < 16.0);
            let shift = 17.0 * near.count() as f64;
            let _ = write!(
                html,
                "<a href=\"#finding-{0}\" class=\"t flag\" data-t=\"{1}\" data-shift=\"{shift}\" transform=\"translate({2} 0)\"><title>{3}: {4}</title>\
                 <circle cx=\"{shift}\" cy=\"26\" r=\"8\"/><text x=\"{shift}\" y=\"30\">{0}</text></a>",
                first.number,
                number(axis.ms(at_ns)),
                x,
                moment(at_ns),
                escape(&first.finding.what)
            );
        }
        let _ = write!(html, "<g id=\"stays\">{}</g>", self.stays);
        html.push_str(
            "<g id=\"cursor\" visibility=\"hidden\"><path d=\"\"/><rect rx=\"3\" width=\"74\" height=\"16\"/><text></text></g></svg></div>",
        );
        html
    }
}
