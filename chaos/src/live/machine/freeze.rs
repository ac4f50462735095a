//! A process that stands still, as in a long pause of its machine, and goes on.

use std::sync::Arc;

use anyhow::{bail, ensure};
use rustix::process::Signal;

use super::journal::{Journal, Leftover, Note};
use super::process::Process;
use crate::cluster::wait_until;

/// A process that stands still. It goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen {
    journal: Arc<Journal>,
    process: Process,
    note: Option<Note>,
}

impl Frozen {
    /// Stops all threads of a process, and waits until they stand still.
    pub fn freeze(process: &Process, journal: &Arc<Journal>) -> anyhow::Result<Self> {
        let note = journal.note(Leftover::Stopped(process.clone()))?;
        let frozen = Self { journal: journal.clone(), process: process.clone(), note: Some(note) };
        process.signal(Signal::STOP)?;
        wait_until(&format!("process {} to stand still", process.pid), || {
            ensure!(process.is_there(), "process {} ended instead of standing still", process.pid);
            // Small t: a tracer stopped it.
            Ok(process.states().iter().all(|state| "Tt".contains(*state)).then_some(()))
        })?;
        Ok(frozen)
    }

    /// Lets it go on, and waits until it does. An error if it was killed meanwhile.
    pub fn thaw(mut self) -> anyhow::Result<()> {
        self.go_on()?;
        if !self.process.is_there() {
            bail!("process {} ended while it stood still", self.process.pid);
        }
        Ok(())
    }

    fn go_on(&mut self) -> anyhow::Result<()> {
        if let Some(note) = &self.note {
            self.journal.undo(note)?;
        }
        self.note = None;
        Ok(())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.go_on() {
            tracing::warn!("process {} still stands still: {error:#}", self.process.pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::process::Victim;
    use super::*;

    #[test]
    fn a_process_stands_still_until_it_is_let_go_on() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let journal = Journal::begin(folder.path())?;
        let mut victim = Victim(Command::new("sleep").arg("600").spawn()?);
        let process = Process::of(victim.0.id())?;
        let frozen = Frozen::freeze(&process, &journal)?;
        assert_eq!(process.states(), ['T']);
        frozen.thaw()?;
        assert_ne!(process.states(), ['T']);

        let frozen = Frozen::freeze(&process, &journal)?;
        victim.0.kill()?;
        victim.0.wait()?;
        assert!(frozen.thaw().is_err());
        assert!(Frozen::freeze(&process, &journal).is_err());
        Ok(())
    }

    #[test]
    fn a_process_goes_on_after_a_run_that_ended_early() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let journal = Journal::begin(folder.path())?;
        let victim = Victim(Command::new("sleep").arg("600").spawn()?);
        let process = Process::of(victim.0.id())?;
        std::mem::forget(Frozen::freeze(&process, &journal)?);
        let said = super::super::tidy::tidy(journal.path());
        assert_eq!(said, [format!("continued process {}", process.pid)]);
        assert_ne!(process.states(), ['T']);
        Ok(())
    }
}
