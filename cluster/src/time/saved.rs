//! The node's map on disk. A node that starts again in the same boot goes on where it was: shared
//! time ran on while it was down, as the raw clock did.
//!
//! There are two files. `clock.json` is replaced each second and not synced, since that would cost the disk a sync a
//! second for ever. `clock.synced.json` is synced now and then, and is what a power cut leaves for certain. Both have a
//! first line with the format's number and a checksum of the rest. A file that can't be used is as good as none.

use std::io;
use std::path::{Path, PathBuf};

use jam_proto::convert;
use jam_proto::sync::{Doubt, Succession};
use jam_proto::time::SharedTime;
use jam_world::{Disk, Open, write_and_sync};
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
    /// The raw clock when the map was last set rather than steered, ns; 0: an older build saved it.
    #[serde(default)]
    pub set_raw_ns: i64,
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
    /// The clock epoch that it belonged to before it could not be continued any more; else as `epoch`.
    #[serde(default)]
    pub last_epoch: u64,
}

/// The first line of a file.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    /// BLAKE3 of what follows the first line, in hexadecimal.
    #[serde(default)]
    checksum: String,
}

/// Why a file can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No header that can be read: it is damaged, or of the first release.
    #[error("it has no header that can be read")]
    Headless,
    /// A newer jamd wrote it.
    #[error("a newer jamd wrote it, in format {0}")]
    Newer(u32),
    /// It is not what was written.
    #[error("it is damaged: its checksum is wrong")]
    Damaged,
    /// Its numbers are none that a clock can have.
    #[error("no clock can be like that")]
    Impossible,
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

/// The format that this build writes.
const FORMAT: u32 = 1;

impl Saved {
    /// What a file says.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        let newline = bytes.iter().position(|byte| *byte == b'\n').ok_or(Unusable::Headless)?;
        let (header, body) = (&bytes[..newline], &bytes[newline + 1..]);
        let header: Header = serde_json::from_slice(header).map_err(|_| Unusable::Headless)?;
        if header.format > FORMAT {
            return Err(Unusable::Newer(header.format));
        }
        if header.format < FORMAT || header.checksum != checksum(body) {
            return Err(Unusable::Damaged);
        }
        Self::parse_body(body)
    }

    /// What a file of the first release says, which had neither format nor checksum.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn parse_unchecked(bytes: &[u8]) -> Result<Self, Unusable> {
        Self::parse_body(bytes)
    }

    fn parse_body(body: &[u8]) -> Result<Self, Unusable> {
        let saved: Self = serde_json::from_slice(body).map_err(|_| Unusable::Damaged)?;
        if saved.can_be() { Ok(saved) } else { Err(Unusable::Impossible) }
    }

    /// With a wild number in it, shared time would be anything.
    fn can_be(&self) -> bool {
        (0..=RAW_NS_MAX).contains(&self.raw_ns)
            && convert::instant("saved shared time", self.shared).is_ok()
            && self.drift.abs() <= DRIFT_MAX
    }

    /// What the file is to say.
    pub fn to_text(&self) -> io::Result<Vec<u8>> {
        let body = serde_json::to_vec(self)?;
        let mut text = serde_json::to_vec(&Header { format: FORMAT, checksum: checksum(&body) })?;
        text.push(b'\n');
        text.extend(body);
        Ok(text)
    }

    /// When the machine was looked at.
    pub fn awake(&self) -> Awake {
        Awake { raw_ns: self.raw_ns, ahead_ns: self.boottime_ahead_ns }
    }
}

fn checksum(body: &[u8]) -> String {
    blake3::hash(body).to_hex().to_string()
}

/// The files of a data folder.
#[derive(Clone, Debug)]
pub struct Files {
    data: PathBuf,
    last: PathBuf,
    synced: PathBuf,
}

impl Files {
    /// In this data folder.
    pub fn of(data: &Path) -> Self {
        let (last, synced) = (data.join("clock.json"), data.join("clock.synced.json"));
        Self { data: data.to_owned(), last, synced }
    }

    /// Writes the one that is replaced each second. A power cut may take it, or leave a damaged one.
    pub fn store(&self, disk: &dyn Disk, saved: &Saved) -> io::Result<()> {
        let new = self.last.with_extension("json.new");
        disk.open(&new, Open::Anew)?.write_at(&saved.to_text()?, 0)?;
        disk.rename(&new, &self.last)
    }

    /// Writes the one that a power cut leaves. Takes as long as the disk takes for two syncs.
    pub fn store_synced(&self, disk: &dyn Disk, saved: &Saved) -> io::Result<()> {
        let new = self.synced.with_extension("json.new");
        write_and_sync(disk, &new, &saved.to_text()?)?;
        disk.rename(&new, &self.synced)?;
        disk.sync_folder(&self.data)
    }

    /// Reads the later one of those that can be used. `None` if there is none: the node then finds shared time from its
    /// leader or its voters, or takes a new epoch. A file of the first release, without a checksum, is believed until this
    /// build has written one of its own.
    pub fn load(&self, disk: &dyn Disk) -> io::Result<Option<Saved>> {
        let (last, synced) = (read(disk, &self.last)?, read(disk, &self.synced)?);
        let is_first_release = synced.is_none();
        let last = last.map(|bytes| match Saved::parse(&bytes) {
            Err(Unusable::Headless) if is_first_release => Saved::parse_unchecked(&bytes),
            parsed => parsed,
        });
        let synced = synced.map(|bytes| Saved::parse(&bytes));
        let usable = |path: &Path, found: Option<Result<Saved, Unusable>>| match found? {
            Ok(saved) => Some(saved),
            Err(why) => {
                let file = path.display();
                tracing::warn!(%file, %why, "a saved clock can't be used; it counts as none");
                None
            }
        };
        let usable = [usable(&self.last, last), usable(&self.synced, synced)];
        Ok(usable.into_iter().flatten().max_by_key(|saved| saved.shared))
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        Saved {
            boot_id: "b".to_owned(),
            raw_ns: RAW_NS_MAX,
            boottime_ahead_ns: -3,
            shared: -1_234_567_890_123_456,
            drift: -1.234_567_890_123e-5,
            set_raw_ns: 3,
            epoch: 4,
            error_bound_ns: 9,
            drift_bound_ppb: 5,
            term: 3,
            reference: Succession { epoch: 4, term: 3, ..Succession::default() }.into(),
            last_epoch: 4,
        }
    }

    fn folder() -> (tempfile::TempDir, Files, jam_world::World) {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::of(folder.path());
        (folder, files, jam_world::World::real())
    }

    #[test]
    fn comes_back_as_it_was() {
        let (_folder, files, world) = folder();
        let disk = world.disk.as_ref();
        assert_eq!(files.load(disk).expect("no file"), None);
        files.store(disk, &saved()).expect("written");
        assert_eq!(files.load(disk).expect("read"), Some(saved()));
        for saved in [
            Saved { drift: 1e300, ..saved() },
            Saved { shared: i64::MIN, ..saved() },
            Saved { raw_ns: -1, ..saved() },
        ] {
            files.store(disk, &saved).expect("written");
            assert_eq!(files.load(disk).expect("what can't be is none"), None);
        }
        std::fs::write(&files.last, b"{half").expect("written");
        assert_eq!(files.load(disk).expect("rubbish is none"), None);
    }

    #[test]
    fn any_flipped_bit_makes_it_none() {
        let text = saved().to_text().expect("it is text");
        assert_eq!(Saved::parse(&text), Ok(saved()));
        for at in 0..text.len() * 8 {
            let mut rotten = text.clone();
            rotten[at / 8] ^= 1 << (at % 8);
            let parsed = Saved::parse(&rotten);
            assert!(parsed.is_err(), "bit {at}: {parsed:?}");
            assert!(Saved::parse_unchecked(&rotten).is_err(), "bit {at}");
        }
        for length in 0..text.len() {
            assert!(Saved::parse(&text[..length]).is_err(), "cut off at {length}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        assert_eq!(Saved::parse(b"{\"format\":7}\nanything"), Err(Unusable::Newer(7)));
    }

    #[test]
    fn the_later_one_counts_and_the_synced_one_is_left() {
        let (_folder, files, world) = folder();
        let disk = world.disk.as_ref();
        let later = Saved { shared: saved().shared + 7, ..saved() };
        files.store_synced(disk, &saved()).expect("written");
        files.store(disk, &later).expect("written");
        assert_eq!(files.load(disk).expect("read"), Some(later));
        std::fs::write(&files.last, b"").expect("what a power cut makes of it");
        assert_eq!(files.load(disk).expect("read"), Some(saved()));
    }

    #[test]
    fn a_file_of_the_first_release_is_read_until_there_is_one_of_our_own() {
        let (_folder, files, world) = folder();
        let disk = world.disk.as_ref();
        let reference = r#"{"epoch":4,"term":3,"since":0,"bound_ns":0,"drift_ppb":0}"#;
        let old = format!(
            r#"{{"boot_id":"b","raw_ns":5,"boottime_ahead_ns":0,"shared":77,"drift":0.0,"epoch":4,"error_bound_ns":9,"drift_bound_ppb":5,"term":3,"reference":{reference}}}"#
        );
        std::fs::write(&files.last, &old).expect("written");
        let read = files.load(disk).expect("read").expect("it is believed");
        assert_eq!((read.shared, read.epoch, read.last_epoch), (77, 4, 0));
        files.store_synced(disk, &saved()).expect("written");
        assert_eq!(files.load(disk).expect("read"), Some(saved()), "77 is later, and not believed");
    }
}
