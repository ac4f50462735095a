//! Tries out which faults this machine allows, and leaves nothing behind.

use std::fmt::Write;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde::Serialize;
use tempfile::TempDir;

use super::freeze::Frozen;
use super::journal::{self, Journal, MARK};
use super::process::{Process, Victim};
use super::rot;
use super::tool::Needs;
use super::tracer::{Injection, SYNCS, Tampering, Tracer};
use super::volume::Volume;
use super::wall_clock::WallClock;
use crate::seed::Stream;

const VOLUME_BYTES: u64 = 16 << 20;
/// How long a disk that nobody uses may take to be unmounted.
const PATIENCE: Duration = Duration::from_secs(10);
const HOUR_S: f64 = 3600.0;

/// What is known of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name.
    pub fault: &'static str,
    /// Whether this machine allows it.
    pub works: bool,
    /// How it is done here, or why it is not possible.
    pub says: String,
    /// What would make it possible, if anything is known to.
    pub hint: Option<String>,
}

/// Tries every fault on processes and disks made for that.
pub fn examine() -> Vec<Finding> {
    match journal::folder() {
        Ok(folder) => examine_with(&folder),
        Err(error) => vec![finding("all", Err(error))],
    }
}

/// The same, with the journal in such a folder.
fn examine_with(journals: &Path) -> Vec<Finding> {
    let bench = match Bench::new(journals) {
        Ok(bench) => bench,
        Err(error) => return vec![finding("all", Err(error))],
    };
    let volume = || bench.volume();
    let by_strace = |tampering| bench.strace(tampering).map(|()| "by strace".to_owned());
    vec![
        finding("kill", bench.kill()),
        finding("stop", bench.stop()),
        finding("links", links()),
        finding("power", volume().and_then(|volume| power(&volume))),
        finding("disk-full", volume().and_then(|volume| disk_full(&volume))),
        finding(
            "disk-error",
            any([
                volume().and_then(|volume| disk_error(&volume)),
                by_strace(Tampering::Error("EIO")),
            ]),
        ),
        finding(
            "slow-disk",
            any([
                volume().and_then(slow_disk),
                by_strace(Tampering::Delay(Duration::from_millis(1))),
            ]),
        ),
        finding("rot", bench.rot()),
        finding("wall-clock", bench.wall_clock()),
    ]
}

/// As a table for people.
pub fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { fault, works, says, hint } in findings {
        let works = if *works { "yes" } else { "no" };
        // Writing to a string can't fail.
        let _ = writeln!(text, "{fault:<12} {works:<4} {says}");
        if let Some(hint) = hint {
            let _ = writeln!(text, "{:<12} {:<4} -> {hint}", "", "");
        }
    }
    text
}

fn finding(fault: &'static str, tried: anyhow::Result<String>) -> Finding {
    match tried {
        Ok(says) => Finding { fault, works: true, says, hint: None },
        Err(error) => {
            let hint = error.downcast_ref::<Needs>().and_then(Needs::remedy);
            Finding { fault, works: false, says: format!("{error:#}"), hint }
        }
    }
}

/// All ways that work; if none does, why the last one does not.
fn any(ways: [anyhow::Result<String>; 2]) -> anyhow::Result<String> {
    match ways {
        [Ok(one), Ok(other)] => Ok(format!("{one}; {other}")),
        [Ok(one), Err(error)] => Ok(format!("{one} (not otherwise: {error:#})")),
        [Err(error), Ok(other)] => Ok(format!("{other} (not otherwise: {error:#})")),
        [Err(first), Err(second)] => Err(second.context(format!("{first:#}"))),
    }
}

/// Where faults are tried.
struct Bench {
    folder: TempDir,
    journal: Arc<Journal>,
}

impl Bench {
    fn new(journals: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("can't make a temporary folder")?;
        Ok(Self { folder, journal: Journal::begin(journals)? })
    }

    fn volume(&self) -> anyhow::Result<Volume> {
        Volume::create(self.folder.path(), "disk", VOLUME_BYTES, &self.journal)
    }

    fn child(&self, program: &mut Command) -> anyhow::Result<Victim> {
        program.env(MARK, self.journal.mark()).current_dir(self.folder.path());
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Victim(program.spawn().context("can't start a process to try it on")?))
    }

    fn sleep(&self) -> anyhow::Result<Victim> {
        self.child(Command::new("sleep").arg("600"))
    }

    fn kill(&self) -> anyhow::Result<String> {
        let mut victim = self.sleep()?;
        Process::of(victim.0.id())?.signal(Signal::KILL)?;
        let status = victim.0.wait()?;
        ensure!(status.signal() == Some(libc::SIGKILL), "a killed process ended with {status}");
        Ok("SIGKILL".to_owned())
    }

    fn stop(&self) -> anyhow::Result<String> {
        let victim = self.sleep()?;
        Frozen::freeze(&Process::of(victim.0.id())?, &self.journal)?.thaw()?;
        Ok("SIGSTOP, SIGCONT".to_owned())
    }

    fn strace(&self, tampering: Tampering) -> anyhow::Result<()> {
        let victim = self.sleep()?;
        let injection =
            Injection { calls: SYNCS, tampering, one_in: NonZeroU16::MIN, paths: Vec::new() };
        let log = self.folder.path().join("strace.log");
        let process = Process::of(victim.0.id())?;
        Tracer::attach(&process, &injection, &log, &self.journal)?.detach()?;
        ensure!(process.is_there(), "a process did not survive strace");
        Ok(())
    }

    fn rot(&self) -> anyhow::Result<String> {
        let data = self.folder.path().join("node");
        fs::create_dir_all(data.join("raft"))?;
        fs::write(data.join("raft/vote"), [1; 64])?;
        let mut draws = Stream::new(0, "doctor");
        rot::rot(&data, rot::Kind::Vote, rot::How::Flip, &mut draws)?.context("nothing rotted")?;
        Ok("bits flipped in files of nodes that are down".to_owned())
    }

    fn wall_clock(&self) -> anyhow::Result<String> {
        let mut clock = WallClock::create(&self.folder.path().join("clock"), &self.journal)?;
        clock.jump(HOUR_S)?;
        let date = Command::new("date").arg("+%s").envs(clock.environment()).output()?;
        let told: i64 =
            String::from_utf8_lossy(&date.stdout).trim().parse().with_context(|| {
                format!("date told no time: {}", String::from_utf8_lossy(&date.stderr).trim())
            })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
        ensure!(told - now > HOUR_S as i64 / 2, "libfaketime is there, but `date` was not fooled");
        Ok("libfaketime".to_owned())
    }
}

fn links() -> anyhow::Result<String> {
    let bind = || TcpListener::bind("127.0.0.1:0").context("can't listen on 127.0.0.1");
    let (node, proxy) = (bind()?, bind()?);
    for listener in [&node, &proxy] {
        let address = listener.local_addr()?;
        TcpStream::connect(address).with_context(|| format!("can't connect to {address}"))?;
    }
    Ok("a proxy for each link".to_owned())
}

fn power(volume: &Volume) -> anyhow::Result<String> {
    let path = volume.path().join("unsynced");
    fs::write(&path, "lost")?;
    volume.cut_power()?;
    volume.remount(PATIENCE)?;
    ensure!(!path.exists(), "what was not synced survived a power cut");
    Ok("ext4 on a loop device, shut down".to_owned())
}

fn disk_full(volume: &Volume) -> anyhow::Result<String> {
    volume.fill()?;
    let refused = fs::write(volume.path().join("more"), [1; 8192]);
    ensure!(refused.is_err(), "a full disk took more");
    volume.drain()?;
    Ok("ext4 on a loop device, filled".to_owned())
}

fn disk_error(volume: &Volume) -> anyhow::Result<String> {
    volume.fail()?;
    volume.remount(PATIENCE)?;
    Ok("ext4 on a loop device, shut down".to_owned())
}

fn slow_disk(mut volume: Volume) -> anyhow::Result<String> {
    volume.slow(1000)?;
    write_and_sync(&volume.path().join("file"))?;
    volume.full_speed()?;
    Ok("fewer writes a second (cgroup v1)".to_owned())
}

fn write_and_sync(path: &Path) -> anyhow::Result<()> {
    fs::write(path, "slowly")?;
    Ok(File::open(path)?.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_tried_and_explained() -> anyhow::Result<()> {
        let journals = tempfile::tempdir()?;
        let findings = examine_with(journals.path());
        println!("{}", table(&findings));
        let names: Vec<_> = findings.iter().map(|finding| finding.fault).collect();
        let faults =
            ["kill", "stop", "links", "power", "disk-full", "disk-error", "slow-disk", "rot"];
        assert_eq!(names[..8], faults);
        assert_eq!(names[8..], ["wall-clock"]);
        // These take nothing but the right to start processes.
        for fault in ["kill", "stop", "links", "rot"] {
            assert!(findings.iter().any(|finding| finding.fault == fault && finding.works));
        }
        assert!(findings.iter().all(|finding| !finding.says.is_empty()));
        assert_eq!(fs::read_dir(journals.path())?.count(), 0, "all was undone");
        Ok(())
    }

    #[test]
    fn what_is_missing_comes_with_a_remedy() {
        let strace = Needs::Package { what: "strace", package: "strace" };
        let missing = finding("slow-disk", Err(anyhow::Error::from(strace).context("no way")));
        assert_eq!(missing.hint.as_deref(), Some("apt-get install strace"));
        assert!(table(&[missing]).contains("-> apt-get install strace"));
    }
}
