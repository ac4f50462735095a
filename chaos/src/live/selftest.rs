//! `jam-chaos selftest`: do the judges find bugs in real processes? Plants one after the other and runs scenarios until one
//! breaks a promise.

use std::path::PathBuf;

use clap::Args;

/// What is planted, the scenario that it shows in, and the judge who has to find it.
#[cfg(feature = "planted")]
const PLANTED: &[(&str, &str, &str)] = &[
    // The vote file tells that the journal was lost: the node gives its disk up, which no power cut may cost it.
    ("skipped-sync", "power", "standing"),
    ("stale-read", "network", "order"),
    ("no-deduplication", "leader-loss", "acknowledged"),
    ("dropped-event", "network", "streams"),
    // The judges replay the log by the right rule, and come to other rooms than the nodes.
    ("backward-stamp", "ci", "agreement"),
    ("wall-clock-time", "leader-loss", "shared_time"),
    ("forgotten-vote", "power", "agreement"),
    ("wrong-phase", "ci", "hearing"),
    ("bad-song", "ci", "songs"),
];

/// `jam-chaos selftest`.
#[derive(Args, Debug)]
pub struct Selftest {
    /// Only these bugs [default: all].
    bugs: Vec<String>,
    /// Runs of a scenario, each with the next seed, before a bug counts as not found.
    #[arg(long, default_value_t = 4)]
    tries: u64,
    /// Where runs are kept, each in a folder of its own.
    #[arg(long, value_name = "FOLDER", default_value = "target/selftest")]
    keep: PathBuf,
}

impl Selftest {
    /// Runs it; the exit code.
    #[cfg(not(feature = "planted"))]
    pub fn run(&self) -> anyhow::Result<u8> {
        let Self { bugs, tries, keep } = self;
        anyhow::bail!(
            "this build has no bugs to plant (asked for: {bugs:?}, {tries} tries, in {}); `scripts/planted --real` makes one",
            keep.display()
        )
    }

    /// Runs it; the exit code.
    #[cfg(feature = "planted")]
    pub fn run(&self) -> anyhow::Result<u8> {
        use super::perform::perform;
        use super::scenario::Scenario;
        use super::schedule::Schedule;

        for bug in &self.bugs {
            let known = PLANTED.iter().any(|(name, ..)| name == bug);
            anyhow::ensure!(known, "there is no bug '{bug}' to plant");
        }
        let mut missed = 0;
        for (bug, scenario, judge) in PLANTED {
            if !self.bugs.is_empty() && !self.bugs.iter().any(|named| named == bug) {
                continue;
            }
            let scenario = Scenario::find(scenario)?;
            let mut found = None;
            for seed in 1..=self.tries {
                let schedule =
                    Schedule { planted: Some((*bug).to_owned()), ..Schedule::of(&scenario, seed) };
                let (judgement, _) = perform(&schedule, "", &self.keep, false)?;
                if judgement.judged.violates(judge) {
                    found = Some((seed, judgement.word()));
                    break;
                }
            }
            match found {
                Some((seed, word)) => println!("{bug}: found by {} {seed}: {word}", scenario.name),
                None => {
                    missed += 1;
                    println!(
                        "{bug}: NOT FOUND by '{judge}' in {} 1 to {}",
                        scenario.name, self.tries
                    );
                }
            }
        }
        Ok(u8::from(missed > 0))
    }
}
