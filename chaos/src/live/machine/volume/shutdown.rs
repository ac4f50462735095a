//! Shuts a mounted ext4 down.
#![expect(unsafe_code, reason = "no library has this ioctl")]

use std::fs::File;
use std::io;

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// EXT4_IOC_SHUTDOWN of the kernel's `fs/ext4/ext4.h`: `_IOR('X', 125, __u32)`.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);

/// What becomes of what was written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum How {
    /// What ext4's journal holds is written to it first: EXT4_GOING_FLAGS_LOGFLUSH.
    KeepLog = 1,
    /// It is lost, as in a power cut: EXT4_GOING_FLAGS_NOLOGFLUSH.
    LoseUnsynced = 2,
}

/// Shuts down the file system that an open file or folder is on. Takes root.
pub(super) fn shut_down(on: &File, how: How) -> io::Result<()> {
    // SAFETY: the kernel reads one u32 from where it is told, which is `how`, and writes nothing. A file system other
    // than ext4 either has the same call (XFS, F2FS) or refuses it.
    unsafe { ioctl(on, Setter::<SHUTDOWN, u32>::new(how as u32)) }.map_err(io::Error::from)
}
