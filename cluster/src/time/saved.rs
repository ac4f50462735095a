//! The node's map on disk. A node that starts again in the same boot goes on where it was: shared
//! time ran on while it was down, as the raw clock did.

use std::io;
use std::path::{Path, PathBuf};

use jam_proto::convert;
use jam_proto::sync::{Doubt, Succession};
use jam_proto::time::SharedTime;
use jam_world::{Disk, Open};
use serde::{Deserialize, Serialize};

use super::awake::Awake;

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
    /// How far from the time of the leader in `term` it may have been, ns.
    pub error_bound_ns: i64,
    /// How fast that may grow, parts in 10^9.
    pub drift_bound_ppb: i64,
    /// The term of that leader; 0: none.
    pub term: u64,
    /// The leaders up to that one, as far as they were known.
    pub reference: Leaders,
}

/// A [`Succession`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaders {
    epoch: u64,
    term: u64,
    since: i64,
    bound_ns: i64,
    drift_ppb: i64,
}

impl From<Succession> for Leaders {
    fn from(succession: Succession) -> Self {
        let Succession { epoch, term, since, doubt: Doubt { bound_ns, drift_ppb } } = succession;
        Self { epoch, term, since: since.0, bound_ns, drift_ppb }
    }
}

impl From<Leaders> for Succession {
    fn from(leaders: Leaders) -> Self {
        let Leaders { epoch, term, since, bound_ns, drift_ppb } = leaders;
        Self { epoch, term, since: SharedTime(since), doubt: Doubt::new(bound_ns, drift_ppb) }
    }
}

/// More than any machine is up for: 146 years.
const RAW_NS_MAX: i64 = i64::MAX / 2;
/// Two crystals run apart by 200 ppm at most, and what a filter makes of noise is a few times that.
const DRIFT_MAX: f64 = 0.01;

impl Saved {
    /// What the file says, if it can be read and a clock can be like that.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().filter(Self::can_be)
    }

    /// It has no checksum: with a wild number in it, shared time would be anything.
    fn can_be(&self) -> bool {
        (0..=RAW_NS_MAX).contains(&self.raw_ns)
            && convert::instant("saved shared time", self.shared).is_ok()
            && self.drift.abs() <= DRIFT_MAX
    }

    /// What the file is to say.
    pub fn to_text(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(io::Error::other)
    }

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
pub fn store(disk: &dyn Disk, path: &Path, saved: &Saved) -> io::Result<()> {
    let new = path.with_extension("json.new");
    disk.open(&new, Open::Anew)?.write_at(&saved.to_text()?, 0)?;
    disk.rename(&new, path)
}

/// Reads it. `None` if there is none, or none that can be read: the node then finds shared time
/// from its leader, or takes a new epoch.
pub fn load(disk: &dyn Disk, path: &Path) -> io::Result<Option<Saved>> {
    match disk.read(path) {
        Ok(bytes) => Ok(Saved::parse(&bytes)),
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
        let world = jam_world::World::real();
        let disk = world.disk.as_ref();
        let path = path(folder.path());
        assert_eq!(load(disk, &path).expect("no file"), None);
        let saved = Saved {
            boot_id: "b".to_owned(),
            raw_ns: RAW_NS_MAX,
            boottime_ahead_ns: -3,
            shared: -1_234_567_890_123_456,
            drift: -1.234_567_890_123e-5,
            epoch: 4,
            error_bound_ns: 9,
            drift_bound_ppb: 5,
            term: 3,
            reference: Succession { epoch: 4, term: 3, ..Succession::default() }.into(),
        };
        store(disk, &path, &saved).expect("written");
        assert_eq!(load(disk, &path).expect("read"), Some(saved.clone()));
        for saved in [
            Saved { drift: 1e300, ..saved.clone() },
            Saved { shared: i64::MIN, ..saved.clone() },
            Saved { raw_ns: -1, ..saved.clone() },
        ] {
            store(disk, &path, &saved).expect("written");
            assert_eq!(load(disk, &path).expect("what can't be is none"), None);
        }
        std::fs::write(&path, b"{half").expect("written");
        assert_eq!(load(disk, &path).expect("rubbish is none"), None);
    }
}
