//! Damage to the files of a node that is down, or of a listener: a bit flips, or the end of a file is gone.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::seed::Stream;

/// What lies in a node's data folder, or in a listener's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Raft's journal: what was acknowledged and is not in sled yet.
    Journal,
    /// Raft's vote, beside the database.
    Vote,
    /// sled's log: log entries, and the snapshot's chunks.
    Database,
    /// What sled makes of that, to start faster.
    DatabaseSnapshot,
    /// A whole song.
    Song,
    /// A segment or a manifest that a listener keeps.
    Cached,
}

/// All of them.
pub const KINDS: [Kind; 6] =
    [Kind::Journal, Kind::Vote, Kind::Database, Kind::DatabaseSnapshot, Kind::Song, Kind::Cached];

/// How a file rots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// A bit flips.
    Flip,
    /// It ends too soon.
    CutOff,
}

/// What was damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// What kind of file it is.
    pub kind: Kind,
    /// Which one, within the data folder.
    pub file: PathBuf,
    /// Where: the byte that has a bit flipped, or the new length.
    pub offset: u64,
    /// Which bit of that byte, from 0; none if the file was cut off.
    pub bit: Option<u8>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, offset) = (self.file.display(), self.offset);
        match self.bit {
            Some(bit) => write!(f, "{file}: bit {bit} of byte {offset} flipped"),
            None => write!(f, "{file}: cut off at byte {offset}"),
        }
    }
}

/// Damages one file of a kind below the data folder of a node that is down, durably. `None`: there is none with anything
/// in it.
pub fn rot(
    data: &Path,
    kind: Kind,
    how: How,
    draws: &mut Stream,
) -> anyhow::Result<Option<Damage>> {
    let mut used = Vec::new();
    for file in files(data, Path::new("")).context("can't list the files to damage")? {
        if Kind::of(&file) == Some(kind) {
            let length = used_bytes(&data.join(&file))
                .with_context(|| format!("can't read {}", file.display()))?;
            used.push((file, length));
        }
    }
    let damage = choose(kind, how, &used, draws);
    if let Some(damage) = &damage {
        inflict(data, damage).with_context(|| format!("can't damage {}", damage.file.display()))?;
    }
    Ok(damage)
}

impl Kind {
    /// What a file within a data folder is.
    fn of(file: &Path) -> Option<Self> {
        let parts: Vec<&str> = file.iter().filter_map(|part| part.to_str()).collect();
        match parts.as_slice() {
            ["raft", name] if name.starts_with("journal.") => Some(Self::Journal),
            ["raft", "vote"] => Some(Self::Vote),
            ["raft", "sled", "db"] | ["raft", "sled", "blobs", _] => Some(Self::Database),
            ["raft", "sled", name] if name.starts_with("snap.") => Some(Self::DatabaseSnapshot),
            ["songs", _, _] => Some(Self::Song),
            ["songs", name] if !name.ends_with(".part") => Some(Self::Cached),
            _ => None,
        }
    }
}

/// Picks a file, and a place where there is something.
fn choose(kind: Kind, how: How, used: &[(PathBuf, u64)], draws: &mut Stream) -> Option<Damage> {
    let candidates: Vec<_> = used.iter().filter(|(_, length)| *length > 0).collect();
    let (file, length) = candidates.get(draws.below(candidates.len() as u64) as usize)?;
    let offset = draws.below(*length);
    let bit = (how == How::Flip).then(|| draws.below(8) as u8);
    Some(Damage { kind, file: file.clone(), offset, bit })
}

fn inflict(data: &Path, damage: &Damage) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(data.join(&damage.file))?;
    match damage.bit {
        Some(bit) => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, damage.offset)?;
            file.write_all_at(&[byte[0] ^ 1 << bit], damage.offset)?;
        }
        None => file.set_len(damage.offset)?,
    }
    file.sync_all()
}

/// All files below a folder, from its root, in order.
fn files(root: &Path, below: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => found.extend(files(root, &path)?),
            kind if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}

/// Up to the last byte that is not zero: journals and sled's log are longer than what they hold.
fn used_bytes(path: &Path) -> io::Result<u64> {
    let bytes = fs::read(path)?;
    Ok(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data folder with a file of each kind, the journal half empty.
    fn folder() -> anyhow::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        let data = folder.path();
        fs::create_dir_all(data.join("raft/sled/blobs"))?;
        fs::create_dir_all(data.join("songs/ab"))?;
        let mut journal = vec![7; 100];
        journal.resize(4096, 0);
        fs::write(data.join("raft/journal.0"), &journal)?;
        fs::write(data.join("raft/journal.1"), vec![0; 4096])?;
        for name in [
            "raft/vote",
            "raft/sled/db",
            "raft/sled/conf",
            "raft/sled/snap.00",
            "songs/ab/abcd",
            "songs/0123",
            "clock.json",
        ] {
            fs::write(data.join(name), vec![9; 50])?;
        }
        Ok(folder)
    }

    fn contents(data: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let files = files(data, Path::new(""))?;
        files.into_iter().map(|file| Ok((file.clone(), fs::read(data.join(&file))?))).collect()
    }

    #[test]
    fn exactly_what_is_told_is_damaged() -> anyhow::Result<()> {
        let mut draws = Stream::new(1, "rot");
        for (kind, how) in
            KINDS.into_iter().flat_map(|kind| [(kind, How::Flip), (kind, How::CutOff)])
        {
            let folder = folder()?;
            let before = contents(folder.path())?;
            let damage =
                rot(folder.path(), kind, how, &mut draws)?.context("there is such a file")?;
            assert_eq!(Kind::of(&damage.file), Some(kind));
            for ((file, old), (_, new)) in before.iter().zip(contents(folder.path())?) {
                let mut expected = old.clone();
                if *file == damage.file {
                    match damage.bit {
                        Some(bit) => expected[damage.offset as usize] ^= 1 << bit,
                        None => expected.truncate(damage.offset as usize),
                    }
                    assert_ne!(*old, new, "{damage}");
                }
                assert_eq!(expected, new, "{damage}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_journal_is_damaged_where_it_holds_something() -> anyhow::Result<()> {
        for seed in 0..20 {
            let folder = folder()?;
            let mut draws = Stream::new(seed, "rot");
            let damage =
                rot(folder.path(), Kind::Journal, How::Flip, &mut draws)?.context("one")?;
            assert_eq!(damage.file, Path::new("raft/journal.0"));
            assert!(damage.offset < 100, "{damage}");
        }
        Ok(())
    }

    #[test]
    fn the_same_seed_damages_the_same() -> anyhow::Result<()> {
        let damage = || -> anyhow::Result<_> {
            let folder = folder()?;
            rot(folder.path(), Kind::Song, How::Flip, &mut Stream::new(3, "rot"))
        };
        assert_eq!(damage()?, damage()?);
        Ok(())
    }

    #[test]
    fn where_there_is_nothing_nothing_rots() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut draws = Stream::new(1, "rot");
        assert_eq!(rot(folder.path(), Kind::Song, How::Flip, &mut draws)?, None);
        Ok(())
    }
}
