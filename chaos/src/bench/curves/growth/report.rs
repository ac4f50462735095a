//! The curves of growth as tables and pictures.

use std::path::Path;

use super::super::plot::{Plot, Series};
use super::super::spread::{Spread, table};
use super::super::usage::Memory;
use super::{Curves, Load, WatchPoint};

/// Rooms and watchers that memory is stated for.
const PER_ROOMS: f64 = 10_000.0;
const PER_WATCHERS: f64 = 1000.0;

/// All curves as Markdown.
pub fn tables(curves: &Curves) -> String {
    let rooms = table(
        [
            "rooms",
            "commands/s",
            "p50, ms",
            "p99, ms",
            "server CPU, µs/command",
            "a node's memory at rest, MiB",
            "and after the load",
        ],
        curves.rooms.iter().map(|point| {
            let [per_sec, p50, p99, cpu] = cells(&point.load);
            [
                point.rooms.to_string(),
                per_sec,
                p50,
                p99,
                cpu,
                rss(&point.at_rest),
                rss(&point.after_load),
            ]
        }),
    );
    let queue = table(
        ["entries queued", "what", "commands/s", "p50, ms", "p99, ms", "server CPU, µs/command"],
        curves.queue.iter().flat_map(|point| {
            [("seeks", &point.seeks), ("edits", &point.edits)].map(|(what, load)| {
                let [per_sec, p50, p99, cpu] = cells(load);
                [point.entries.to_string(), what.to_owned(), per_sec, p50, p99, cpu]
            })
        }),
    );
    let watching = table(
        [
            "rooms",
            "watchers of one",
            "to the last watcher, p50, ms",
            "p99, ms",
            "a node's memory, MiB",
        ],
        curves.watching.iter().map(|point| {
            let WatchPoint { rooms, watchers, p50_ms, p99_ms, .. } = point;
            [
                rooms.to_string(),
                watchers.to_string(),
                format!("{p50_ms:.1}"),
                format!("{p99_ms:.1}"),
                rss(&point.during),
            ]
        }),
    );
    let said = |mib: Option<f64>| mib.map_or("-".to_owned(), |mib| format!("{mib:.1}"));
    let summary = table(
        ["what", "figure"],
        [
            ["a node's memory per 10,000 rooms, MiB".to_owned(), said(per_rooms(curves))],
            ["a node's memory per 1,000 watchers, MiB".to_owned(), said(per_watchers(curves))],
            ["leader changes in all runs".to_owned(), curves.leader_changes.to_string()],
        ],
    );
    [rooms, queue, watching, summary].join("\n")
}

fn cells(load: &Load) -> [String; 4] {
    [load.per_sec, load.p50_ms, load.p99_ms, load.cpu_us_per_command]
        .map(|figure| figure.to_string())
}

fn rss(nodes: &[Memory]) -> String {
    Spread::of(nodes.iter().map(|node| node.rss_mib)).to_string()
}

fn mean(nodes: &[Memory], figure: fn(&Memory) -> f64) -> f64 {
    nodes.iter().map(figure).sum::<f64>() / nodes.len() as f64
}

fn mean_rss(nodes: &[Memory]) -> f64 {
    mean(nodes, |node| node.rss_mib)
}

/// What a node's memory grows by from the fewest rooms to the most, for each 10,000 of them.
fn per_rooms(curves: &Curves) -> Option<f64> {
    let few = curves.rooms.iter().min_by_key(|point| point.rooms)?;
    let many = curves.rooms.iter().max_by_key(|point| point.rooms)?;
    let more = many.rooms.checked_sub(few.rooms).filter(|more| *more > 0)? as f64;
    Some((mean_rss(&many.at_rest) - mean_rss(&few.at_rest)) / more * PER_ROOMS)
}

/// What a node's memory grows by for each 1,000 watchers that it serves, where the most came to the fewest rooms.
fn per_watchers(curves: &Curves) -> Option<f64> {
    let point = curves
        .watching
        .iter()
        .max_by_key(|point| (point.watchers, std::cmp::Reverse(point.rooms)))?;
    let grown = mean_rss(&point.during) - mean_rss(&point.before);
    let served = point.watchers as f64 / point.during.len() as f64;
    Some(grown / served * PER_WATCHERS)
}

/// Draws all curves into `folder`.
pub fn draw(curves: &Curves, folder: &Path) -> anyhow::Result<()> {
    let by_rooms = |figure: fn(&super::RoomsPoint) -> f64| {
        curves
            .rooms
            .iter()
            .map(move |point| (point.rooms as f64, figure(point)))
            .collect::<Vec<_>>()
    };
    let by_entries = |figure: fn(&super::QueuePoint) -> f64| {
        curves
            .queue
            .iter()
            .map(move |point| (point.entries as f64, figure(point)))
            .collect::<Vec<_>>()
    };
    let plot = |name: &str, title: &str, x: &str, y: &str, series: Vec<Series>| {
        let [title, x, y] = [title, x, y].map(str::to_owned);
        let marks = Vec::new();
        Plot { title, x, log_x: true, y, series, marks }.draw(&folder.join(name))
    };
    plot(
        "rooms-commands.svg",
        "Commands spread over rooms",
        "rooms",
        "acknowledged commands/s",
        vec![Series::new("seeks", by_rooms(|point| point.load.per_sec.median))],
    )?;
    plot(
        "rooms-latency.svg",
        "Time to the acknowledgement, by rooms",
        "rooms",
        "ms",
        vec![
            Series::new("p50", by_rooms(|point| point.load.p50_ms.median)),
            Series::new("p99", by_rooms(|point| point.load.p99_ms.median)),
        ],
    )?;
    plot(
        "rooms-memory.svg",
        "Memory of a node, by rooms",
        "rooms",
        "MiB resident",
        vec![
            Series::new("at rest", by_rooms(|point| mean_rss(&point.at_rest))),
            Series::new("after the load", by_rooms(|point| mean_rss(&point.after_load))),
        ],
    )?;
    plot(
        "queue-commands.svg",
        "Commands in one room, by the length of its queue",
        "entries queued",
        "acknowledged commands/s",
        vec![
            Series::new("seeks", by_entries(|point| point.seeks.per_sec.median)),
            Series::new("edits of the queue", by_entries(|point| point.edits.per_sec.median)),
        ],
    )?;
    plot(
        "cpu.svg",
        "CPU of the three nodes together, for one command",
        "rooms, or entries queued",
        "µs",
        vec![
            Series::new("seeks, by rooms", by_rooms(|point| point.load.cpu_us_per_command.median)),
            Series::new(
                "seeks, by entries",
                by_entries(|point| point.seeks.cpu_us_per_command.median),
            ),
            Series::new(
                "edits, by entries",
                by_entries(|point| point.edits.cpu_us_per_command.median),
            ),
        ],
    )?;
    plot(
        "watchers-latency.svg",
        "From sending a command to the last watcher's hearing of it",
        "watchers of one room",
        "ms",
        watch_series(curves),
    )
}

type Figure = fn(&WatchPoint) -> f64;

fn watch_series(curves: &Curves) -> Vec<Series> {
    let figures: [(&str, Figure); 2] =
        [("p50", |point| point.p50_ms), ("p99", |point| point.p99_ms)];
    let series = curves.rooms.iter().flat_map(|of| {
        figures.map(|(name, figure)| {
            let points = curves.watching.iter().filter(|point| point.rooms == of.rooms);
            let plural = if of.rooms == 1 { "room" } else { "rooms" };
            Series::new(
                format!("{name}, {} {plural}", of.rooms),
                points.map(|point| (point.watchers as f64, figure(point))),
            )
        })
    });
    series.collect()
}
