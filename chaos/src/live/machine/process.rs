//! Which process is meant: ids are used again, a start time is not.

use std::fs;
use std::process::Child;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// One process, now and in whatever is read tomorrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// When it started, in ticks since the machine did.
    pub started_ticks: u64,
    /// Which start of the machine that was.
    boot: String,
}

impl Process {
    /// The one that has this id now.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = stat(&format!("/proc/{pid}/stat"));
        let (_, started_ticks) = stat.with_context(|| format!("there is no process {pid}"))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .context("can't tell which start of the machine this is; is /proc mounted?")?;
        Ok(Self { pid, started_ticks, boot: boot.trim().to_owned() })
    }

    /// This one.
    pub fn own() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }

    /// Whether it runs, or would if it were let. One that ended and was not waited for is gone.
    pub fn is_there(&self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == *self) && !self.states().iter().all(is_over)
    }

    /// The state of each of its threads as a letter, as in `/proc/PID/stat`; none if it is gone.
    pub fn states(&self) -> Vec<char> {
        let stats = self.threads().into_iter().filter_map(|thread| stat(&format!("{thread}/stat")));
        stats.map(|(state, _)| state).collect()
    }

    /// Who traces each of its threads; 0: nobody.
    pub fn tracers(&self) -> Vec<u32> {
        let tracer = |thread: String| {
            let status = fs::read_to_string(format!("{thread}/status")).ok()?;
            status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim().parse().ok()
        };
        self.threads().into_iter().filter_map(tracer).collect()
    }

    /// Sends a signal, unless the process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        ensure!(self.is_there(), "process {} is gone", self.pid);
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("no such id")?;
        kill_process(pid, signal)
            .with_context(|| format!("can't send signal {} to process {pid}", signal.as_raw()))
    }

    fn threads(&self) -> Vec<String> {
        let listed = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten();
        listed.flatten().map(|entry| entry.path().display().to_string()).collect()
    }
}

/// A process to try things on. It is killed when this is dropped.
pub(super) struct Victim(pub(super) Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// State and start time. The name before them may hold anything, brackets and blanks too.
fn stat(path: &str) -> Option<(char, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 3 and 22 of proc_pid_stat(5); the first two are before the bracket.
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

/// Zombies and what is about to vanish.
fn is_over(state: &char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

/// Every process of the machine that can be seen.
pub(super) fn all() -> Vec<u32> {
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn this_process_is_there() -> anyhow::Result<()> {
        let own = Process::own()?;
        assert!(own.is_there());
        assert!(all().contains(&own.pid));
        assert!(own.tracers().iter().all(|tracer| *tracer == own.tracers()[0]));
        Ok(())
    }

    #[test]
    fn an_id_that_is_used_again_is_another_process() -> anyhow::Result<()> {
        let own = Process::own()?;
        let earlier = Process { started_ticks: own.started_ticks - 1, ..own };
        assert!(!earlier.is_there());
        assert!(earlier.signal(Signal::KILL).is_err());
        Ok(())
    }

    #[test]
    fn a_process_that_ended_and_was_not_waited_for_is_gone() -> anyhow::Result<()> {
        let mut victim = Victim(Command::new("sleep").arg("600").spawn()?);
        let process = Process::of(victim.0.id())?;
        assert!(process.is_there());
        victim.0.kill()?;
        crate::cluster::wait_until("it to end", || Ok((!process.is_there()).then_some(())))?;
        Ok(())
    }
}
