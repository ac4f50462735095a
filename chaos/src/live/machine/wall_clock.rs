//! A wall clock that jumps, by libfaketime.
//!
//! It replaces libc's clock calls in processes that were started for it. Only CLOCK_REALTIME moves:
//! `DONT_FAKE_MONOTONIC` leaves CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW and CLOCK_BOOTTIME alone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use super::journal::{Journal, Leftover, MARK, Note};
use super::tool::Needs;

/// For programs with threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The wall clock of the processes that were started with its [`WallClock::environment`].
#[derive(Debug)]
pub struct WallClock {
    journal: Arc<Journal>,
    library: PathBuf,
    file: PathBuf,
    ahead_s: f64,
    note: Option<Note>,
}

impl WallClock {
    /// One that is right as yet; by how much it is off is kept in `file`. To be dropped when its processes have
    /// ended.
    pub fn create(file: &Path, journal: &Arc<Journal>) -> anyhow::Result<Self> {
        let library = library().ok_or(Needs::Package { what: LIBRARY, package: "libfaketime" })?;
        let since_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let note = Some(journal.note(Leftover::FakedTime { since_s })?);
        let file = std::path::absolute(file)?;
        let mut clock = Self { journal: journal.clone(), library, file, ahead_s: 0.0, note };
        clock.set(0.0)?;
        Ok(clock)
    }

    /// What a process must be started with.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.clone().into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            // The file is read at each look at the clock.
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone().into()),
            (MARK, self.journal.mark().into()),
        ]
    }

    /// By how much it is ahead of the machine's, in seconds.
    pub fn ahead_s(&self) -> f64 {
        self.ahead_s
    }

    /// Puts it ahead of the machine's by so many seconds, or behind. In effect at once.
    pub fn set(&mut self, ahead_s: f64) -> anyhow::Result<()> {
        let beside = self.file.with_extension("new");
        // Renamed, so that nobody reads half of it.
        File::create(&beside)
            .and_then(|mut file| write!(file, "{ahead_s:+.6}"))
            .and_then(|()| fs::rename(&beside, &self.file))
            .with_context(|| format!("can't set the clock in {}", self.file.display()))?;
        self.ahead_s = ahead_s;
        Ok(())
    }

    /// Moves it forward by so many seconds, or back.
    pub fn jump(&mut self, by_s: f64) -> anyhow::Result<()> {
        self.set(self.ahead_s + by_s)
    }

    /// Moves it by so many seconds and back again, so many times, with a pause after each move. Blocks as long.
    pub fn strobe(&mut self, by_s: f64, times: u32, pause: Duration) -> anyhow::Result<()> {
        for _ in 0..times {
            for move_s in [by_s, -by_s] {
                self.jump(move_s)?;
                std::thread::sleep(pause);
            }
        }
        Ok(())
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.note.take().map(|note| self.journal.undo(&note)) {
            tracing::warn!("libfaketime's files stay in /dev/shm: {error:#}");
        }
    }
}

/// Where Debian and its kin, Fedora and Arch have libfaketime.
fn library() -> Option<PathBuf> {
    let arch = std::env::consts::ARCH;
    let folders = [
        format!("/usr/lib/{arch}-linux-gnu"),
        "/usr/lib/arm-linux-gnueabihf".to_owned(),
        "/usr/lib64".to_owned(),
        "/usr/lib".to_owned(),
        "/usr/local/lib".to_owned(),
    ];
    folders.iter().map(|folder| Path::new(folder).join(LIBRARY)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use anyhow::ensure;
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    const DAY_S: f64 = 86_400.0;

    /// CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW and CLOCK_BOOTTIME as another program reads them from
    /// libc, in seconds.
    fn read_by_child(clock: &WallClock) -> anyhow::Result<[f64; 4]> {
        let program = "import time as t; print(*(t.clock_gettime(c) for c in (t.CLOCK_REALTIME, \
            t.CLOCK_MONOTONIC, t.CLOCK_MONOTONIC_RAW, t.CLOCK_BOOTTIME)))";
        let output =
            Command::new("python3").args(["-c", program]).envs(clock.environment()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let read: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        read.try_into().map_err(|read| anyhow::anyhow!("4 clocks, not {read:?}"))
    }

    fn read_here() -> [f64; 4] {
        let clocks =
            [ClockId::Realtime, ClockId::Monotonic, ClockId::MonotonicRaw, ClockId::Boottime];
        clocks.map(|clock| {
            let time = clock_gettime(clock);
            time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
        })
    }

    #[test]
    fn the_wall_clock_jumps_and_no_other_clock_does() -> anyhow::Result<()> {
        if library().is_none() || Command::new("python3").arg("-V").output().is_err() {
            println!("skipped: takes libfaketime and python3");
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        let journal = Journal::begin(&folder.path().join("active"))?;
        let mut clock = WallClock::create(&folder.path().join("clock"), &journal)?;
        for (jump_s, ahead_s) in [(0.0, 0.0), (DAY_S, DAY_S), (-3.0 * DAY_S, -2.0 * DAY_S)] {
            clock.jump(jump_s)?;
            let before = read_here();
            let there = read_by_child(&clock)?;
            let after = read_here();
            for (place, read_s) in there.iter().enumerate() {
                let real_s = if place == 0 { read_s - ahead_s } else { *read_s };
                // Within the time that the look took; what was set has microseconds.
                let possible = before[place] - 1e-5..=after[place] + 1e-5;
                assert!(possible.contains(&real_s), "clock {place}: {real_s} not in {possible:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_strobe_ends_where_it_began() -> anyhow::Result<()> {
        if library().is_none() {
            println!("skipped: takes libfaketime");
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        let journal = Journal::begin(&folder.path().join("active"))?;
        let mut clock = WallClock::create(&folder.path().join("clock"), &journal)?;
        clock.jump(5.0)?;
        clock.strobe(0.25, 3, Duration::ZERO)?;
        assert_eq!(clock.ahead_s(), 5.0);
        assert_eq!(fs::read_to_string(folder.path().join("clock"))?, "+5.000000");
        Ok(())
    }
}
