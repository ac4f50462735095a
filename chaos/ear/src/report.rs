//! All the listeners of one run, judged together: for people in plain words, for scripts as JSON.

use std::fmt;

use serde::Serialize;

use super::phase::{PhaseChange, phase_change};
use super::skew::{self, Skew, common_span, skew_where};
use super::sound::{broken, millis};
use super::trace::{self, Agreement, Knowledge, TraceError, agreement};
use crate::Heard;

/// Looked at around a change of the leader, after it.
const CHANGE_NS: i64 = 5_000_000_000;

/// One listener's part in a run.
pub struct Listener {
    /// How the report calls it.
    pub name: String,
    /// What it heard.
    pub heard: Heard,
    /// How its trace agrees with that, if there is one.
    pub trace: Option<Agreement>,
    /// What it knew of the room, by the trace.
    pub knows: Knowledge,
}

impl Listener {
    /// Somebody with a trace, or without.
    ///
    /// # Errors
    /// If the trace can't be read.
    pub fn new(name: String, heard: Heard, trace: Option<&str>) -> Result<Self, TraceError> {
        let knows = trace.map(Knowledge::of).unwrap_or_default();
        let trace = trace.map(|text| agreement(&heard, text)).transpose()?;
        Ok(Self { name, heard, trace, knows })
    }
}

/// What a run sounded like.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Each listener's part.
    pub listeners: Vec<ListenerReport>,
    /// Skews of all pairs, by names, in the common span.
    pub skews: Vec<PairReport>,
    /// What broke a promise, one sentence each.
    pub broken: Vec<String>,
    /// What could not be judged, one sentence each.
    pub open: Vec<String>,
}

/// One listener's part in a report.
#[derive(Debug, Serialize)]
pub struct ListenerReport {
    /// Its name.
    pub name: String,
    /// How long it heard songs.
    pub sounding_secs: f64,
    /// Number of gaps, of jumps and repeats, of spans of wrong sound.
    pub gaps: usize,
    /// See there.
    pub jumps: usize,
    /// See there.
    pub damage: usize,
    /// How its phase moved when the leader changed.
    pub phase_change: Option<PhaseChange>,
    /// How its trace agrees.
    pub trace: Option<Agreement>,
}

/// Two listeners against each other.
#[derive(Debug, Serialize)]
pub struct PairReport {
    /// Their names.
    pub names: (String, String),
    /// In the whole common span.
    pub all: Option<Skew>,
    /// In the seconds after the leader's change.
    pub change: Option<Skew>,
}

/// Judges `listeners`; `change_ns` is the CLOCK_MONOTONIC nanosecond at which the leader was lost, if it was.
pub fn report(listeners: &[Listener], change_ns: Option<i64>) -> Report {
    let mut report = Report { listeners: vec![], skews: vec![], broken: vec![], open: vec![] };
    let since_ns = listeners.iter().filter_map(|l| Some(l.heard.span_ns()?.0)).min().unwrap_or(0);
    for listener in listeners {
        report.one(listener, since_ns, change_ns);
    }
    for (n, a) in listeners.iter().enumerate() {
        for b in &listeners[n + 1..] {
            report.pair(a, b, change_ns);
        }
    }
    report
}

impl Report {
    fn one(&mut self, listener: &Listener, since_ns: i64, change_ns: Option<i64>) {
        let Listener { name, heard, trace, .. } = listener;
        if heard.span_ns().is_none() {
            self.open.push(format!("{name} heard no song"));
        }
        self.broken.extend(
            broken(heard, since_ns).into_iter().map(|fault| format!("{name}: {}", fault.what)),
        );
        let change = change_ns.and_then(|at| phase_change(heard, at));
        if change_ns.is_some() && change.is_none() {
            self.open
                .push(format!("{name} did not play one song long enough around the leader's loss"));
        }
        if let Some(change) = change.filter(|change| change.max_ns > skew::CHANGE_MAX_NS) {
            self.broken.push(format!(
                "{name}: the phase moved by {} at the leader's loss",
                millis(change.max_ns)
            ));
        }
        if let Some(untold_ns) = trace.map(|trace| trace.untold_ns).filter(|ns| *ns > 0) {
            let untold = millis(untold_ns);
            self.broken.push(format!("{name}: its trace does not tell of {untold} of a silence"));
        }
        match trace {
            Some(trace) if trace.compared == 0 => {
                self.open
                    .push(format!("{name}: no line of its trace could be compared with the sound"));
            }
            Some(trace) if trace.max_ns > trace::OFF_MAX_NS || trace.other_song > 1 => {
                let (off, others) = (millis(trace.max_ns), trace.other_song);
                self.broken.push(format!(
                    "{name}: its trace is off by up to {off}, and names another song in {others} lines"
                ));
            }
            _ => {}
        }
        self.listeners.push(ListenerReport {
            name: name.clone(),
            sounding_secs: heard.sounding_secs(),
            gaps: heard.gaps.len(),
            jumps: heard.jumps.len(),
            damage: heard.damage.len(),
            phase_change: change,
            trace: *trace,
        });
    }

    fn pair(&mut self, a: &Listener, b: &Listener, change_ns: Option<i64>) {
        let span = common_span(&[&a.heard, &b.heard]);
        // Who has not heard of a seek yet is not out of time.
        let skew =
            |from, to| skew_where(&a.heard, &b.heard, from, to, |at| a.knows.same(&b.knows, at));
        let all = span.and_then(|(from, to)| skew(from, to));
        let change = change_ns.and_then(|at| skew(at, at + CHANGE_NS)).filter(|_| all.is_some());
        let names = (a.name.clone(), b.name.clone());
        let pair = format!("{} and {}", names.0, names.1);
        match &all {
            None => self.open.push(format!("{pair} were not heard together for long enough")),
            Some(skew) if skew.p99_ns > skew::P99_MAX_NS => {
                self.broken.push(format!("{pair} were {} apart at p99", millis(skew.p99_ns)));
            }
            // A look or two at each seam may fall between the two songs.
            Some(skew) if skew.apart > 2 + skew.looks / 100 => {
                self.broken.push(format!("{pair} heard different songs in {} looks", skew.apart));
            }
            Some(_) => {}
        }
        if let Some(change) = change.as_ref().filter(|change| change.max_ns > skew::CHANGE_MAX_NS) {
            self.broken.push(format!(
                "{pair} were {} apart after the leader's loss",
                millis(change.max_ns)
            ));
        }
        self.skews.push(PairReport { names, all, change });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize, what: &str| match count {
            0 => format!("no {what}"),
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        for one in &self.listeners {
            writeln!(
                out,
                "{}: {:.1} s of music, {}, {}, {}",
                one.name,
                one.sounding_secs,
                plural(one.gaps, "gap"),
                plural(one.jumps, "jump"),
                plural(one.damage, "wrong sound"),
            )?;
            if let Some(change) = one.phase_change {
                writeln!(
                    out,
                    "  phase change at the leader's loss: {} at most",
                    millis(change.max_ns)
                )?;
            }
            if let Some(trace) = one.trace.filter(|trace| trace.compared > 0) {
                let (half, most) = (millis(trace.p50_ns), millis(trace.max_ns));
                writeln!(
                    out,
                    "  its trace against the sound: {half} off at p50, {most} at most, in {} lines; {}",
                    trace.compared,
                    plural(trace.underruns as usize, "underrun"),
                )?;
            }
        }
        for pair in &self.skews {
            let names = format!("{} and {}", pair.names.0, pair.names.1);
            if let Some(skew) = &pair.all {
                let (p50, p99, max) =
                    (millis(skew.p50_ns), millis(skew.p99_ns), millis(skew.max_ns));
                writeln!(out, "{names}: {p50} apart at p50, {p99} at p99, {max} at most")?;
            }
            if let Some(skew) = &pair.change {
                writeln!(
                    out,
                    "  in the seconds after the leader's loss: {} at most",
                    millis(skew.max_ns)
                )?;
            }
        }
        for what in &self.broken {
            writeln!(out, "BROKEN: {what}")?;
        }
        for what in &self.open {
            writeln!(out, "not judged: {what}")?;
        }
        if self.broken.is_empty() && self.open.is_empty() {
            writeln!(out, "Every promise held.")?;
        }
        Ok(())
    }
}
