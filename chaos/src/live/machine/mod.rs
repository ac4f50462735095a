//! Faults of machines, done to real processes and real disks.
//!
//! | fault | how | needs |
//! | --- | --- | --- |
//! | power cut, disk error, full disk | [`volume`]: ext4 on a loop device | root |
//! | slow disk | [`volume`]: a limit of writes a second; or [`tracer`] | root and cgroup v1; or strace |
//! | failed or slow system calls | [`tracer`]: strace, attached and detached at run time | strace |
//! | a process that stands still | [`freeze`]: SIGSTOP | |
//! | a wall clock that jumps | [`wall_clock`]: libfaketime | libfaketime |
//! | bits that flip, files that end too soon | [`rot`] | |
//! | a saved clock that is lost, damaged or wrong | [`clock_file`] | |
//!
//! Each is set up, injected, waited for until it is in effect, healed, waited for until that is in effect, and
//! cleaned up. All calls block. What would be left behind on the machine is written into a [`journal`]
//! before it is done, so that [`tidy`] can undo it after the runner has ended in whatever way. [`doctor`] tries out
//! what a machine allows.

pub mod clock_file;
pub mod doctor;
pub mod freeze;
pub mod journal;
pub mod process;
pub mod rot;
pub mod tidy;
pub mod tool;
pub mod tracer;
mod undo;
pub mod volume;
pub mod wall_clock;
