//! Run after run: `jam-chaos soak` and `shrink`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::perform::perform;
use super::scenario::Scenario;
use super::schedule::Schedule;
use super::totals::Totals;
use crate::page::Outcome;

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
    /// Where runs that broke a promise and totals.json are kept; other runs are removed.
    #[arg(long, value_name = "FOLDER", default_value = "target/soak")]
    keep: PathBuf,
    /// Of the runs that broke a promise, so many are kept.
    #[arg(long, default_value_t = 20)]
    kept_max: u64,
}

impl Soak {
    /// Runs seed after seed; the exit code.
    pub fn run(&self) -> anyhow::Result<u8> {
        ensure!(self.hours > 0.0, "--hours must be more than 0");
        let scenarios: Vec<Scenario> =
            self.scenarios.iter().map(|name| Scenario::find(name)).collect::<Result<_, _>>()?;
        let until = Instant::now() + Duration::from_secs_f64(self.hours * 3600.0);
        let mut totals = Totals::default();
        for (seed, scenario) in (self.seed..).zip(scenarios.iter().cycle()) {
            if Instant::now() >= until {
                break;
            }
            let schedule = Schedule::of(scenario, seed);
            let again = format!("jam-chaos run {} --seed {seed}", scenario.name);
            let (judgement, dir) = perform(&schedule, &again, &self.keep, false)?;
            totals.count(&schedule, &judgement);
            totals.write(&self.keep.join("totals.json"))?;
            println!("{} {seed}: {}", scenario.name, judgement.word());
            let is_broken = judgement.outcome == Outcome::Broken;
            if is_broken {
                print!("{}", judgement.explained);
                println!("again: {again}");
            }
            if !is_broken || totals.broken > self.kept_max {
                fs::remove_dir_all(&dir)
                    .with_context(|| format!("can't remove {}", dir.display()))?;
            }
        }
        print!("{totals}");
        Ok(match (totals.broken, totals.inconclusive) {
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
                    println!("broken with {} of the faults", attempt.faults.len());
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
