//! System calls of a running process that fail or take long, by strace's tampering (strace(1), `-e inject`).
//!
//! While strace is attached, each system call of the process stops for it, also those that are let through: a
//! fault of this kind makes the whole process slower, by some ten microseconds a call.

use std::fmt;
use std::fs::{self, File};
use std::num::NonZeroU16;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Signal, geteuid};

use super::journal::{Journal, Leftover, MARK, Note};
use super::process::Process;
use super::tool::{Needs, STRACE};
use crate::cluster::wait_until;

/// The calls that make files durable: a node's journal uses `fdatasync`, sled `sync_file_range` and `fsync`.
pub const SYNCS: &[&str] = &["fdatasync", "fsync", "sync_file_range", "syncfs", "msync"];
/// The calls that write at a place of a file. Sockets are written to by others.
pub const WRITES: &[&str] = &["pwrite64", "pwritev", "pwritev2", "fallocate", "ftruncate"];
/// The calls that read from a place of a file.
pub const READS: &[&str] = &["pread64", "preadv", "preadv2"];

/// What is done to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// It is not made, and fails with this error, such as `EIO` or `ENOSPC`.
    Error(&'static str),
    /// It is made later by so much.
    Delay(Duration),
}

/// Which calls are tampered with, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Names of system calls.
    pub calls: &'static [&'static str],
    /// What is done to them.
    pub tampering: Tampering,
    /// One call in so many of each thread, its first so-many-th first. strace can't draw.
    pub one_in: NonZeroU16,
    /// Only calls that concern one of these files or folders; whatever they concern, if there are none.
    pub paths: Vec<PathBuf>,
}

impl fmt::Display for Injection {
    /// As strace's `-e inject=` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.calls.join(","))?;
        match self.tampering {
            Tampering::Error(name) => write!(f, "error={name}")?,
            Tampering::Delay(by) => write!(f, "delay_enter={}", by.as_micros())?,
        }
        if self.one_in.get() > 1 {
            write!(f, ":when={0}+{0}", self.one_in)?;
        }
        Ok(())
    }
}

/// A strace that is attached to a process. It lets go when this is dropped.
#[derive(Debug)]
pub struct Tracer {
    journal: Arc<Journal>,
    process: Process,
    strace: Child,
    log: PathBuf,
    note: Option<Note>,
}

impl Tracer {
    /// Attaches to all threads of a process, and waits until that is so. The calls are logged in `log`, and
    /// what strace says of itself beside it in `….err`.
    pub fn attach(
        process: &Process,
        injection: &Injection,
        log: &Path,
        journal: &Arc<Journal>,
    ) -> anyhow::Result<Self> {
        let complaints = log.with_extension("err");
        let stderr = File::create(&complaints)
            .with_context(|| format!("can't write to {}", complaints.display()))?;
        let mut command = STRACE.command();
        command.args(["-f", "-ttt", "-p", &process.pid.to_string(), "-o"]).arg(log);
        command.args(["-e", &format!("trace={}", injection.calls.join(","))]);
        command.args(["-e", &format!("inject={injection}"), "-e", "signal=none"]);
        for path in &injection.paths {
            command.arg("-P").arg(path);
        }
        // Ctrl-C at a terminal is for the runner alone.
        command.env(MARK, journal.mark()).process_group(0).stderr(stderr);

        let note = Some(journal.note(Leftover::Traced(process.clone()))?);
        let strace = command.spawn().map_err(|error| STRACE.unstarted(error));
        let strace = strace.inspect_err(|_| settle(journal, &note))?;
        let log = log.to_owned();
        let mut tracer =
            Self { journal: journal.clone(), process: process.clone(), strace, log, note };
        tracer.wait_until_attached(&complaints)?;
        Ok(tracer)
    }

    /// How many calls were tampered with until now.
    pub fn tampered(&self) -> anyhow::Result<u64> {
        let log = fs::read_to_string(&self.log)
            .with_context(|| format!("can't read strace's log {}", self.log.display()))?;
        let tampered = |line: &&str| line.contains("(INJECTED)") || line.contains("(DELAYED)");
        Ok(log.lines().filter(tampered).count() as u64)
    }

    /// Lets go of the process, which goes on, and waits until that is so; answers [`Self::tampered`].
    pub fn detach(mut self) -> anyhow::Result<u64> {
        self.let_go()?;
        self.tampered()
    }

    fn wait_until_attached(&mut self, complaints: &Path) -> anyhow::Result<()> {
        wait_until(&format!("strace to attach to process {}", self.process.pid), || {
            let said = fs::read_to_string(complaints)?;
            if let Some(status) = self.strace.try_wait()? {
                let is_root = geteuid().is_root();
                if said.contains("Operation not permitted") && !is_root {
                    bail!(Needs::Ptrace);
                }
                bail!("strace ended with {status}: {}", said.trim());
            }
            // It says so after it has told all threads to stop for it.
            let tracers = self.process.tracers();
            let attached = said.contains("attached") && !tracers.is_empty();
            Ok((attached && tracers.iter().all(|tracer| *tracer == self.strace.id())).then_some(()))
        })
    }

    fn let_go(&mut self) -> anyhow::Result<()> {
        if let Some(note) = &self.note {
            self.journal.undo(note)?;
        }
        self.note = None;
        // It may not have got as far as to attach.
        if self.strace.try_wait()?.is_none() {
            // An error: it ended just now.
            let _ = Process::of(self.strace.id())?.signal(Signal::INT);
        }
        wait_until("strace to end", || Ok(self.strace.try_wait()?.map(drop)))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Err(error) = self.let_go() {
            tracing::warn!("strace did not let go of process {}: {error:#}", self.process.pid);
        }
    }
}

/// Nothing was attached.
fn settle(journal: &Journal, note: &Option<Note>) {
    if let Some(Err(error)) = note.as_ref().map(|note| journal.undo(note)) {
        tracing::warn!("{error:#}");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::super::process::Victim;
    use super::*;

    /// Tells the process that a test started where to sync.
    const SYNCS_IN: &str = "JAM_TEST_SYNCS_IN";

    fn injection(tampering: Tampering, one_in: u16) -> Injection {
        let one_in = NonZeroU16::new(one_in).unwrap_or(NonZeroU16::MIN);
        Injection { calls: &["fsync", "fdatasync"], tampering, one_in, paths: Vec::new() }
    }

    #[test]
    fn an_injection_reads_as_strace_has_it() {
        let failing = injection(Tampering::Error("EIO"), 1);
        assert_eq!(failing.to_string(), "fsync,fdatasync:error=EIO");
        let slow = injection(Tampering::Delay(Duration::from_millis(3)), 4);
        assert_eq!(slow.to_string(), "fsync,fdatasync:delay_enter=3000:when=4+4");
    }

    /// A process with threads, as a node is: this very test, started anew. It syncs a file again and again, and says
    /// in another one whether it could.
    fn syncing(dir: &Path) -> anyhow::Result<Victim> {
        let mut program = Command::new(std::env::current_exe()?);
        program
            .args(["--exact", "live::machine::tracer::tests::syncs_fail_while_strace_is_attached"]);
        program.env(SYNCS_IN, dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Victim(program.spawn()?))
    }

    fn sync_for_ever(dir: &Path) -> anyhow::Result<()> {
        let file = File::create(dir.join("file"))?;
        let mut said = File::create(dir.join("said"))?;
        loop {
            let outcome = if file.sync_data().is_ok() { "ok" } else { "failed" };
            writeln!(said, "{outcome}")?;
        }
    }

    fn has_strace() -> bool {
        let missing = STRACE.run(STRACE.command().arg("-V")).err();
        if let Some(error) = &missing {
            println!("skipped: {error}");
        }
        missing.is_none()
    }

    /// Waits until a sync that began after now ended in such a way.
    fn wait_for(dir: &Path, outcome: &str) -> anyhow::Result<()> {
        let said = dir.join("said");
        let before = fs::read_to_string(&said).map_or(0, |text| text.lines().count());
        wait_until(&format!("a sync that {outcome}"), || {
            let text = fs::read_to_string(&said).unwrap_or_default();
            // The first one may have been under way.
            Ok(text.lines().skip(before + 1).any(|line| line == outcome).then_some(()))
        })
    }

    #[test]
    fn syncs_fail_while_strace_is_attached() -> anyhow::Result<()> {
        if let Some(dir) = std::env::var_os(SYNCS_IN) {
            return sync_for_ever(Path::new(&dir));
        }
        if !has_strace() {
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let journal = Journal::begin(&dir.path().join("active"))?;
        let victim = syncing(dir.path())?;
        wait_for(dir.path(), "ok")?;
        let process = Process::of(victim.0.id())?;
        let log = dir.path().join("strace.log");
        let failing = injection(Tampering::Error("EIO"), 1);
        let tracer = Tracer::attach(&process, &failing, &log, &journal)?;
        wait_for(dir.path(), "failed")?;
        assert!(tracer.detach()? > 0);
        assert!(process.tracers().iter().all(|tracer| *tracer == 0));
        wait_for(dir.path(), "ok")?;

        let slow = injection(Tampering::Delay(Duration::from_millis(1)), 1);
        let tracer = Tracer::attach(&process, &slow, &log, &journal)?;
        wait_for(dir.path(), "ok")?;
        assert!(tracer.detach()? > 0);

        // The runner ends without letting go.
        std::mem::forget(Tracer::attach(&process, &failing, &log, &journal)?);
        let said = super::super::tidy::tidy(journal.path());
        assert!(!said.is_empty() && process.is_there(), "{said:?}");
        wait_for(dir.path(), "ok")?;
        Ok(())
    }

    #[test]
    fn what_strace_complains_of_is_told() -> anyhow::Result<()> {
        if !has_strace() {
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let journal = Journal::begin(&dir.path().join("active"))?;
        let victim = Victim(Command::new("sleep").arg("600").spawn()?);
        let process = Process::of(victim.0.id())?;
        let nonsense = injection(Tampering::Error("ENONSENSE"), 1);
        let log = dir.path().join("strace.log");
        let error = Tracer::attach(&process, &nonsense, &log, &journal).expect_err("no such error");
        assert!(error.to_string().contains("ENONSENSE"), "{error:#}");
        Ok(())
    }

    #[test]
    fn a_process_that_starts_others_is_let_go_of_too() -> anyhow::Result<()> {
        if !has_strace() {
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let journal = Journal::begin(&dir.path().join("active"))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", "while :; do ls . ; done"]).stdout(Stdio::null());
        let victim = Victim(shell.current_dir(dir.path()).spawn()?);
        let process = Process::of(victim.0.id())?;
        let failing = injection(Tampering::Error("EIO"), 1);
        let tracer = Tracer::attach(&process, &failing, &dir.path().join("log"), &journal)?;
        tracer.detach()?;
        assert!(process.is_there() && process.tracers() == [0]);
        Ok(())
    }
}
