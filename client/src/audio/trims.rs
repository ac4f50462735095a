//! By how much each output sounds later than it says, as somebody found out: kept in a file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The most that a trim may be, either way: more is a mistake.
pub const TRIM_MS_MAX: f64 = 2000.0;

/// Trims by the id of their output, in milliseconds; positive: it sounds later than it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trims(BTreeMap<String, f64>);

impl Trims {
    /// Where they are, in a user's state folder.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("trims.json")
    }

    /// Reads the file; without one there are none.
    ///
    /// # Errors
    /// If it can't be read, or holds something else.
    pub fn load(path: &Path) -> io::Result<Self> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read?,
        };
        let trims: BTreeMap<String, f64> = serde_json::from_slice(&text)?;
        match trims.values().all(|ms| ms.abs() <= TRIM_MS_MAX) {
            true => Ok(Self(trims)),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a trim is more than {TRIM_MS_MAX} ms"),
            )),
        }
    }

    /// Writes the file anew, all of it or nothing.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let part = path.with_extension(format!("{}.part", std::process::id()));
        let written = fs::write(&part, serde_json::to_vec_pretty(&self.0)?)
            .and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// An output's trim in milliseconds, if it has one.
    pub fn ms(&self, output: &str) -> Option<f64> {
        self.0.get(output).copied()
    }

    /// The same in nanoseconds.
    pub fn ns(&self, output: &str) -> Option<i64> {
        self.ms(output).map(|ms| (ms * 1e6).round() as i64)
    }

    /// Gives an output a trim, or takes it away.
    pub fn set(&mut self, output: &str, ms: Option<f64>) {
        match ms {
            Some(ms) => drop(self.0.insert(output.to_owned(), ms)),
            None => drop(self.0.remove(output)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_nonsense_is_no_trim() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = Trims::path(&folder.path().join("state"));
        assert_eq!(Trims::load(&path).expect("nothing there"), Trims::default());
        let mut trims = Trims::default();
        trims.set("alsa:default", Some(-12.5));
        trims.set("alsa:hw:1", Some(3.0));
        trims.set("alsa:hw:1", None);
        trims.save(&path).expect("saved");
        let loaded = Trims::load(&path).expect("loaded");
        assert_eq!((&loaded, loaded.ns("alsa:default")), (&trims, Some(-12_500_000)));
        assert_eq!(loaded.ms("alsa:hw:1"), None);
        for nonsense in ["{", "[1]", r#"{"a": "b"}"#, r#"{"a": 1e9}"#] {
            fs::write(&path, nonsense).expect("written");
            assert!(Trims::load(&path).is_err(), "{nonsense}");
        }
    }
}
