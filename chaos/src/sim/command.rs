//! `jam-chaos sim`: one history for each seed, for ever.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use super::one::{Ending, Outcome, Run, inside, plan_path, read_plan, write_plan};
use super::plan::{Plan, Profile};
use crate::promises::sometimes::{self, Counters};

/// What a batch must have reached, or it proves little.
const WANTED: [&str; 9] = [
    sometimes::MUSIC_HEARD,
    sometimes::LEADER_CHANGED,
    sometimes::LEADER_CHANGED_IN_MID_SONG,
    sometimes::PLAYED_ON,
    sometimes::SNAPSHOT_INSTALLED,
    sometimes::RETRY_DEDUPLICATED,
    sometimes::CONFLICT,
    sometimes::EPOCH_BUMPED,
    sometimes::NODE_REPLACED,
];

/// Runs the whole cluster in one process, by seed.
#[derive(clap::Args)]
pub struct Sim {
    /// The seeds, such as 1..20, the last one included, or 7,9,30..40
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "1..20")]
    seeds: Seeds,
    /// Seconds of simulated time for each.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(30..=3600))]
    for_secs: u64,
    /// How rough it gets.
    #[arg(long, value_enum, default_value_t = Profile::Rough)]
    profile: Profile,
    /// Seeds that run at a time.
    #[arg(long, value_name = "N", default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    jobs: usize,
    /// Runs each seed twice and compares all that happened, byte by byte.
    #[arg(long)]
    twice: bool,
    /// Leaves faults out of a plan that breaks a promise for as long as it still does.
    #[arg(long)]
    shrink: bool,
    /// Runs this plan and no other. `--keep` writes plans.
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    plan: Option<PathBuf>,
    /// Keeps the plan, the history and a report page of each seed that breaks a promise in this folder, and with `--plan` of any.
    #[arg(long, value_name = "FOLDER", default_value = "target/sim")]
    keep: PathBuf,
    /// Plants a bug that the judges must find, if this was built with the feature `planted`.
    #[arg(long, value_name = "BUG", conflicts_with = "plan")]
    planted: Option<String>,
    /// Runs one plan in this very process and writes its history here.
    #[arg(long, value_name = "FILE", hide = true, requires = "plan")]
    inside: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Seeds(Vec<u64>);

fn seeds(text: &str) -> Result<Seeds, String> {
    let wrong =
        || "must look like 1..20, the first and the last seed, or like 7,9,30..40".to_owned();
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once("..") {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(wrong());
        }
        all.extend(first..=last);
    }
    Ok(Seeds(all))
}

impl Sim {
    /// Runs it. The exit code after Jepsen's: 0 all held, 1 broken, 2 it can't be told.
    pub fn run(&self) -> anyhow::Result<u8> {
        if let (Some(path), Some(out)) = (&self.plan, &self.inside) {
            return inside(&read_plan(path)?, out).map(|()| 0);
        }
        std::fs::create_dir_all(&self.keep)
            .with_context(|| format!("can't make the folder {}", self.keep.display()))?;
        let plans: Vec<Plan> = match &self.plan {
            Some(path) => vec![read_plan(path)?],
            None => (self.seeds.0.iter())
                .map(|&seed| Plan {
                    planted: self.planted.clone(),
                    ..Plan::new(seed, self.profile, self.for_secs * 1000)
                })
                .collect(),
        };
        let begun = Instant::now();
        let mut batch = Batch::default();
        let mut waiting = plans.into_iter();
        let mut running: Vec<Run> = Vec::new();
        loop {
            while running.len() < self.jobs.max(1)
                && let Some(plan) = waiting.next()
            {
                running.push(Run::start(plan, &self.keep, "")?);
            }
            if running.is_empty() {
                break;
            }
            let outcome = running.remove(0).wait()?;
            self.tell(&outcome)?;
            if self.twice {
                self.compare(&outcome, &mut batch)?;
            }
            batch.add(&outcome);
            if self.plan.is_none() && matches!(outcome.ending, Ending::Held) {
                outcome.forget(&self.keep);
            }
        }
        Ok(batch.conclude(begun.elapsed().as_secs_f64(), self.plan.is_none()))
    }

    fn tell(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let plan = &outcome.plan;
        let simulated = plan.for_ms as f64 / 1e3;
        println!(
            "seed {}: {} ({} faults, {} commands, {:.0} s in {:.1} s, history {})",
            plan.seed,
            outcome.word(),
            plan.faults.len(),
            outcome.commands,
            simulated,
            outcome.real_secs,
            &outcome.digest[..12.min(outcome.digest.len())],
        );
        let is_held = matches!(outcome.ending, Ending::Held);
        if (self.plan.is_some() || !is_held)
            && let Some(page) = outcome.report()?
        {
            println!("  report: {}", page.display());
        }
        if is_held {
            return Ok(());
        }
        print!("{}", outcome.explained);
        println!(
            "  again: jam-chaos sim --plan {}",
            plan_path(&self.keep, plan.seed, "").display()
        );
        if self.shrink && !matches!(outcome.ending, Ending::Open(_)) {
            let small = shrink(plan, &self.keep)?;
            println!("  smaller, {} faults:", small.faults.len());
            for fault in &small.faults {
                println!("    {:6} to {:6} ms  {}", fault.at_ms, fault.until_ms, fault.kind);
            }
            let path = plan_path(&self.keep, small.seed, "-small");
            println!("  again: jam-chaos sim --plan {}", path.display());
        }
        Ok(())
    }

    fn compare(&self, first: &Outcome, batch: &mut Batch) -> anyhow::Result<()> {
        let second = Run::start(first.plan.clone(), &self.keep, "-again")?.wait()?;
        if first.digest == second.digest {
            return Ok(());
        }
        batch.differing += 1;
        println!("seed {}: NOT DETERMINISTIC", first.plan.seed);
        if let Some((line, one, other)) = first_difference(&first.history, &second.history)? {
            println!(
                "  line {line} of the history is\n    {one}\n  and the second time\n    {other}"
            );
        }
        Ok(())
    }
}

#[derive(Default)]
struct Batch {
    runs: usize,
    broken: usize,
    open: usize,
    differing: usize,
    simulated_secs: f64,
    counters: Counters,
}

impl Batch {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.simulated_secs += outcome.plan.for_ms as f64 / 1e3;
        self.counters.merge(&outcome.counters);
        match outcome.ending {
            Ending::Held => {}
            Ending::Broken | Ending::Crashed(_) => self.broken += 1,
            Ending::Open(_) => self.open += 1,
        }
    }

    fn conclude(&self, real_secs: f64, is_batch: bool) -> u8 {
        println!(
            "{} seeds, {:.2} simulated hours in {:.0} s ({:.0} times as fast): {} broken, {} can't be told",
            self.runs,
            self.simulated_secs / 3600.0,
            real_secs,
            self.simulated_secs / real_secs,
            self.broken,
            self.open
        );
        let reached: Vec<String> =
            self.counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
        println!("reached: {}", reached.join(", "));
        let covered = self.counters.judge(&WANTED);
        if self.broken + self.differing > 0 {
            return 1;
        }
        if is_batch && !covered.is_held() {
            println!("inconclusive: {covered}");
            return 2;
        }
        if self.open > 0 { 2 } else { 0 }
    }
}

/// Leaves out fault after fault, as long as what is left still breaks a promise.
fn shrink(plan: &Plan, folder: &Path) -> anyhow::Result<Plan> {
    let mut small = plan.clone();
    let mut share = small.faults.len() / 2;
    while share > 0 {
        let mut at = 0;
        while at < small.faults.len() {
            let mut attempt = small.clone();
            let end = (at + share).min(attempt.faults.len());
            attempt.faults.drain(at..end);
            let outcome = Run::start(attempt.clone(), folder, "-small")?.wait()?;
            if matches!(outcome.ending, Ending::Broken | Ending::Crashed(_)) {
                small = attempt;
            } else {
                at += share;
            }
        }
        share /= 2;
    }
    write_plan(&small, &plan_path(folder, small.seed, "-small"))?;
    Ok(small)
}

fn first_difference(one: &Path, other: &Path) -> anyhow::Result<Option<(usize, String, String)>> {
    let (one, other) = (std::fs::read_to_string(one)?, std::fs::read_to_string(other)?);
    let mut lines = (1..).zip(one.lines().zip(other.lines()));
    let cut = |line: &str| line.chars().take(300).collect::<String>();
    Ok(lines.find(|(_, (a, b))| a != b).map(|(at, (a, b))| (at, cut(a), cut(b))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_spans_and_numbers() {
        assert_eq!(seeds("1..3,7").map(|seeds| seeds.0), Ok(vec![1, 2, 3, 7]));
        for wrong in ["", "3..1", "a", "1..", "1,,2"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }
}
