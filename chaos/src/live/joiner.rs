//! Somebody who listens: `jam join` in a process of its own, killed and joining again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context;
use rustix::process::Signal;

use super::machine::journal::{Journal, MARK};
use super::machine::process::Process;
use super::machine::rot::{Damage, How, Kind, rot};
use super::seat::PLANTED;
use crate::cluster::wait_until;
use crate::seed::Stream;

/// One who listens.
pub struct Joiner {
    /// Its name.
    pub name: String,
    dir: PathBuf,
    bin: PathBuf,
    flags: Vec<String>,
    drift_ppm: i64,
    room: String,
    journal: Arc<Journal>,
    planted: Option<String>,
    child: Option<Child>,
    life: u32,
}

/// What one life of a listener left.
#[derive(Clone, Debug)]
pub struct Take {
    /// Which life, from 1.
    pub life: u32,
    /// The recording of its device; its index lies beside it.
    pub wav: PathBuf,
    /// What it said of itself.
    pub trace: PathBuf,
}

impl Joiner {
    /// One who doesn't listen yet. `flags` say how the nodes are reached.
    pub fn new(
        name: &str,
        room: &str,
        drift_ppm: i64,
        flags: Vec<String>,
        (dir, bin): (&Path, &Path),
        (journal, planted): (&Arc<Journal>, Option<&str>),
    ) -> anyhow::Result<Self> {
        let dir = dir.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
        Ok(Self {
            name: name.to_owned(),
            dir,
            bin: bin.join("jam"),
            flags,
            drift_ppm,
            room: room.to_owned(),
            journal: journal.clone(),
            planted: planted.map(str::to_owned),
            child: None,
            life: 0,
        })
    }

    /// Joins, unless it is there.
    pub fn join(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        self.life += 1;
        let Take { wav, trace, .. } = self.take(self.life);
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.bin);
        command.args(&self.flags).args(["--user", &self.name]);
        command.arg("--state-dir").arg(self.dir.join("state"));
        command.arg("--cache-dir").arg(self.dir.join("cache"));
        let output = format!("virtual:drift={},wav={}", self.drift_ppm, wav.display());
        command.args(["join", &self.room, "--headless", "--output", &output]);
        command.arg("--trace").arg(&trace).env(MARK, self.journal.mark());
        command.envs(self.planted.as_ref().map(|bug| (PLANTED, bug)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // Ctrl-C at a terminal is for the runner alone.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.child = Some(command.spawn().context("can't start jam")?);
        Ok(())
    }

    /// Damages a file of its song cache. `None`: there is none yet.
    pub fn spoil_cache(&self, how: How, draws: &mut Stream) -> anyhow::Result<Option<Damage>> {
        rot(&self.dir.join("cache"), Kind::Cached, how, draws)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map(drop).context("can't kill jam")
    }

    /// As by Ctrl-C; waits until it has gone.
    pub fn leave(&mut self) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if child.try_wait()?.is_none() {
            let told = Process::of(child.id()).and_then(|process| process.signal(Signal::INT));
            // It may have ended by itself just now.
            if let Err(error) = told
                && child.try_wait()?.is_none()
            {
                return Err(error);
            }
            wait_until(&format!("{} to leave", self.name), || Ok(child.try_wait()?))?;
        }
        self.child = None;
        Ok(())
    }

    /// Why it ended by itself, if it did since this was asked last.
    pub fn look(&mut self) -> anyhow::Result<Option<String>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let Some(status) = child.try_wait()? else { return Ok(None) };
        self.child = None;
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        Ok(Some(format!("{status}: {}", log.lines().last().unwrap_or_default())))
    }

    /// What it left so far, by life.
    pub fn takes(&self) -> impl Iterator<Item = Take> {
        (1..=self.life).map(|life| self.take(life))
    }

    fn take(&self, life: u32) -> Take {
        let wav = self.dir.join(format!("{life}.wav"));
        Take { life, trace: wav.with_extension("wav.trace"), wav }
    }

    /// What it said on standard error.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(name = self.name, "{error:#}");
        }
    }
}
