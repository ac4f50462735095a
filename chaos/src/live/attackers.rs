//! Processes that attack the nodes while a fault lasts, and how much memory the nodes take meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;

use super::seat::Seat;
use crate::attack::Attack;

/// How far an attacker stands back behind everybody else on this machine.
const NICE: &str = "19";
/// Between two looks at the nodes' memory.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Whom and what an attack is about.
#[derive(Clone, Debug)]
pub struct Aim {
    /// The nodes' addresses, joined by commas.
    pub servers: String,
    /// The room where people listen.
    pub room: String,
    /// A song of the cluster: its hash in hex.
    pub track: String,
}

/// One attack, from its begin to its end by true time.
#[derive(Clone, Debug, PartialEq)]
pub struct Attacked {
    /// What it was.
    pub attack: Attack,
    /// When it began, ns.
    pub from_ns: i64,
    /// When it was over, ns.
    pub until_ns: i64,
    /// The most memory that one node took meanwhile, KiB.
    pub peak_kib: u64,
    /// Connections, batches of frames and requests that it made.
    pub deeds: u64,
}

struct Running {
    child: Child,
    log: PathBuf,
    attacked: Attacked,
}

/// All of a run.
#[derive(Default)]
pub struct Attackers {
    running: BTreeMap<usize, Running>,
    over: Vec<Attacked>,
    looked: Option<Instant>,
}

impl Attackers {
    /// Lets one loose.
    ///
    /// # Errors
    /// If there can be no process, or its log can't be written.
    pub fn begin(
        &mut self,
        number: usize,
        attack: Attack,
        aim: &Aim,
        secs: u64,
        (dir, now_ns): (&Path, i64),
    ) -> anyhow::Result<()> {
        let name = attack.to_possible_value().context("it has a name")?.get_name().to_owned();
        let path = dir.join(format!("attack-{number}-{name}.log"));
        let log = File::create(&path)?;
        let child = Command::new("nice")
            .args(["-n", NICE])
            .arg(std::env::current_exe()?)
            .args(["attack", &name, "--secs", &secs.to_string()])
            .args(["--servers", &aim.servers, "--room", &aim.room, "--track", &aim.track])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("can't start an attacker")?;
        let (from_ns, until_ns) = (now_ns, now_ns);
        let attacked = Attacked { attack, from_ns, until_ns, peak_kib: 0, deeds: 0 };
        self.running.insert(number, Running { child, log: path, attacked });
        Ok(())
    }

    /// Looks at the nodes' memory, now and then.
    pub fn look<'a>(&mut self, seats: impl Iterator<Item = &'a Seat>) {
        let now = Instant::now();
        if self.running.is_empty() || self.looked.is_some_and(|at| now < at + LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        let pids = seats.filter_map(Seat::pid);
        let most = pids.filter_map(memory_kib).max().unwrap_or(0);
        for running in self.running.values_mut() {
            running.attacked.peak_kib = running.attacked.peak_kib.max(most);
        }
    }

    /// Ends the attack of this fault, if there is one.
    ///
    /// # Errors
    /// If it can't be killed, or did nothing: then nothing is known of how the nodes stand it.
    pub fn end(&mut self, number: usize, now_ns: i64) -> anyhow::Result<()> {
        let Some(running) = self.running.remove(&number) else { return Ok(()) };
        let Running { mut child, log, attacked } = running;
        child.kill().and_then(|()| child.wait()).context("can't kill an attacker")?;
        let told = fs::read_to_string(&log).unwrap_or_default();
        let deeds = told.lines().filter_map(|line| line.parse().ok()).next_back().unwrap_or(0);
        ensure!(deeds > 0, "the attacker did nothing; {} may say why", log.display());
        self.over.push(Attacked { until_ns: now_ns, deeds, ..attacked });
        Ok(())
    }

    /// Those that are over.
    pub fn over(&self) -> &[Attacked] {
        &self.over
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        for Running { child, .. } in self.running.values_mut() {
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                tracing::warn!("can't clear up an attacker: {error}");
            }
        }
    }
}

/// What of a process is in memory, KiB.
fn memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    resident_kib(&status)
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_kernel_tells() {
        assert_eq!(resident_kib("Name:\tjamd\nVmRSS:\t   40540 kB\nThreads:\t9\n"), Some(40_540));
        assert_eq!(resident_kib("Name:\tgone\n"), None);
        assert!(memory_kib(std::process::id()).is_some_and(|kib| kib > 1000));
    }
}
