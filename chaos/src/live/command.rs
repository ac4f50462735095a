//! `jam-chaos list`, `run`, `replay`, `check`, `soak`, `shrink`, `doctor`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::machine::doctor;
use super::machine::journal::folder;
use super::machine::tidy::tidy_orphans;
use super::run::{Ran, run};
use super::scenario::Scenario;
use super::schedule::Schedule;
use super::verdict::{Judgement, judge};
use crate::history::History;
use crate::page::{self, Facts, Outcome};

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

/// `jam-chaos shrink`.
#[derive(Args, Debug)]
pub struct Shrink {
    /// The schedule.json of a run that broke a promise.
    schedule: PathBuf,
    /// Attempts with each smaller schedule: chance has a part in real runs.
    #[arg(long, default_value_t = 2)]
    tries: u32,
    /// Where runs are kept, each in a folder of its own.
    #[arg(long, value_name = "FOLDER", default_value = "target/chaos")]
    keep: PathBuf,
}

/// `jam-chaos soak`.
#[derive(Args, Debug)]
pub struct Soak {
    /// The scenarios that take turns.
    #[arg(default_values = ["everything"])]
    scenarios: Vec<String>,
    /// How long to go on, hours.
    #[arg(long, default_value_t = 1.0)]
    hours: f64,
    /// The first seed; each run takes the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where runs that broke a promise are kept; others are removed.
    #[arg(long, value_name = "FOLDER", default_value = "target/soak")]
    keep: PathBuf,
    /// Of the runs that broke a promise, so many are kept.
    #[arg(long, default_value_t = 20)]
    kept_max: usize,
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

impl Soak {
    /// Runs seed after seed; the exit code.
    pub fn run(&self) -> anyhow::Result<u8> {
        ensure!(self.hours > 0.0, "--hours must be more than 0");
        let scenarios: Vec<Scenario> =
            self.scenarios.iter().map(|name| Scenario::find(name)).collect::<Result<_, _>>()?;
        let until = Instant::now() + Duration::from_secs_f64(self.hours * 3600.0);
        let (mut runs, mut broken, mut open) = (0, 0, 0);
        for (seed, scenario) in (self.seed..).zip(scenarios.iter().cycle()) {
            if Instant::now() >= until {
                break;
            }
            let schedule = Schedule::of(scenario, seed);
            let again = format!("jam-chaos run {} --seed {seed}", scenario.name);
            let (judgement, dir) = perform(&schedule, &again, &self.keep, false)?;
            runs += 1;
            println!("{} {seed}: {}", scenario.name, judgement.word());
            match judgement.outcome {
                Outcome::Broken => {
                    broken += 1;
                    print!("{}", judgement.explained);
                    println!("again: {again}");
                }
                Outcome::Inconclusive => open += 1,
                Outcome::Held => {}
            }
            if judgement.outcome != Outcome::Broken || broken > self.kept_max {
                fs::remove_dir_all(&dir)
                    .with_context(|| format!("can't remove {}", dir.display()))?;
            }
        }
        println!("{runs} runs: {broken} broken, {open} inconclusive");
        Ok(match (broken, open) {
            (0, 0) => 0,
            (0, _) => 2,
            _ => 1,
        })
    }
}

impl Shrink {
    /// Leaves faults out of a schedule for as long as it still breaks a promise.
    pub fn run(&self) -> anyhow::Result<u8> {
        let mut small = Schedule::read(&self.schedule)?;
        if !self.breaks(&small)? {
            bail!(
                "{} broke no promise in {} tries; give it more with --tries",
                self.schedule.display(),
                self.tries
            );
        }
        let mut share = small.faults.len().div_ceil(2);
        while share > 0 {
            let mut at = 0;
            while at < small.faults.len() {
                let mut attempt = small.clone();
                let end = (at + share).min(attempt.faults.len());
                attempt.faults.drain(at..end);
                if self.breaks(&attempt)? {
                    println!("{} faults are enough", attempt.faults.len());
                    small = attempt;
                } else {
                    at += share;
                }
            }
            share /= 2;
        }
        let path = self.schedule.with_extension("small.json");
        small.write(&path)?;
        print!("{small}");
        println!("again: jam-chaos replay {}", path.display());
        Ok(0)
    }

    fn breaks(&self, schedule: &Schedule) -> anyhow::Result<bool> {
        for _ in 0..self.tries {
            let (judgement, dir) = perform(schedule, "", &self.keep, false)?;
            fs::remove_dir_all(&dir).with_context(|| format!("can't remove {}", dir.display()))?;
            if judgement.outcome == Outcome::Broken {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Runs and judges a schedule; what came of it lies in the folder.
pub(super) fn perform(
    schedule: &Schedule,
    again: &str,
    keep: &Path,
    talks: bool,
) -> anyhow::Result<(Judgement, PathBuf)> {
    for line in tidy_orphans(&folder()?) {
        eprintln!("cleaned up after an earlier run: {line}");
    }
    check_machine(schedule)?;
    let scenario = &schedule.scenario;
    let dir = fresh_folder(keep, &format!("{}-{}", scenario.name, schedule.seed))?;
    schedule.write(&dir.join("schedule.json"))?;
    let started_at = rfc3339(SystemTime::now());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut tell = |line: String| {
        if talks {
            println!("{line}");
        }
    };
    let begun = Instant::now();
    let ran = runtime.block_on(async {
        tokio::select! {
            ran = run(schedule, &dir, &mut tell) => ran,
            _ = tokio::signal::ctrl_c() => {
                bail!("stopped; what ran was ended, and {} keeps what there is", dir.display())
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    let Ran { history, heard, stalls } = ran?;
    let mut facts = Facts {
        scenario: scenario.name.clone(),
        purpose: scenario.about.clone(),
        seed: schedule.seed,
        seconds: begun.elapsed().as_secs_f64(),
        started_at: Some(started_at),
        again: again.to_owned(),
        nodes: scenario.cluster.nodes,
        clients: scenario.load.clients,
        listeners: scenario.load.listeners + scenario.load.gallery,
        versions: vec![("jam".to_owned(), env!("CARGO_PKG_VERSION").to_owned())],
        links: links(&dir),
        could_not: Vec::new(),
        figures: super::figures::figures(&history, heard.as_ref(), stalls, &scenario.budget),
    };
    facts.figures.retain(|figure| figure.value.is_finite());
    fs::write(dir.join("facts.json"), serde_json::to_vec_pretty(&facts)?)?;
    let judgement = judge(schedule, facts, &history);
    judgement.write(&dir, &history)?;
    Ok((judgement, dir))
}

/// Whether this machine can do all that a schedule takes; the error says what it can't.
fn check_machine(schedule: &Schedule) -> anyhow::Result<()> {
    let needs =
        |is: fn(&super::fault::Kind) -> bool| schedule.faults.iter().any(|fault| is(&fault.what));
    let wanted = [
        ("power", schedule.scenario.needs_volumes()),
        ("disk-error", needs(super::fault::Kind::needs_strace)),
        ("wall-clock", needs(super::fault::Kind::needs_faketime)),
    ];
    let wanted: Vec<&str> =
        wanted.into_iter().filter_map(|(name, wanted)| wanted.then_some(name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    for finding in doctor::examine() {
        if wanted.contains(&finding.fault) && !finding.works {
            let hint = finding.hint.map_or_else(String::new, |hint| format!("; {hint}"));
            bail!("this machine can't do '{}': {}{hint}", finding.fault, finding.says);
        }
    }
    Ok(())
}

fn fresh_folder(keep: &Path, name: &str) -> anyhow::Result<PathBuf> {
    for number in 1.. {
        let dir = match number {
            1 => keep.join(name),
            number => keep.join(format!("{name}-{number}")),
        };
        if !dir.exists() {
            fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
            return fs::canonicalize(&dir).map_err(Into::into);
        }
    }
    bail!("every name is taken in {}", keep.display())
}

fn links(dir: &Path) -> Vec<page::Link> {
    let named = [
        ("history.jsonl", "all that happened"),
        ("schedule.json", "the schedule"),
        ("result.json", "the result as JSON"),
        ("junit.xml", "the result as JUnit"),
    ];
    let mut links: Vec<_> = named
        .into_iter()
        .map(|(path, text)| page::Link { text: text.to_owned(), path: path.to_owned() })
        .collect();
    let listed = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut logs: Vec<String> = listed
        .filter(|entry| entry.path().join("log").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    logs.sort();
    links.extend(
        logs.into_iter()
            .map(|name| page::Link { path: format!("{name}/log"), text: format!("log of {name}") }),
    );
    links
}

fn drawn() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) % 1_000_000
}

/// A time of day in UTC.
fn rfc3339(time: SystemTime) -> String {
    let secs = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days since 1970 as a date of the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}
