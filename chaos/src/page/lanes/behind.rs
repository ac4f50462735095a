//! How far nodes and watchers are behind what is committed.

use std::collections::BTreeMap;

use jam_proto::wire::v1::{Event, RoomSnapshot};
use prost::Message;

use super::columns::Columns;
use super::scale::Log;
use super::{Axis, Lane, Row};
use crate::history::{Answer, Got, History, Request, What};
use crate::page::requests::reply_of;
use crate::page::text::{escape, moment, short, span};
use crate::promises::replay::Replay;

const HEIGHT: f64 = 28.0;

/// Log entries that a node has still to apply, of those that some node has applied.
pub(super) fn nodes(history: &History, axis: Axis) -> Option<Lane> {
    let mut nodes: BTreeMap<u64, Node> = BTreeMap::new();
    let mut front = 0;
    for record in &history.records {
        match &record.what {
            What::Applied { node, index, .. } | What::Installed { node, index, .. } => {
                let own = nodes.entry(*node).or_insert_with(|| Node::new(axis));
                own.go_on(record.at_ns, front);
                own.applied = Some(*index);
                if *index > front {
                    nodes.values_mut().for_each(|node| node.go_on(record.at_ns, front));
                    front = *index;
                }
            }
            What::Stopped { node, .. } => {
                if let Some(node) = nodes.get_mut(node) {
                    node.go_on(record.at_ns, front);
                    node.applied = None;
                }
            }
            _ => {}
        }
    }
    nodes.values_mut().for_each(|node| node.go_on(axis.end_ns, front));
    // Added at the end, from the nodes' logs: then it tells nothing of when.
    let told = nodes.values().map(|node| node.columns.values().count()).max()?;
    if told < 10 {
        return None;
    }
    let most = nodes.values().flat_map(|node| node.columns.values());
    let log = Log::over(most, 1.0, HEIGHT);
    let ticks = ticks(log, short);
    let rows = nodes.iter().map(|(id, node)| Row {
        name: format!("node {id}"),
        height: HEIGHT,
        // One entry behind is a pixel above none.
        shapes: node.columns.area(HEIGHT, "behind", |entries| match entries {
            0.0 => HEIGHT - 0.5,
            entries => log.y(entries) - 1.5,
        }),
        ticks: ticks.clone(),
        ..Row::default()
    });
    let rows = rows.collect();
    let note = "log entries that another node has applied already; empty: it has no state";
    Some(Lane { title: "Nodes behind", legend: Vec::new(), note, rows })
}

/// The highest power of ten, and the lowest one.
fn ticks(log: Log, text: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    let all: Vec<(f64, f64)> = log.ticks().collect();
    let ends = all.first().into_iter().chain(all.last());
    ends.map(|(y, value)| (*y, text(*value))).collect()
}

struct Node {
    columns: Columns,
    applied: Option<u64>,
    since_ns: i64,
}

impl Node {
    fn new(axis: Axis) -> Self {
        Self { columns: Columns::new(axis), applied: None, since_ns: 0 }
    }

    /// Up to now it was as it was.
    fn go_on(&mut self, now_ns: i64, front: u64) {
        if let Some(applied) = self.applied {
            let behind = front.saturating_sub(applied) as f64;
            self.columns.hold(self.since_ns, now_ns, |_| behind);
        }
        self.since_ns = now_ns;
    }
}

/// How long a watcher has been waiting for what is committed.
pub(super) fn watchers(history: &History, replay: &Replay<'_>, axis: Axis) -> Option<Lane> {
    let committed = committed(history, replay);
    let mut watchers: BTreeMap<u64, Watcher> = BTreeMap::new();
    for record in &history.records {
        match &record.what {
            What::Watch { watcher, room, after, node } => {
                let own = watchers.entry(*watcher).or_insert_with(|| Watcher::new(axis));
                own.go_on(record.at_ns, &committed);
                (own.room, own.has) = (room.clone(), *after);
                // Who begins anew has waited for nothing yet.
                own.begun_ns = if *after == 0 { record.at_ns } else { own.begun_ns };
                let title =
                    format!("watcher {watcher} asks node {node} at {}", moment(record.at_ns));
                own.marks.push_str(&axis.tick(
                    record.at_ns,
                    (HEIGHT - 7.0, HEIGHT),
                    "asks",
                    &title,
                ));
            }
            What::Watched { watcher, got } => {
                let Some(own) = watchers.get_mut(watcher) else { continue };
                own.go_on(record.at_ns, &committed);
                own.has = own.has.max(revision(got));
            }
            What::WatchEnded { watcher, why } => {
                let Some(own) = watchers.get_mut(watcher) else { continue };
                let title =
                    format!("watcher {watcher}'s stream ends at {}: {why}", moment(record.at_ns));
                own.marks.push_str(&axis.tick(
                    record.at_ns,
                    (HEIGHT - 7.0, HEIGHT),
                    "ends",
                    &title,
                ));
            }
            _ => {}
        }
    }
    watchers.values_mut().for_each(|watcher| watcher.go_on(axis.end_ns, &committed));
    let most = watchers.values().flat_map(|watcher| watcher.columns.values());
    let log = Log::over(most, 1.0, HEIGHT);
    let ticks = ticks(log, |ms| span((ms * 1e6).round() as i64));
    let rows = watchers.iter().map(|(id, watcher)| Row {
        name: format!("watcher {id}"),
        height: HEIGHT,
        shapes: format!(
            "<g><title>{}</title>{}</g>{}",
            escape(&format!("watcher {id} of room {}", watcher.room)),
            watcher.columns.area(HEIGHT, "behind", |ms| log.y(ms)),
            watcher.marks
        ),
        ticks: ticks.clone(),
        ..Row::default()
    });
    let rows: Vec<Row> = rows.collect();
    let legend = vec![
        ("ends".to_owned(), "its stream ends".to_owned()),
        ("asks".to_owned(), "it asks a node".to_owned()),
    ];
    let note = "how long the newest committed revision has not reached it";
    (!rows.is_empty()).then_some(Lane { title: "Watchers behind", legend, note, rows })
}

/// By room and revision: when anybody is known to have had it first.
type Committed = BTreeMap<String, BTreeMap<u64, i64>>;

fn committed(history: &History, replay: &Replay<'_>) -> Committed {
    let mut committed = Committed::new();
    for (code, room) in replay.rooms() {
        let times = room.events.iter().filter_map(|(revision, (_, step))| {
            let record = replay.steps().get(*step)?.record;
            Some((*revision, history.records.get(record)?.at_ns))
        });
        committed.insert(code.to_owned(), times.collect());
    }
    let mut seen = |room: &str, revision: u64, at_ns: i64| {
        if let Some(known) = committed.get_mut(room).and_then(|room| room.get_mut(&revision)) {
            *known = at_ns.min(*known);
        }
    };
    let mut asked: BTreeMap<u64, &str> = BTreeMap::new();
    let mut watches: BTreeMap<u64, &str> = BTreeMap::new();
    for record in &history.records {
        match &record.what {
            What::Invoked { op, request: Request::Command { room, .. }, .. } => {
                asked.insert(*op, room);
            }
            What::Answered { op, answer: Answer::Reply(reply) } => {
                if let (Some(room), Some(reply)) = (asked.get(op), reply_of(reply)) {
                    seen(room, reply.revision, record.at_ns);
                }
            }
            What::Watch { watcher, room, .. } => drop(watches.insert(*watcher, room)),
            What::Watched { watcher, got } => {
                if let Some(room) = watches.get(watcher) {
                    seen(room, revision(got), record.at_ns);
                }
            }
            _ => {}
        }
    }
    // Who has a revision has those before it.
    for room in committed.values_mut() {
        let mut next_ns = i64::MAX;
        for at_ns in room.values_mut().rev() {
            next_ns = next_ns.min(*at_ns);
            *at_ns = next_ns;
        }
    }
    committed
}

/// The revision that a message takes a watcher to; 0: it can't be told.
fn revision(got: &Got) -> u64 {
    match got {
        Got::Snapshot(bytes) => {
            RoomSnapshot::decode(bytes.0.as_slice()).map_or(0, |room| room.revision)
        }
        Got::Events(events) => events
            .last()
            .and_then(|event| Event::decode(event.0.as_slice()).ok())
            .map_or(0, |event| event.revision),
        Got::Progress { revision, .. } => *revision,
    }
}

struct Watcher {
    columns: Columns,
    room: String,
    has: u64,
    begun_ns: i64,
    since_ns: i64,
    marks: String,
}

impl Watcher {
    fn new(axis: Axis) -> Self {
        Self {
            columns: Columns::new(axis),
            room: String::new(),
            has: 0,
            begun_ns: 0,
            since_ns: 0,
            marks: String::new(),
        }
    }

    /// Up to now it had what it has.
    fn go_on(&mut self, now_ns: i64, committed: &Committed) {
        let next = committed.get(&self.room).and_then(|room| room.range(self.has + 1..).next());
        let waits_ns = next.map_or(i64::MAX, |(_, at_ns)| self.begun_ns.max(*at_ns));
        if waits_ns < now_ns {
            let behind_ms = |at_ns: i64| (at_ns - waits_ns) as f64 * 1e-6;
            self.columns.hold(self.since_ns.max(waits_ns), now_ns, behind_ms);
        }
        self.since_ns = now_ns;
    }
}
