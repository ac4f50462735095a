//! One run in a process of its own, and what came of it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::Context;

use super::entropy;
use super::plan::{CLIENTS, DESKS, LISTENERS, NODES, Plan};
use super::stage;
use super::time::Time;
use crate::history::{History, What};
use crate::page::{self, Facts, Link};
use crate::promises::all::{Bounds, Judged, judge};
use crate::promises::sometimes::Counters;

/// A log's line of a panic begins so.
const PANIC: &str = "panic:";
/// Lines shown of a run that crashed.
const LAST_LINES: usize = 30;

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// All promises were kept.
    Held,
    /// One was broken.
    Broken,
    /// It can't be told, and why.
    Open(String),
    /// The simulation itself ended early: a panic, most often.
    Crashed(String),
}

/// What is known of one run.
pub struct Outcome {
    /// What was run.
    pub plan: Plan,
    /// How it ended.
    pub ending: Ending,
    /// For people.
    pub explained: String,
    /// What it reached.
    pub counters: Counters,
    /// BLAKE3 of the history, in hexadecimal.
    pub digest: String,
    /// Requests that were answered.
    pub commands: usize,
    /// What it took, s.
    pub real_secs: f64,
    /// Where the history is.
    pub history: PathBuf,
    /// What the history holds, and how it was judged, if there is one.
    judged: Option<(History, Judged)>,
}

/// A run in a process of its own.
pub struct Run {
    plan: Plan,
    child: Child,
    history: PathBuf,
    begun: Instant,
}

impl Run {
    /// Starts it. The plan, the history and the log go into `folder`, named by seed and suffix.
    pub fn start(plan: Plan, folder: &Path, suffix: &str) -> anyhow::Result<Self> {
        let path = plan_path(folder, plan.seed, suffix);
        let history = path.with_extension("history");
        write_plan(&plan, &path)?;
        let own = std::env::current_exe().context("can't find the program itself")?;
        let mut command = Command::new(own);
        command.arg("sim").arg("--plan").arg(&path).arg("--inside").arg(&history);
        // The environment may change what libraries do.
        command.env_clear().env("RUST_BACKTRACE", "1");
        command.env(entropy::SEED_VARIABLE, plan.seed.to_string());
        if let Some(filter) = std::env::var_os("JAM_LOG") {
            command.env("JAM_LOG", filter);
        }
        let log = File::create(path.with_extension("log"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.context("can't start a simulation")?;
        Ok(Self { plan, child, history, begun: Instant::now() })
    }

    /// Waits for its end and judges it.
    pub fn wait(mut self) -> anyhow::Result<Outcome> {
        let status = self.child.wait().context("the simulation is lost")?;
        let real_secs = self.begun.elapsed().as_secs_f64();
        let mut outcome = Outcome {
            plan: self.plan,
            ending: Ending::Held,
            explained: String::new(),
            counters: Counters::default(),
            digest: String::new(),
            commands: 0,
            real_secs,
            history: self.history,
            judged: None,
        };
        if !status.success() {
            let log = std::fs::read_to_string(outcome.history.with_extension("log"))?;
            outcome.explained = format!("  {}\n", last_words(&log).join("\n  "));
            outcome.ending = Ending::Crashed(status.to_string());
            return Ok(outcome);
        }
        let bytes = std::fs::read(&outcome.history).context("the simulation left no history")?;
        outcome.digest = blake3::hash(&bytes).to_hex().to_string();
        let history = History::read(bytes.as_slice())?;
        let judged = judge(&history, &bounds());
        outcome.commands = history
            .records
            .iter()
            .filter(|record| matches!(record.what, What::Answered { .. }))
            .count();
        outcome.ending = ending(&judged);
        outcome.explained = judged.explain(&history);
        outcome.counters = judged.counters.clone();
        outcome.judged = Some((history, judged));
        Ok(outcome)
    }
}

impl Outcome {
    /// How it ended, in words.
    pub fn word(&self) -> String {
        match &self.ending {
            Ending::Held => "all promises held".to_owned(),
            Ending::Broken => "BROKEN".to_owned(),
            Ending::Open(why) => format!("can't be told: {why}"),
            Ending::Crashed(status) => format!("CRASHED ({status})"),
        }
    }

    /// Writes a page about it beside the history, and says where. None: it left no history.
    pub fn report(&self) -> anyhow::Result<Option<PathBuf>> {
        let Some((history, judged)) = &self.judged else { return Ok(None) };
        let path = self.history.with_extension("html");
        std::fs::write(&path, page::html(&self.facts(), history, judged))
            .with_context(|| format!("can't write {}", path.display()))?;
        Ok(Some(path))
    }

    fn facts(&self) -> Facts {
        let plan = &self.plan;
        let beside = |text: &str, extension: &str| Link {
            text: text.to_owned(),
            path: (self.history.with_extension(extension).file_name())
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        };
        Facts {
            scenario: format!("simulation, {:?}", plan.profile).to_lowercase(),
            purpose:
                "The whole cluster and its clients in one process, broken as drawn from the seed."
                    .to_owned(),
            seed: plan.seed,
            seconds: plan.for_ms as f64 * 1e-3,
            again: format!(
                "jam-chaos sim --plan {}",
                self.history.with_extension("json").display()
            ),
            nodes: NODES,
            clients: CLIENTS * DESKS,
            listeners: LISTENERS,
            versions: vec![("jam-chaos".to_owned(), env!("CARGO_PKG_VERSION").to_owned())],
            links: vec![beside("history", "history"), beside("plan", "json"), beside("log", "log")],
            ..Facts::default()
        }
    }

    /// Removes what it wrote.
    pub fn forget(&self, folder: &Path) {
        for suffix in ["", "-again"] {
            let plan = plan_path(folder, self.plan.seed, suffix);
            let beside = ["history", "html", "log"].map(|extension| plan.with_extension(extension));
            for path in beside.into_iter().chain([plan]) {
                // It may never have been written.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// What a run that crashed said of it: the panic and the innermost calls, or else the end of its log.
fn last_words(log: &str) -> Vec<&str> {
    let lines: Vec<&str> = log.lines().collect();
    let panic = lines.iter().position(|line| line.starts_with(PANIC));
    let begin = panic.unwrap_or(lines.len().saturating_sub(LAST_LINES));
    lines.into_iter().skip(begin).take(LAST_LINES).collect()
}

/// What the judges need to know of a simulation: messages arrive at whole milliseconds, and clocks are read up
/// to one late.
fn bounds() -> Bounds {
    let mut bounds = Bounds::default();
    bounds.shared_time.slack_ns = 1_000_000;
    bounds.hearing.slack_ns = 1_000_000;
    bounds
}

fn ending(judged: &Judged) -> Ending {
    if judged.broken() {
        return Ending::Broken;
    }
    let open = judged.promises.iter().find(|one| !one.verdict.is_held());
    open.map_or(Ending::Held, |one| Ending::Open(format!("{}: {}", one.promise, one.verdict)))
}

/// The run itself.
pub fn inside(plan: &Plan, out: &Path) -> anyhow::Result<()> {
    // A panic in a task would only end that task.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{PANIC} {panic}\n{}", std::backtrace::Backtrace::force_capture());
        std::process::exit(101);
    }));
    let time = Time::new();
    super::log::start(time.clone());
    if let Some(bug) = &plan.planted {
        plant(bug)?;
    }
    let history = stage::run(plan, &time)?;
    let mut file = BufWriter::new(File::create(out)?);
    history.write(&mut file)?;
    file.flush()?;
    tracing::info!(asked = ?entropy::asked(), "done");
    Ok(())
}

#[cfg(feature = "planted")]
fn plant(bug: &str) -> anyhow::Result<()> {
    let bug: jam_proto::planted::Bug = bug.parse().map_err(anyhow::Error::msg)?;
    bug.plant();
    Ok(())
}

#[cfg(not(feature = "planted"))]
fn plant(bug: &str) -> anyhow::Result<()> {
    anyhow::bail!("to plant {bug}, build jam-chaos with --features planted")
}

/// Where a seed's plan is.
pub fn plan_path(folder: &Path, seed: u64, suffix: &str) -> PathBuf {
    folder.join(format!("seed-{seed}{suffix}.json"))
}

/// Reads a plan.
pub fn read_plan(path: &Path) -> anyhow::Result<Plan> {
    let file =
        File::open(path).with_context(|| format!("can't read the plan {}", path.display()))?;
    serde_json::from_reader(BufReader::new(file))
        .with_context(|| format!("{} is no plan", path.display()))
}

/// Writes one.
pub fn write_plan(plan: &Plan, path: &Path) -> anyhow::Result<()> {
    let json = serde_json::to_vec_pretty(plan)?;
    std::fs::write(path, json).with_context(|| format!("can't write {}", path.display()))
}
