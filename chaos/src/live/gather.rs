//! One history of all that was written down in a run: by the runner, by the nodes, by those who listened.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use jam_cluster::record;
use serde::Deserialize;

use super::joiner::{Joiner, Take};
use super::seat::Seat;
use crate::ear::{Heard, Recording, Reference, Song, listen, stretches};
use crate::history::{Digest, Entry, Hex, History, ListenerSample, Record, Stop, TimeSample, What};
use crate::promises::report::Listener;

/// What begins the line of a panic in a log.
const PANIC: &str = "panicked at";

/// What a node's processes wrote down; `begun_ns` is the run's begin, `until_ns` its end, both CLOCK_MONOTONIC.
///
/// # Errors
/// If a record can't be read.
pub fn node(seat: &Seat, begun_ns: i64, until_ns: i64) -> anyhow::Result<History> {
    let mut history = History::default();
    let mut ids: BTreeMap<u32, u64> = BTreeMap::new();
    for (life, path) in seat.records() {
        let Ok(file) = File::open(&path) else { continue };
        let mut node = 0;
        let mut led = 0;
        for line in BufReader::new(file).split(b'\n') {
            let line = line.with_context(|| format!("can't read {}", path.display()))?;
            let line = match serde_json::from_slice::<record::Line>(&line) {
                Ok(line) => line,
                // A kill may cut the last line short.
                Err(_) if !line.ends_with(b"}") => break,
                Err(error) => {
                    return Err(error).with_context(|| format!("{} is no record", path.display()));
                }
            };
            let at_ns = line.mono_ns - begun_ns;
            if line.mono_ns > until_ns {
                break;
            }
            if let record::What::Begins { node: id } = line.what {
                node = id;
                ids.insert(life, id);
            }
            if let record::What::Time { term, leads: true, .. } = line.what
                && led < term
            {
                led = term;
                history.push(at_ns, What::Leads { node, life, term });
            }
            history.push(at_ns, told(line.what, node, life, begun_ns));
        }
    }
    for end in seat.ends().iter().filter(|end| end.mono_ns <= until_ns) {
        // One that never belonged to a cluster was no node; a disk that is gone was that of the node before it.
        let before = ids.range(..end.life).next_back().filter(|_| end.how == Stop::Wiped);
        if let Some((_, &node)) = ids.get_key_value(&end.life).or(before) {
            let what = What::Stopped { node, life: end.life, how: end.how.clone() };
            history.push(end.mono_ns - begun_ns, what);
        }
    }
    history.records.sort_by_key(|record| record.at_ns);
    Ok(history)
}

fn told(what: record::What, node: u64, life: u32, begun_ns: i64) -> What {
    match what {
        record::What::Begins { .. } => What::Started { node, life },
        record::What::Applied { term, index, entry } => {
            let entry = match entry {
                record::Entry::Blank => Entry::Blank,
                record::Entry::Members(text) => Entry::Membership(text),
                record::Entry::Batch(bytes) => Entry::Batch(hex(&bytes)),
            };
            What::Applied { node, life, index, term, entry }
        }
        record::What::Installed { term, index } => What::Installed { node, life, index, term },
        record::What::State { index, digest } => {
            let digest = Digest(hex(&digest).0.try_into().unwrap_or_default());
            What::Digest { node, life, index, digest }
        }
        record::What::Time { term, epoch, leads, shared, bound_ns, bound_term, asked_ns } => {
            let asked_ns = asked_ns - begun_ns;
            What::Time(TimeSample {
                node,
                life,
                term,
                epoch,
                leads,
                shared,
                bound_ns,
                bound_term,
                asked_ns,
            })
        }
    }
}

fn hex(digits: &str) -> Hex {
    // A record's own writer wrote them.
    serde_json::from_value(serde_json::Value::String(digits.to_owned())).unwrap_or(Hex(Vec::new()))
}

/// A line of `jam join --trace`, as far as it is of use here.
#[derive(Deserialize)]
struct Line {
    mono_ns: i64,
    shared_ns: Option<i64>,
    #[serde(default)]
    room: Option<String>,
    #[serde(default)]
    revision: Option<u64>,
    #[serde(default)]
    entry: Option<u64>,
    #[serde(default)]
    bound_ns: Option<i64>,
    state: String,
    #[serde(default)]
    term: Option<u64>,
    #[serde(default)]
    epoch: Option<u64>,
    #[serde(default)]
    buffer_ms: u32,
}

/// What somebody heard in one life and said of it, and the same for the judges of recordings. `None`: it ended before it
/// heard anything.
///
/// # Errors
/// If what it left can't be read.
pub fn listener(
    name: &str,
    take: &Take,
    songs: &[Song],
    begun_ns: i64,
) -> anyhow::Result<Option<(History, Listener)>> {
    let Ok(recording) = Recording::open(&take.wav) else { return Ok(None) };
    let reference = Reference::new(songs.to_vec(), recording.sample_rate);
    let heard: Heard = listen(&reference, recording);
    let mut history = History::default();
    for stretch in stretches(&heard, name, take.life, begun_ns) {
        history.push(stretch.until_ns, What::Heard(stretch));
    }
    let trace = fs::read_to_string(&take.trace)
        .with_context(|| format!("can't read {}", take.trace.display()))?;
    for line in trace.lines() {
        // A kill may cut the last line short.
        let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
        let at_ns = line.mono_ns - begun_ns;
        history.push(at_ns, What::Listens(sample(name, take.life, at_ns, line)));
    }
    history.records.sort_by_key(|record| record.at_ns);
    let name = format!("{name}.{}", take.life);
    Ok(Some((history, Listener::new(name, heard, Some(&trace))?)))
}

fn sample(name: &str, life: u32, at_ns: i64, line: Line) -> ListenerSample {
    ListenerSample {
        listener: name.to_owned(),
        life,
        at_ns,
        revision: line.room.as_ref().and(line.revision).unwrap_or_default(),
        room: line.room.unwrap_or_default(),
        epoch: line.epoch.unwrap_or_default(),
        term: line.term.unwrap_or_default(),
        shared: line
            .shared_ns
            .filter(|_| line.epoch.is_some())
            .map(|ns| jam_proto::time::Flicks::from_nanos(ns).0),
        bound_ns: line.bound_ns.unwrap_or(i64::MAX),
        unheard_ns: None,
        state: line.state,
        song_here: line.entry.is_none() || line.buffer_ms > 0,
    }
}

/// The lines of panics in what processes logged.
pub fn panics(seats: impl Iterator<Item = (String, std::path::PathBuf)>, at_ns: i64) -> History {
    let mut history = History::default();
    for (process, log) in seats {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.contains(PANIC) {
                let said = format!("{line} {}", lines.next().unwrap_or_default());
                history.push(at_ns, What::Panicked { process: process.clone(), said });
            }
        }
    }
    history
}

/// The logs of all.
pub fn logs<'a>(
    seats: impl Iterator<Item = &'a Seat>,
    joiners: &'a [Joiner],
) -> impl Iterator<Item = (String, std::path::PathBuf)> {
    let nodes = seats.map(|seat| (format!("node {}", seat.place), seat.log()));
    nodes.chain(joiners.iter().map(|joiner| (joiner.name.clone(), joiner.log())))
}

/// Writes a history.
///
/// # Errors
/// If the disk fails.
pub fn write(history: &History, path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("can't write {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    history.write(&mut file)?;
    std::io::Write::flush(&mut file)?;
    Ok(())
}

/// Only what follows on the begin of the run, and nothing that goes back: what is to be one history.
pub fn tidy(mut history: History) -> History {
    history.records.retain(|Record { at_ns, .. }| *at_ns >= 0);
    history
}
