//! A run from its schedule to its report, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, Utc};

use super::fault::Kind;
use super::figures::figures;
use super::machine::doctor;
use super::machine::journal::folder;
use super::machine::tidy::tidy_orphans;
use super::run::{Ran, run};
use super::schedule::Schedule;
use super::under_attack;
use super::verdict::{Judgement, judge};
use crate::page::{self, Facts};

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
    let started_at =
        DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Secs, true);
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
    let Ran { history, heard, attacked, stalls } = ran?;
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
        untold: Vec::new(),
        figures: figures(&history, heard.as_ref(), stalls, &scenario.budget),
    };
    let budget = &scenario.budget;
    let told = under_attack::measure(&history, &attacked, budget, stalls == 0);
    facts.figures.extend(told.figures);
    facts.untold = told.untold;
    facts.figures.retain(|figure| figure.value.is_finite());
    fs::write(dir.join("facts.json"), serde_json::to_vec_pretty(&facts)?)?;
    let judgement = judge(schedule, facts, &history);
    judgement.write(&dir, &history)?;
    Ok((judgement, dir))
}

/// Whether this machine can do all that a schedule takes; the error says what it can't.
fn check_machine(schedule: &Schedule) -> anyhow::Result<()> {
    let needs = |is: fn(&Kind) -> bool| schedule.faults.iter().any(|fault| is(&fault.what));
    let wanted = [
        ("power", schedule.scenario.needs_volumes()),
        ("disk-error", needs(Kind::needs_strace)),
        ("wall-clock", needs(Kind::needs_faketime)),
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
