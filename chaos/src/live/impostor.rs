//! Processes that run as a node without a right to: on a copy of its data folder, or on the old folder of one that was
//! replaced. Each must end by itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::Context;

use super::seat::Seat;
use crate::book::Book;
use crate::history::What;

/// What a run can want to reach.
const ENDED: &str = "an impostor ended by itself";
/// A supervisor starts it again: the second time it finds at once what it found while it ran.
const LIVES: u32 = 2;

/// All of a run.
#[derive(Default)]
pub struct Impostors {
    all: Vec<Impostor>,
}

struct Impostor {
    place: u64,
    what: &'static str,
    hidden: bool,
    data: PathBuf,
    log: PathBuf,
    lives: u32,
    child: Option<Child>,
}

impl Impostors {
    /// Copies a node's folder while it runs, and starts a process on the copy; `hidden`: one that doesn't reach the node.
    pub fn copy(&mut self, seat: &Seat, hidden: bool) -> anyhow::Result<()> {
        self.set_aside(seat, "a copied folder", hidden)?;
        self.start(seat)
    }

    /// Keeps a copy of the folder of a node that is about to be replaced.
    pub fn bury(&mut self, seat: &Seat) -> anyhow::Result<()> {
        self.set_aside(seat, "the old folder of a replaced node", false)
    }

    /// Starts what was kept of a node.
    pub fn start(&mut self, seat: &Seat) -> anyhow::Result<()> {
        let kept = |one: &&mut Impostor| one.place == seat.place && one.lives == 0;
        self.all.iter_mut().filter(kept).try_for_each(|one| one.start(seat))
    }

    fn set_aside(&mut self, seat: &Seat, what: &'static str, hidden: bool) -> anyhow::Result<()> {
        let name = format!("impostor{}", self.all.len() + 1);
        let data = seat.log().with_file_name(&name);
        copy_folder(&seat.data(), &data)
            .with_context(|| format!("can't copy the folder of n{}", seat.place))?;
        let log = data.with_extension("log");
        let place = seat.place;
        self.all.push(Impostor { place, what, hidden, data, log, lives: 0, child: None });
        Ok(())
    }

    /// Notes which ones ended, and says so. `seat` finds a node's place.
    pub fn look<'a>(
        &mut self,
        book: &Book,
        seat: impl Fn(u64) -> Option<&'a Seat>,
    ) -> anyhow::Result<Vec<String>> {
        let mut told = Vec::new();
        for one in &mut self.all {
            let Some(child) = &mut one.child else { continue };
            if child.try_wait()?.is_none() {
                continue;
            }
            one.child = None;
            let said = one.last_words();
            told.push(format!("{} ended by itself: {said}", one.text()));
            book.sometimes(ENDED);
            book.note(What::Impostor { what: one.text(), said: Some(said) });
            if one.lives < LIVES
                && let Some(seat) = seat(one.place)
            {
                one.start(seat)?;
            }
        }
        Ok(told)
    }

    /// Kills those that still run, and notes that they did.
    pub fn end(&mut self, book: &Book) -> anyhow::Result<()> {
        for one in &mut self.all {
            if one.child.is_some() {
                one.kill()?;
                book.note(What::Impostor { what: one.text(), said: None });
            }
        }
        Ok(())
    }
}

impl Impostor {
    fn text(&self) -> String {
        format!("{} (n{}, start {})", self.what, self.place, self.lives)
    }

    fn start(&mut self, seat: &Seat) -> anyhow::Result<()> {
        self.lives += 1;
        let log = File::options().create(true).append(true).open(&self.log)?;
        self.child = Some(seat.start_elsewhere(&self.data, log, self.hidden)?);
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map(drop).context("can't kill an impostor")
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!("can't clear up: {error:#}");
        }
    }
}

/// Copies all that stays there while it is copied.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        let copied = match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => fs::copy(entry.path(), to).map(drop),
        };
        match copied {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => copied?,
        }
    }
    Ok(())
}
