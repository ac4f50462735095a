//! Undoes what a fault left on the machine, if it is there. Doing it twice does no harm.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Signal, geteuid};

use super::journal::{Leftover, MARK};
use super::process::{Process, all};
use super::tool::{LOSETUP, UMOUNT};
use crate::cluster::wait_until;

/// How long strace may take to let go. It takes some milliseconds.
const STRACE_PATIENCE: Duration = Duration::from_secs(5);

/// Undoes it; says what was done, if anything was. `mark` is that of the run that left it.
pub(super) fn undo(left: &Leftover, mark: &str) -> anyhow::Result<Option<String>> {
    match left {
        Leftover::File(path) => removed(path, fs::remove_file(path)),
        Leftover::Folder(path) => removed(path, fs::remove_dir(path)),
        Leftover::Loop(image) => detach(image),
        Leftover::Mount(at) => unmount(at),
        Leftover::Throttle { file, device, limit } => lift(file, device, *limit),
        Leftover::Stopped(process) => resume(process),
        Leftover::Traced(process) => untrace(process, mark),
        Leftover::Started(process) => kill(process),
        Leftover::FakedTime { since_s } => sweep_faked_time(*since_s),
    }
}

/// Kills every process that carries the mark, save this one.
pub(super) fn kill_marked(mark: &str) -> Vec<anyhow::Result<Option<String>>> {
    let marked = all().into_iter().filter(|pid| *pid != std::process::id() && carries(*pid, mark));
    marked.filter_map(|pid| Process::of(pid).ok()).map(|process| kill(&process)).collect()
}

/// Whether a file system is mounted there.
pub(super) fn is_mounted(at: &Path) -> anyhow::Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .context("can't tell what is mounted; is /proc mounted?")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.into_iter().any(|point| Path::new(&unescaped(point)) == at))
}

/// The devices that a file is attached to.
pub(super) fn loop_devices(image: &Path) -> Vec<PathBuf> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let backed = devices.filter(|device| {
        let about = device.path().join("loop");
        let read = |name: &str| fs::read_to_string(about.join(name)).unwrap_or_default();
        let file = read("backing_file");
        // One that lets go by itself as soon as nobody has it open is as good as detached.
        Path::new(file.trim().trim_end_matches(" (deleted)")) == image
            && read("autoclear").trim() != "1"
    });
    backed.map(|device| Path::new("/dev").join(device.file_name())).collect()
}

fn removed(path: &Path, done: io::Result<()>) -> anyhow::Result<Option<String>> {
    match done {
        Ok(()) => Ok(Some(format!("removed {}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't remove {}", path.display())),
    }
}

fn unmount(at: &Path) -> anyhow::Result<Option<String>> {
    let mut did = None;
    while is_mounted(at)? {
        if UMOUNT.run(UMOUNT.command().arg(at)).is_err() {
            // Somebody has files open there. It vanishes for all others, and for good with the last of those.
            UMOUNT.run(UMOUNT.command().arg("--lazy").arg(at))?;
        }
        did = Some(format!("unmounted {}", at.display()));
    }
    Ok(did)
}

fn detach(image: &Path) -> anyhow::Result<Option<String>> {
    let mut did = None;
    for device in loop_devices(image) {
        LOSETUP.run(LOSETUP.command().arg("--detach").arg(&device))?;
        did = Some(format!("detached {} from {}", image.display(), device.display()));
    }
    Ok(did)
}

fn lift(file: &Path, device: &str, limit: u64) -> anyhow::Result<Option<String>> {
    let limits = fs::read_to_string(file).unwrap_or_default();
    if !limits.lines().any(|line| line == format!("{device} {limit}")) {
        return Ok(None);
    }
    fs::write(file, format!("{device} 0"))
        .with_context(|| format!("can't lift the limit of device {device}"))?;
    Ok(Some(format!("lifted the limit of device {device}")))
}

fn resume(process: &Process) -> anyhow::Result<Option<String>> {
    if !process.is_there() || !process.states().contains(&'T') {
        return Ok(None);
    }
    process.signal(Signal::CONT)?;
    wait_until(&format!("process {} to go on", process.pid), || {
        Ok((!process.is_there() || !process.states().contains(&'T')).then_some(()))
    })?;
    Ok(Some(format!("continued process {}", process.pid)))
}

fn untrace(process: &Process, mark: &str) -> anyhow::Result<Option<String>> {
    // A debugger of somebody else is left alone.
    let ours = |process: &Process| {
        process.tracers().into_iter().find(|tracer| *tracer > 0 && carries(*tracer, mark))
    };
    let Some(tracer) = ours(process).filter(|_| process.is_there()) else { return Ok(None) };
    let tracer = Process::of(tracer)?;
    let begun = Instant::now();
    // That is how strace is told to let go of what it traces.
    let mut signal = Signal::INT;
    tracer.signal(signal)?;
    wait_until(&format!("strace to let go of process {}", process.pid), || {
        if !process.is_there() || ours(process).is_none() {
            return Ok(Some(()));
        }
        // It waits for ever for a process that is between vfork and exec: that waits for its child, which
        // strace has stopped. The kernel lets go of all that a tracer which is killed has traced.
        if begun.elapsed() > STRACE_PATIENCE && signal != Signal::KILL && tracer.is_there() {
            signal = Signal::KILL;
            tracer.signal(signal)?;
        }
        Ok(None)
    })?;
    Ok(Some(format!("detached strace from process {}", process.pid)))
}

fn kill(process: &Process) -> anyhow::Result<Option<String>> {
    if !process.is_there() {
        return Ok(None);
    }
    process.signal(Signal::KILL)?;
    wait_until(&format!("process {} to end", process.pid), || {
        Ok((!process.is_there()).then_some(()))
    })?;
    Ok(Some(format!("killed process {}", process.pid)))
}

/// libfaketime makes a semaphore and some shared memory for each process, named by its id, and removes them when that
/// ends by itself.
fn sweep_faked_time(since_s: u64) -> anyhow::Result<Option<String>> {
    let mut swept = 0;
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| {
            let pid = name.strip_prefix("faketime_shm_");
            pid.or_else(|| name.strip_prefix("sem.faketime_sem_"))?.parse::<u32>().ok()
        });
        let (Some(pid), Ok(meta)) = (pid, entry.metadata()) else { continue };
        let own = meta.uid() == geteuid().as_raw() && meta.mtime() >= since_s as i64;
        if own && Process::of(pid).is_err() {
            swept += usize::from(removed(&entry.path(), fs::remove_file(entry.path()))?.is_some());
        }
    }
    Ok((swept > 0).then(|| format!("removed {swept} files of libfaketime from /dev/shm")))
}

/// Whether a process was started by the run of this mark.
fn carries(pid: u32, mark: &str) -> bool {
    let wanted = format!("{MARK}={mark}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

/// A path as mountinfo writes it: blanks, tabs, line ends and backslashes in octal.
fn unescaped(point: &str) -> String {
    let octal = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    octal.iter().fold(point.to_owned(), |text, (code, plain)| text.replace(code, plain))
}
