//! Harm to the saved clock of a node that is down.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::clock_file::{Harm, is_clock_file};
use crate::seed::Stream;

/// Harms all copies of it, in a node's data folder.
pub fn harm_clock(data: &Path, harm: Harm, draws: &mut Stream) -> anyhow::Result<()> {
    let listed = fs::read_dir(data).with_context(|| format!("can't list {}", data.display()))?;
    let mut files = Vec::new();
    for entry in listed {
        files.push(entry?.path());
    }
    files.retain(|file| is_clock_file(file));
    files.sort();
    for file in files {
        let what = || format!("can't harm {}", file.display());
        if harm == Harm::Lost {
            fs::remove_file(&file).with_context(what)?;
        } else {
            let bytes = fs::read(&file).with_context(what)?;
            fs::write(&file, harm.done_to(&bytes, draws)).with_context(what)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clock_files_are_harmed() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let names = ["clock.json", "clock.synced.json", "identity.json"];
        let there = || names.map(|name| fs::read(folder.path().join(name)).unwrap_or_default());
        for name in names {
            fs::write(folder.path().join(name), b"abc")?;
        }
        let mut draws = Stream::new(1, "clock file");
        harm_clock(folder.path(), Harm::Flipped, &mut draws)?;
        assert_eq!(there().map(|bytes| bytes == b"abc"), [false, false, true]);
        harm_clock(folder.path(), Harm::Lost, &mut draws)?;
        assert_eq!(there().map(|bytes| bytes.len()), [0, 0, 3]);
        Ok(())
    }
}
