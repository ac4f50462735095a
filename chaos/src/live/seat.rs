//! The place of a node: its disk, its address, and its processes, which come and go.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Signal;

use super::machine::freeze::Frozen;
use super::machine::journal::{Journal, MARK};
use super::machine::process::Process;
use super::machine::tracer::Tracer;
use super::machine::volume::Volume;
use super::machine::wall_clock::WallClock;
use crate::cluster::{monotonic_ns, wait_until};
use crate::history::Stop;

/// Room for a node that has a disk of its own, bytes.
const VOLUME_BYTES: u64 = 256 << 20;
/// What a process may take to end when it is told to, before it is killed.
const UMOUNT_PATIENCE: Duration = Duration::from_secs(10);
/// Names a bug on purpose to processes.
pub(super) const PLANTED: &str = "JAM_PLANTED";
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";
/// Lines of the log that say why a process ended.
const LAST_LINES: usize = 3;

/// How a process of a node ended.
#[derive(Clone, Debug)]
pub struct End {
    /// Which start of the process, from 1.
    pub life: u32,
    /// CLOCK_MONOTONIC, ns.
    pub mono_ns: i64,
    /// How.
    pub how: Stop,
}

/// The place.
pub struct Seat {
    /// Its number, from 1.
    pub place: u64,
    dir: PathBuf,
    command: Vec<String>,
    bin: PathBuf,
    journal: Arc<Journal>,
    /// A disk of its own, if the scenario takes one.
    pub volume: Option<Volume>,
    /// A wall clock of its own, if the scenario takes one.
    pub clock: Option<WallClock>,
    planted: Option<String>,
    child: Option<Child>,
    life: u32,
    disk: u32,
    ends: Vec<End>,
    /// Faults that keep it down.
    pub down: BTreeSet<usize>,
    /// Its disk has lost its power.
    pub is_dark: bool,
    /// SIGSTOP, with the faults that want it.
    pub frozen: Option<(Frozen, BTreeSet<usize>)>,
    /// strace, with the fault that wants it.
    pub tracer: Option<(Tracer, usize)>,
}

/// What all seats of a run have in common.
pub struct Furniture<'a> {
    /// The run's folder.
    pub dir: &'a Path,
    /// Where `jamd` is.
    pub bin: &'a Path,
    /// Each gets a disk of its own.
    pub volumes: bool,
    /// Each gets a wall clock of its own.
    pub clocks: bool,
    /// A bug that each has on purpose.
    pub planted: Option<&'a str>,
    /// What must be undone.
    pub journal: &'a Arc<Journal>,
}

impl Seat {
    /// An empty one. `flags` are what its jamd is started with, but for its folder.
    pub fn new(place: u64, flags: Vec<String>, furniture: &Furniture<'_>) -> anyhow::Result<Self> {
        let Furniture { dir, bin, volumes, clocks, planted, journal } = furniture;
        let dir = dir.join(format!("node{place}"));
        fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
        let clock = clocks.then(|| WallClock::create(&dir.join("wall-clock"), journal)).transpose();
        let mut seat = Self {
            place,
            dir,
            command: flags,
            bin: bin.join("jamd"),
            journal: (*journal).clone(),
            volume: None,
            clock: clock?,
            planted: planted.map(str::to_owned),
            child: None,
            life: 0,
            disk: 0,
            ends: Vec::new(),
            down: BTreeSet::new(),
            is_dark: false,
            frozen: None,
            tracer: None,
        };
        if *volumes {
            seat.new_volume()?;
        }
        Ok(seat)
    }

    fn new_volume(&mut self) -> anyhow::Result<()> {
        self.disk += 1;
        let name = format!("disk{}", self.disk);
        self.volume = Some(Volume::create(&self.dir, &name, VOLUME_BYTES, &self.journal)?);
        Ok(())
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        match &self.volume {
            Some(volume) => volume.path(),
            None => self.dir.join(format!("data{}", self.disk)),
        }
    }

    /// Where its processes wrote down what they applied, by life.
    pub fn records(&self) -> impl Iterator<Item = (u32, PathBuf)> {
        (1..=self.life).map(|life| (life, self.record(life)))
    }

    fn record(&self, life: u32) -> PathBuf {
        self.dir.join(format!("record{life}.jsonl"))
    }

    /// What its processes logged.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// How its processes ended.
    pub fn ends(&self) -> &[End] {
        &self.ends
    }

    /// Starts a process, unless one runs.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        if self.is_dark
            && let Some(volume) = &self.volume
        {
            volume.remount(UMOUNT_PATIENCE)?;
            self.is_dark = false;
        }
        self.life += 1;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.bin);
        command.args(&self.command).arg("--data").arg(self.data());
        command.arg("--record").arg(self.record(self.life));
        command.env(MARK, self.journal.mark());
        command.envs(self.planted.as_ref().map(|bug| (PLANTED, bug)));
        if let Some(clock) = &self.clock {
            command.envs(clock.environment());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // Ctrl-C at a terminal is for the runner alone.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.child = Some(command.spawn().context("can't start jamd")?);
        Ok(())
    }

    /// Starts a process of this node on another data folder, which listens where nobody looks for it; `hidden`: and
    /// which doesn't reach this node's address.
    pub fn start_elsewhere(&self, data: &Path, log: File, hidden: bool) -> anyhow::Result<Child> {
        let mut flags = self.command.clone();
        let place = |flags: &[String], name: &str| flags.iter().position(|flag| flag == name);
        let listen = place(&flags, "--listen").context("a node listens")? + 1;
        let mut address = std::mem::replace(&mut flags[listen], "127.0.0.1:0".to_owned());
        if let Some(peers) = place(&flags, "--peer-listen") {
            address = std::mem::replace(&mut flags[peers + 1], "127.0.0.1:0".to_owned());
        }
        if hidden {
            let detours = place(&flags, "--connect-to").context("a node has detours")? + 1;
            flags[detours] += &format!(",{address}={NOWHERE}");
        }
        let mut command = Command::new(&self.bin);
        command.args(flags).arg("--data").arg(data).env(MARK, self.journal.mark());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().context("can't start jamd")
    }

    /// The id of the process that runs.
    pub fn pid(&self) -> Option<u32> {
        Some(self.child.as_ref()?.id())
    }

    /// The process that runs.
    pub fn process(&self) -> Option<Process> {
        Process::of(self.child.as_ref()?.id()).ok()
    }

    /// Ends the process, and notes how.
    pub fn kill(&mut self, how: Stop) -> anyhow::Result<()> {
        // A tracer that lets go first keeps the process from dying late.
        self.tracer = None;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).context("can't kill jamd")?;
        self.frozen = None;
        self.ended(how);
        Ok(())
    }

    /// No power: what was not synced is lost.
    pub fn cut_power(&mut self) -> anyhow::Result<()> {
        let volume =
            self.volume.as_ref().context("power is lost by nodes with disks of their own")?;
        if !self.is_dark {
            volume.cut_power()?;
            self.is_dark = true;
        }
        self.kill(Stop::Power)
    }

    /// Its disk is gone, and there is another one.
    pub fn wipe(&mut self) -> anyhow::Result<()> {
        self.kill(Stop::Wiped)?;
        // One that was down already is gone for good from now on.
        if let Some(end) = self.ends.last_mut().filter(|end| end.life == self.life) {
            end.how = Stop::Wiped;
        }
        match self.volume.take() {
            Some(volume) => {
                if self.is_dark {
                    volume.remount(UMOUNT_PATIENCE)?;
                    self.is_dark = false;
                }
                volume.remove()?;
                self.new_volume()
            }
            None => {
                self.disk += 1;
                Ok(())
            }
        }
    }

    /// Tells the process to end, and waits until it has, or kills it. One that ended by itself before is noted as such.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if self.look()?.is_some() {
            return Ok(());
        }
        let Some(process) = self.process() else { return Ok(()) };
        if let Err(error) = process.signal(Signal::TERM) {
            return self.look()?.map(drop).ok_or(error);
        }
        let child = self.child.as_mut().context("it runs")?;
        let ended = wait_until("a node to stop", || Ok(child.try_wait()?));
        if ended.is_err() {
            return self.kill(Stop::Crash);
        }
        self.child = None;
        self.ended(Stop::Stop);
        Ok(())
    }

    /// Whether the process ended by itself since this was asked last; then why.
    pub fn look(&mut self) -> anyhow::Result<Option<String>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let Some(status) = child.try_wait()? else { return Ok(None) };
        self.child = None;
        self.tracer = None;
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(LAST_LINES).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        let why = format!("{status}: {}", last.join(" / "));
        self.ended(Stop::Failed { why: why.clone() });
        Ok(Some(why))
    }

    fn ended(&mut self, how: Stop) {
        self.ends.push(End { life: self.life, mono_ns: monotonic_ns(), how });
    }

    /// Stops it with SIGSTOP for a fault.
    pub fn freeze(&mut self, fault: usize) -> anyhow::Result<()> {
        if let Some((_, faults)) = &mut self.frozen {
            faults.insert(fault);
        } else if let Some(process) = self.process() {
            match Frozen::freeze(&process, &self.journal) {
                Ok(frozen) => self.frozen = Some((frozen, [fault].into())),
                // It ended by itself: whoever looks next finds that.
                Err(_) if !process.is_there() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A fault doesn't want it stopped any more.
    pub fn thaw(&mut self, fault: usize) -> anyhow::Result<()> {
        let Some((_, faults)) = &mut self.frozen else { return Ok(()) };
        if faults.remove(&fault) && faults.is_empty() {
            let (frozen, _) = self.frozen.take().context("it is stopped")?;
            match frozen.thaw() {
                Err(_) if self.process().is_none_or(|process| !process.is_there()) => {}
                thawed => thawed?,
            }
        }
        Ok(())
    }

    /// Leaves nothing behind on the machine but its folder.
    pub fn clear(&mut self) -> anyhow::Result<()> {
        self.kill(Stop::Crash)?;
        self.clock = None;
        if let Some(volume) = self.volume.take() {
            volume.remove()?;
        }
        ensure!(self.child.is_none(), "jamd still runs");
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(place = self.place, "can't clear up: {error:#}");
        }
    }
}
