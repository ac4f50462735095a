//! The node's map on disk. A node that starts again in the same boot goes on where it was: shared
//! time ran on while it was down, as the raw clock did.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::raw::Awake;

/// What is saved each second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The boot that the raw clock belongs to.
    pub boot_id: String,
    /// The raw clock, ns.
    pub raw_ns: i64,
    /// CLOCK_BOOTTIME less the raw clock, ns.
    pub boottime_ahead_ns: i64,
    /// Shared time at `raw_ns`, flicks.
    pub shared: i64,
    /// By how much shared time runs faster than the raw clock.
    pub drift: f64,
    /// The committed clock epoch that it belongs to; 0: to none.
    pub epoch: u64,
    /// How far from the leader's time it may have been, ns.
    pub error_bound_ns: i64,
}

impl Saved {
    /// When the machine was looked at.
    pub fn awake(&self) -> Awake {
        Awake { raw_ns: self.raw_ns, ahead_ns: self.boottime_ahead_ns }
    }
}

/// Where it is in a data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join("clock.json")
}

/// Writes it in place of the last one. Not synced: after a power cut the machine has another boot
/// id, and then only `shared` counts, which the log's last stamp backs up.
pub fn store(path: &Path, saved: &Saved) -> io::Result<()> {
    let new = path.with_extension("json.new");
    fs::write(&new, serde_json::to_vec(saved).map_err(io::Error::other)?)?;
    fs::rename(&new, path)
}

/// Reads it. `None` if there is none, or none that can be read: the node then finds shared time
/// from its leader, or takes a new epoch.
pub fn load(path: &Path) -> io::Result<Option<Saved>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path(folder.path());
        assert_eq!(load(&path).expect("no file"), None);
        let saved = Saved {
            boot_id: "b".to_owned(),
            raw_ns: i64::MAX,
            boottime_ahead_ns: -3,
            shared: i64::MIN,
            drift: -1.234_567_890_123e-5,
            epoch: 4,
            error_bound_ns: 9,
        };
        store(&path, &saved).expect("written");
        assert_eq!(load(&path).expect("read"), Some(saved));
        fs::write(&path, b"{half").expect("written");
        assert_eq!(load(&path).expect("rubbish is none"), None);
    }
}
