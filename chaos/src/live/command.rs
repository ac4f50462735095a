//! `jam-chaos list`, `run`, `replay`, `check`, `doctor`.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;

use super::machine::doctor;
use super::machine::journal::folder;
use super::machine::tidy::tidy_orphans;
use super::perform::perform;
use super::scenario::Scenario;
use super::schedule::Schedule;
use super::verdict::judge;
use crate::history::History;
use crate::page::Facts;

/// `jam-chaos run`.
#[derive(Args, Debug)]
pub struct Run {
    /// The scenario: a name of `jam-chaos list`, or a TOML file.
    scenario: String,
    /// Of all draws [default: drawn, and printed].
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults go on, seconds [default: the scenario's].
    #[arg(long = "for", value_name = "SECONDS")]
    for_secs: Option<u64>,
    /// Nodes of the cluster [default: the scenario's].
    #[arg(long)]
    nodes: Option<u64>,
    /// Clients that edit [default: the scenario's].
    #[arg(long)]
    clients: Option<u64>,
    /// Where runs are kept, each in a folder of its own.
    #[arg(long, value_name = "FOLDER", default_value = "target/chaos")]
    keep: PathBuf,
    /// Prints the schedule and runs nothing.
    #[arg(long)]
    dry: bool,
}

/// `jam-chaos replay`.
#[derive(Args, Debug)]
pub struct Replay {
    /// A run's schedule.json.
    schedule: PathBuf,
    /// Where runs are kept, each in a folder of its own.
    #[arg(long, value_name = "FOLDER", default_value = "target/chaos")]
    keep: PathBuf,
}

/// `jam-chaos check`.
#[derive(Args, Debug)]
pub struct Check {
    /// The folder of a run.
    dir: PathBuf,
}

/// `jam-chaos doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// One JSON array instead of text.
    #[arg(long)]
    json: bool,
}

/// `jam-chaos list`.
pub fn list() {
    for scenario in Scenario::all() {
        let root = if scenario.needs_volumes() { " (takes root)" } else { "" };
        println!("{:12} {}{root}", scenario.name, scenario.about);
    }
}

impl Doctor {
    /// Says what this machine allows, and cleans up after runs that were killed.
    pub fn run(&self) -> anyhow::Result<u8> {
        let tidied = tidy_orphans(&folder()?);
        let findings = doctor::examine();
        if self.json {
            println!("{}", serde_json::to_string(&findings)?);
        } else {
            tidied.iter().for_each(|line| println!("cleaned up: {line}"));
            print!("{}", doctor::table(&findings));
        }
        Ok(0)
    }
}

impl Run {
    /// Runs a scenario; the exit code.
    pub fn run(&self) -> anyhow::Result<u8> {
        let mut scenario = Scenario::find(&self.scenario)?;
        scenario.secs = self.for_secs.unwrap_or(scenario.secs);
        scenario.cluster.nodes = self.nodes.unwrap_or(scenario.cluster.nodes);
        scenario.load.clients = self.clients.unwrap_or(scenario.load.clients);
        scenario.check()?;
        let seed = self.seed.unwrap_or_else(drawn);
        let schedule = Schedule::of(&scenario, seed);
        println!("{} with seed {seed}: {}", scenario.name, scenario.about);
        print!("{schedule}");
        if self.dry {
            return Ok(0);
        }
        let mut again = format!("jam-chaos run {} --seed {seed}", self.scenario);
        for (flag, value) in
            [("--for", self.for_secs), ("--nodes", self.nodes), ("--clients", self.clients)]
        {
            if let Some(value) = value {
                again += &format!(" {flag} {value}");
            }
        }
        let (judgement, dir) = perform(&schedule, &again, &self.keep, true)?;
        print!("{}", judgement.explained);
        println!("{}: {}", judgement.word(), dir.join("report.html").display());
        println!("again: {again}");
        Ok(judgement.outcome.exit_code())
    }
}

impl Replay {
    /// Runs a schedule; the exit code.
    pub fn run(&self) -> anyhow::Result<u8> {
        let schedule = Schedule::read(&self.schedule)?;
        let again = format!("jam-chaos replay {}", self.schedule.display());
        print!("{schedule}");
        let (judgement, dir) = perform(&schedule, &again, &self.keep, true)?;
        print!("{}", judgement.explained);
        println!("{}: {}", judgement.word(), dir.join("report.html").display());
        Ok(judgement.outcome.exit_code())
    }
}

impl Check {
    /// Judges a run anew from what it left; the exit code.
    pub fn run(&self) -> anyhow::Result<u8> {
        let schedule = Schedule::read(&self.dir.join("schedule.json"))?;
        let path = self.dir.join("history.jsonl");
        let file =
            fs::File::open(&path).with_context(|| format!("can't read {}", path.display()))?;
        let history = History::read(std::io::BufReader::new(file))
            .with_context(|| format!("{} is no history", path.display()))?;
        let path = self.dir.join("facts.json");
        let facts: Facts = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged; remove it", path.display()))?,
            Err(_) => Facts::default(),
        };
        let judgement = judge(&schedule, facts, &history);
        judgement.write(&self.dir, &history)?;
        print!("{}", judgement.explained);
        println!("{}: {}", judgement.word(), self.dir.join("report.html").display());
        Ok(judgement.outcome.exit_code())
    }
}

fn drawn() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) % 1_000_000
}
