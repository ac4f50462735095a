//! The room on a disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};
use rustix::io::Errno;

use super::Volume;
use crate::cluster::wait_until;

impl Volume {
    /// Takes all the room there is; writes that need more then fail with ENOSPC. To be called again if room
    /// that was freed since is to be taken, too.
    pub fn fill(&self) -> anyhow::Result<()> {
        let path = self.filler();
        let filler = || format!("can't fill {}", self.mount.display());
        let mut file =
            File::options().create(true).append(true).open(&path).with_context(filler)?;
        // Bytes that are reserved need not be written. What is left then is too scattered, and is taken by writing.
        let mut step = self.free_bytes()?;
        while step >= 4096 {
            match fallocate(&file, FallocateFlags::empty(), file.metadata()?.len(), step) {
                Ok(()) => step = step.min(self.free_bytes()?),
                Err(Errno::NOSPC) => step /= 2,
                Err(error) => return Err(error).with_context(filler),
            }
        }
        loop {
            match file.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error).with_context(filler),
            }
        }
        file.sync_all().with_context(filler)?;
        let free = self.free_bytes()?;
        ensure!(free < 4096, "{} still has {free} bytes free", self.mount.display());
        Ok(())
    }

    /// Gives back what [`Self::fill`] took. The filler may be gone already.
    pub fn drain(&self) -> anyhow::Result<()> {
        let path = self.filler();
        let taken = match fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(error).with_context(|| format!("can't find {}", path.display()));
            }
        };
        fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display()))?;
        // Room that was freed can be used once the change is in ext4's journal.
        syncfs(File::open(&self.mount)?).context("can't sync the disk that was drained")?;
        wait_until("room on the disk that was drained", || {
            Ok((taken == 0 || self.free_bytes()? > 0).then_some(()))
        })
    }

    /// Bytes that are free.
    pub fn free_bytes(&self) -> anyhow::Result<u64> {
        let room = statvfs(&self.mount)
            .with_context(|| format!("can't tell the room on {}", self.mount.display()))?;
        Ok(room.f_bavail * room.f_frsize)
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }
}
