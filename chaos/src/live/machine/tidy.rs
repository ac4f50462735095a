//! Cleans up after runs, whichever way they ended.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

use super::journal::{Leftover, Line};
use super::process::Process;
use super::undo::{kill_marked, undo};

/// Undoes what a journal notes and is still there, the last first, and kills what carries the run's mark.
/// Answers what was done and what was not possible, in sentences; nothing if there was nothing to do. The journal goes
/// once all is undone. Not for a run that goes on.
pub fn tidy(journal: &Path) -> Vec<String> {
    let text = match fs::read_to_string(journal) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![format!("can't read {}: {error}", journal.display())],
    };
    let mark = journal.file_stem().unwrap_or_default().to_string_lossy();
    let mut done = kill_marked(&mark);
    done.extend(still_left(&text).values().rev().map(|left| undo(left, &mark)));
    let failed = done.iter().any(Result::is_err);
    let mut said: Vec<String> = done
        .into_iter()
        .filter_map(|done| done.map_err(|error| format!("not undone: {error:#}")).transpose())
        .map(|said| said.unwrap_or_else(|failure| failure))
        .collect();
    if failed {
        said.push(format!("{} stays, to try again", journal.display()));
    } else if let Err(error) = fs::remove_file(journal) {
        said.push(format!("can't remove {}: {error}", journal.display()));
    }
    said
}

/// Tidies up after all runs of this user with a journal in this folder whose process is gone.
pub fn tidy_orphans(folder: &Path) -> Vec<String> {
    let mut journals: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .filter(|path| is_orphan(path))
        .collect();
    journals.sort();
    journals.iter().flat_map(|journal| tidy(journal)).collect()
}

/// What was noted and not undone, by number. A line that breaks off was being written when the run ended: what it
/// notes was not begun.
fn still_left(text: &str) -> BTreeMap<u64, Leftover> {
    let mut left = BTreeMap::new();
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Left(number, leftover) => drop(left.insert(number, leftover)),
            Line::Undone(number) => drop(left.remove(&number)),
        }
    }
    left
}

/// Whether it is a journal of this user, and the process that it is named after is gone.
fn is_orphan(journal: &Path) -> bool {
    let name = journal.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let mut parts = name.split('-').map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(started_ticks))) = (parts.next(), parts.next()) else {
        return false;
    };
    // What somebody else wrote there may name anything.
    if !fs::metadata(journal).is_ok_and(|meta| meta.uid() == geteuid().as_raw()) {
        return false;
    }
    let process = u32::try_from(pid).ok().and_then(|pid| Process::of(pid).ok());
    !process.is_some_and(|process| process.started_ticks == started_ticks && process.is_there())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::journal::{Journal, MARK};
    use super::super::process::Victim;
    use super::*;

    #[test]
    fn what_is_left_is_undone_last_first_and_once() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let journal = Journal::begin(&folder.path().join("active"))?;
        let (nested, file) = (folder.path().join("nested"), folder.path().join("nested/file"));
        let _nested = journal.note(Leftover::Folder(nested.clone()))?;
        fs::create_dir(&nested)?;
        let _file = journal.note(Leftover::File(file.clone()))?;
        fs::write(&file, "")?;
        let _never_done = journal.note(Leftover::File(folder.path().join("absent")))?;

        let said = tidy(journal.path());
        let removed = |path: &Path| format!("removed {}", path.display());
        assert_eq!(said, [removed(&file), removed(&nested)]);
        assert!(!journal.path().exists());
        assert_eq!(tidy(journal.path()), Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn what_was_undone_is_left_alone() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let journal = Journal::begin(folder.path())?;
        let file = folder.path().join("file");
        let note = journal.note(Leftover::File(file.clone()))?;
        journal.undo(&note)?;
        fs::write(&file, "of somebody else by now")?;
        assert_eq!(tidy(journal.path()), Vec::<String>::new());
        assert!(file.exists());
        Ok(())
    }

    #[test]
    fn a_line_that_breaks_off_is_no_note() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("1-2-0.jsonl");
        let whole = serde_json::to_string(&Line::Left(1, Leftover::File(folder.path().join("a"))))?;
        fs::write(&path, format!("{whole}\n{}", &whole[..whole.len() / 2]))?;
        assert_eq!(still_left(&fs::read_to_string(&path)?).len(), 1);
        Ok(())
    }

    #[test]
    fn what_can_not_be_undone_stays_in_the_journal() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let journal = Journal::begin(&folder.path().join("active"))?;
        let full = folder.path().join("full");
        fs::create_dir(&full)?;
        fs::write(full.join("file"), "")?;
        let _full = journal.note(Leftover::Folder(full.clone()))?;
        let said = tidy(journal.path());
        assert!(said[0].starts_with("not undone: can't remove"), "{said:?}");
        fs::remove_file(full.join("file"))?;
        assert_eq!(tidy(journal.path()), [format!("removed {}", full.display())]);
        Ok(())
    }

    #[test]
    fn processes_of_a_run_are_found_by_their_mark() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let journal = Journal::begin(folder.path())?;
        let sleep = |mark: &str| -> anyhow::Result<Victim> {
            Ok(Victim(Command::new("sleep").arg("600").env(MARK, mark).spawn()?))
        };
        let (ours, mut other) = (sleep(journal.mark())?, sleep("of another run")?);
        // The mark is there once the new program is.
        let program = format!("/proc/{}/comm", ours.0.id());
        crate::cluster::wait_until("sleep to run", || {
            Ok((fs::read_to_string(&program)?.trim() == "sleep").then_some(()))
        })?;
        assert_eq!(tidy(journal.path()), [format!("killed process {}", ours.0.id())]);
        assert!(other.0.try_wait()?.is_none());
        Ok(())
    }

    #[test]
    fn journals_of_runs_that_go_on_are_left_alone() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let journal = Journal::begin(folder.path())?;
        let own = Process::own()?;
        // The same id, but another process.
        let orphan = folder.path().join(format!("{}-{}-0.jsonl", own.pid, own.started_ticks - 1));
        fs::copy(journal.path(), &orphan)?;
        tidy_orphans(folder.path());
        assert!(journal.path().exists() && !orphan.exists());
        Ok(())
    }
}
