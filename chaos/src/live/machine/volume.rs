//! A disk that can lose its power, fail, fill up and be slow: ext4 in a sparse file on a loop device.

mod shutdown;
mod space;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::geteuid;

use super::journal::{Journal, Leftover, Note};
use super::process::all;
use super::tool::{LOSETUP, MKFS, MOUNT, Needs, UMOUNT};
use super::undo::is_mounted;
use shutdown::{How, shut_down};

const RETRY: Duration = Duration::from_millis(5);

/// The disk. All that it left on the machine goes when it is dropped.
#[derive(Debug)]
pub struct Volume {
    journal: Arc<Journal>,
    mount: PathBuf,
    device: PathBuf,
    /// In the order in which it was done.
    notes: Vec<Note>,
    throttle: Option<Note>,
}

impl Volume {
    /// Makes one of so many bytes (8 MiB or more) and mounts it at `dir/name`; its bytes lie in `dir/name.img`. Takes
    /// root.
    pub fn create(
        dir: &Path,
        name: &str,
        bytes: u64,
        journal: &Arc<Journal>,
    ) -> anyhow::Result<Self> {
        ensure!(geteuid().is_root(), Needs::Root);
        // As the kernel names mounts.
        let dir = fs::canonicalize(dir).with_context(|| format!("no folder {}", dir.display()))?;
        let image = dir.join(format!("{name}.img"));
        let mut volume = Self {
            journal: journal.clone(),
            mount: dir.join(name),
            device: PathBuf::new(),
            notes: Vec::new(),
            throttle: None,
        };
        volume.note(Leftover::File(image.clone()))?;
        File::create_new(&image)
            .and_then(|file| file.set_len(bytes))
            .with_context(|| format!("can't make {}", image.display()))?;
        // Nothing reserved for root; nothing left for the kernel to initialise in the background.
        let options = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        MKFS.run(MKFS.command().args(options).arg(&image))?;
        volume.note(Leftover::Folder(volume.mount.clone()))?;
        fs::create_dir(&volume.mount)
            .with_context(|| format!("can't make {}", volume.mount.display()))?;
        volume.note(Leftover::Loop(image.clone()))?;
        let attach = LOSETUP.run(LOSETUP.command().args(["--find", "--show"]).arg(&image));
        volume.device = PathBuf::from(attach.context("no loop device to be had here")?);
        volume.note(Leftover::Mount(volume.mount.clone()))?;
        volume.mount()?;
        let data = volume.path();
        fs::create_dir(&data)
            .and_then(|()| File::open(&volume.mount)?.sync_all())
            .with_context(|| format!("can't make {}", data.display()))?;
        Ok(volume)
    }

    /// The folder for a node's data. Beside it lies what only the disk knows of.
    pub fn path(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Cuts the power, now: what was not synced is gone, and every access fails with EIO, until
    /// [`Self::remount`]. For processes to be killed afterwards, so that their last writes are lost as well.
    pub fn cut_power(&self) -> anyhow::Result<()> {
        self.shut_down(How::LoseUnsynced)
    }

    /// Has the disk fail, now: what was written is kept as far as it can be, and every access fails with EIO, until
    /// [`Self::remount`].
    pub fn fail(&self) -> anyhow::Result<()> {
        self.shut_down(How::KeepLog)
    }

    /// Has it work again after [`Self::cut_power`] or [`Self::fail`]; ext4 replays its journal as it does when a
    /// machine starts. No process may have files open there; the error names those that still do after so long.
    pub fn remount(&self, patience: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while is_mounted(&self.mount)? {
            let Err(error) = UMOUNT.run(UMOUNT.command().arg(&self.mount)) else { continue };
            if begun.elapsed() > patience {
                let holders = holders(&self.mount);
                return Err(error.context(format!("end these processes first: {holders:?}")));
            }
            std::thread::sleep(RETRY);
        }
        self.mount()?;
        let data = self.path();
        fs::read_dir(&data).map(drop).with_context(|| format!("{} is gone", data.display()))
    }

    /// Lets through so many writes a second of this process' control group, in which its children are; a sync takes
    /// about two. As slow as a busy network disk: 20.
    pub fn slow(&mut self, writes_per_s: u64) -> anyhow::Result<()> {
        self.full_speed()?;
        let file = throttle().ok_or(Needs::Blkio)?;
        let number = fs::metadata(&self.device)?.rdev();
        let device = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        let told = format!("{device} {writes_per_s}");
        let left = Leftover::Throttle { file: file.clone(), device, limit: writes_per_s };
        self.throttle = Some(self.journal.note(left)?);
        fs::write(&file, &told).with_context(|| format!("can't slow {}", self.device.display()))?;
        let limits = fs::read_to_string(&file)?;
        ensure!(
            limits.lines().any(|limit| limit == told),
            "the kernel did not take the limit {told}"
        );
        Ok(())
    }

    /// Ends [`Self::slow`].
    pub fn full_speed(&mut self) -> anyhow::Result<()> {
        if let Some(note) = &self.throttle {
            self.journal.undo(note)?;
        }
        self.throttle = None;
        Ok(())
    }

    /// Unmounts it, if need be while processes still have files open there, and removes all of it.
    pub fn remove(mut self) -> anyhow::Result<()> {
        self.clean_up()
    }

    fn clean_up(&mut self) -> anyhow::Result<()> {
        self.full_speed()?;
        while let Some(note) = self.notes.last() {
            self.journal.undo(note)?;
            self.notes.pop();
        }
        Ok(())
    }

    fn note(&mut self, left: Leftover) -> anyhow::Result<()> {
        self.notes.push(self.journal.note(left)?);
        Ok(())
    }

    fn mount(&self) -> anyhow::Result<()> {
        let mut command = MOUNT.command();
        MOUNT.run(command.args(["-t", "ext4"]).arg(&self.device).arg(&self.mount)).map(drop)
    }

    fn shut_down(&self, how: How) -> anyhow::Result<()> {
        let name = self.mount.display();
        let root = File::open(&self.mount).with_context(|| format!("can't open {name}"))?;
        shut_down(&root, how).with_context(|| format!("can't shut down {name}"))?;
        match File::create(self.mount.join("probe")) {
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("{name} fails, but not with EIO")),
            Ok(_) => bail!("{name} still takes writes after it was shut down"),
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if let Err(error) = self.clean_up() {
            let name = self.mount.display();
            tracing::warn!("{name} was not cleaned up; its journal still has it: {error:#}");
        }
    }
}

/// Where cgroup v1 is told how many writes a second each device lets through for the group of this process.
fn throttle() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == "blkio").then_some(group)
    })?;
    let folder = Path::new("/sys/fs/cgroup/blkio").join(group.trim_start_matches('/'));
    Some(folder.join("blkio.throttle.write_iops_device")).filter(|file| file.exists())
}

/// The processes that have something open below a folder, as far as that can be seen.
fn holders(folder: &Path) -> Vec<u32> {
    let below = |link: PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(folder));
    let holds = |pid: &u32| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        ["cwd", "root", "exe"].iter().any(|name| below(process.join(name)))
            || open.into_iter().any(|open| below(open.path()))
    };
    let mut holders: Vec<u32> = all().into_iter().filter(holds).collect();
    holders.sort_unstable();
    holders
}
