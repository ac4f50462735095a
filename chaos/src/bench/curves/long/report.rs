//! A long run as a table and pictures.

use std::path::Path;

use super::super::plot::{Plot, Series};
use super::super::spread::table;
use super::Story;
use super::watch::Sample;

/// The promise: no pause is longer, whatever happens to snapshots.
const PAUSE_MS_MAX: f64 = 250.0;

/// The run as Markdown.
pub fn table_of(story: &Story) -> String {
    let longest = story.samples.iter().max_by(|a, b| a.pause_ms.total_cmp(&b.pause_ms));
    let longest = longest.map_or_else(String::new, |seen| {
        format!(
            "{:.0} (at {:.0} s; the loader itself: {:.0})",
            seen.pause_ms, seen.secs, seen.stall_ms
        )
    });
    let over = story.samples.iter().filter(|seen| seen.pause_ms > PAUSE_MS_MAX).count();
    let at = |secs: Option<f64>| secs.map_or("never".to_owned(), |secs| format!("{secs:.0}"));
    let absence =
        format!("{}, {}, {}", at(story.killed_secs), at(story.returned_secs), at(story.level_secs));
    let third = |figures: fn(&Sample) -> Vec<Option<f64>>| {
        let last = story.samples.len().saturating_sub(1);
        let shown = [0, last / 2, last].map(|at| nodes(&figures(&story.samples[at])));
        shown.join("; ")
    };
    let row = |what: &str, figure: String| [what.to_owned(), figure];
    table(
        ["what", "figure"],
        [
            row("acknowledged commands", story.commands.to_string()),
            row("a second", format!("{:.0}", story.commands as f64 / story.secs)),
            row(
                "p50, p99, highest, ms",
                format!("{:.1}, {:.1}, {:.0}", story.p50_ms, story.p99_ms, story.max_ms),
            ),
            row("longest time without an acknowledgement, ms", longest),
            row("seconds with one above 250 ms", over.to_string()),
            row(
                "snapshots built, sent, installed",
                format!("{}, {}, {}", story.built, story.sent, story.installed),
            ),
            row("follower killed, started again, level, s", absence),
            row(
                "memory of each node at the start; middle; end, MiB",
                third(|seen| seen.rss_mib.clone()),
            ),
            row(
                "disk of each node at the start; middle; end, MiB",
                third(|seen| seen.disk_mib.iter().copied().map(Some).collect()),
            ),
            row(
                "most memory of each node, MiB",
                nodes(&story.memory.iter().map(|node| Some(node.peak_mib)).collect::<Vec<_>>()),
            ),
            row(
                "CPU of the two nodes that stayed, µs/command",
                format!("{:.0}", story.cpu_us_per_command),
            ),
            row("leader changes", story.leader_changes.to_string()),
        ],
    )
}

fn nodes(figures: &[Option<f64>]) -> String {
    let shown =
        figures.iter().map(|figure| figure.map_or("down".to_owned(), |mib| format!("{mib:.0}")));
    shown.collect::<Vec<_>>().join(" ")
}

/// Draws the run into `folder`.
pub fn draw(story: &Story, folder: &Path) -> anyhow::Result<()> {
    let marks: Vec<(f64, String)> = [
        (story.killed_secs, "follower killed"),
        (story.returned_secs, "started again"),
        (story.level_secs, "level"),
    ]
    .into_iter()
    .filter_map(|(secs, what)| Some((secs?, what.to_owned())))
    .collect();
    let plot = |name: &str, title: String, y: &str, series: Vec<Series>| {
        let (x, y) = ("seconds".to_owned(), y.to_owned());
        Plot { title, x, log_x: false, y, series, marks: marks.clone() }.draw(&folder.join(name))
    };
    let samples = &story.samples;
    let thousand = story.commands / 1000;
    let each_node = |figure: fn(&Sample, usize) -> Option<f64>| {
        let count = samples.first().map_or(0, |seen| seen.disk_mib.len());
        let series = (0..count).map(|node| {
            let points = samples.iter().filter_map(|seen| Some((seen.secs, figure(seen, node)?)));
            Series::new(format!("node {}", node + 1), points)
        });
        series.collect::<Vec<_>>()
    };
    let rates = samples.windows(2).map(|pair| {
        let secs = pair[1].secs - pair[0].secs;
        (pair[1].secs, (pair[1].commands - pair[0].commands) as f64 / secs)
    });
    plot(
        "long-commands.svg",
        format!("{thousand},000 commands: how many in each second"),
        "acknowledged commands/s",
        vec![Series::new("commands", rates)],
    )?;
    plot(
        "long-pauses.svg",
        format!("{thousand},000 commands: the longest pause in each second"),
        "ms without an acknowledgement",
        vec![
            Series::new("clients", samples.iter().map(|seen| (seen.secs, seen.pause_ms))),
            Series::new(
                "the loader itself held up",
                samples.iter().map(|seen| (seen.secs, seen.stall_ms)),
            ),
        ],
    )?;
    plot(
        "long-memory.svg",
        format!("{thousand},000 commands: memory of each node"),
        "MiB resident",
        each_node(|seen, node| seen.rss_mib[node]),
    )?;
    plot(
        "long-disk.svg",
        format!("{thousand},000 commands: data folder of each node"),
        "MiB on disk",
        each_node(|seen, node| Some(seen.disk_mib[node])),
    )
}
