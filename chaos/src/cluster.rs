//! A real cluster and real listeners: processes of their own, on 127.0.0.1, in one temporary folder.
//!
//! Everything is done the way people do it, through `jamd` and `jam`. What is still running when a
//! cluster is dropped is killed.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take before it counts as never going to happen. Far longer than it ever takes:
/// machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The exit code of `jam` if the outcome is not known.
const UNKNOWN: i32 = 3;

/// Nodes on this machine.
pub struct Cluster {
    dir: PathBuf,
    bin: PathBuf,
    ports: Vec<u16>,
    flags: Vec<String>,
    nodes: Vec<Option<Child>>,
}

impl Cluster {
    /// Starts `count` nodes that keep their data below `dir`, and waits until they have a leader.
    pub fn start(dir: &Path, count: usize) -> anyhow::Result<Self> {
        Self::start_with(dir, count, &[])
    }

    /// The same, with more flags for each `jamd`.
    pub fn start_with(dir: &Path, count: usize, flags: &[&str]) -> anyhow::Result<Self> {
        let bin = binaries()?;
        // Held until all are known, so that no two get the same.
        let held: Vec<TcpListener> =
            (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
        let ports =
            held.iter().map(|held| Ok(held.local_addr()?.port())).collect::<io::Result<_>>()?;
        drop(held);
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let nodes = (0..count).map(|_| None).collect();
        let mut cluster = Self { dir: dir.to_owned(), bin, ports, flags, nodes };
        for node in 1..=count {
            cluster.start_node(node)?;
        }
        cluster.wait_for_leader()?;
        Ok(cluster)
    }

    /// Starts a node (counted from 1) that is down.
    pub fn start_node(&mut self, node: usize) -> anyhow::Result<()> {
        let peers: Vec<String> =
            (1..=self.ports.len()).map(|n| format!("{n}={}", self.address(n))).collect();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join(format!("node{node}.log")))?;
        let child = Command::new(self.bin.join("jamd"))
            .args([
                "--id",
                &node.to_string(),
                "--listen",
                &self.address(node),
                "--peers",
                &peers.join(","),
            ])
            .arg("--data")
            .arg(self.dir.join(format!("node{node}")))
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("can't start jamd")?;
        self.nodes[node - 1] = Some(child);
        Ok(())
    }

    /// SIGKILL, as a crash would.
    pub fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        let mut child = self.nodes[node - 1].take().context("the node is down already")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = usize> {
        (1..=self.nodes.len()).filter(|node| self.nodes[node - 1].is_some())
    }

    /// The process ids of the nodes that run.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.nodes.iter().flatten().map(Child::id)
    }

    /// The servers, as `--servers` takes them.
    pub fn servers(&self) -> String {
        let all: Vec<String> = (1..=self.ports.len()).map(|node| self.address(node)).collect();
        all.join(",")
    }

    /// Where a node listens.
    pub fn address(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.ports[node - 1])
    }

    /// Waits until every node answers and has applied what the leader has.
    pub fn wait_for_all(&self) -> anyhow::Result<()> {
        wait_until("all nodes to be up to date", || {
            let status = self.status()?;
            let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
            let applied = |node: &Value| node["applied"].as_u64();
            let level = nodes
                .iter()
                .all(|node| node["alive"] == true && applied(node) == applied(&nodes[0]));
            Ok((level && nodes.len() == self.ports.len()).then_some(()))
        })
    }

    /// What `jam cluster status` says; null if nobody answers.
    fn status(&self) -> anyhow::Result<Value> {
        let output = self.command("host").args(["--json", "cluster", "status"]).output()?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// Fails if a node has ended by itself, with what it logged last.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        for node in 1..=self.nodes.len() {
            let ended = self.nodes[node - 1].as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                let log = fs::read_to_string(self.dir.join(format!("node{node}.log")))
                    .unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                bail!("node {node} ended with {status}: {last:?}");
            }
        }
        Ok(())
    }

    /// The node that leads, as soon as one of those that run does.
    pub fn wait_for_leader(&mut self) -> anyhow::Result<usize> {
        wait_until("a leader", || {
            self.check_running()?;
            let leader = self.status()?["leader"].as_u64().unwrap_or(0) as usize;
            // Until a new one is elected, nodes still name the one that is gone.
            Ok((1..=self.nodes.len())
                .contains(&leader)
                .then_some(leader)
                .filter(|n| self.nodes[n - 1].is_some()))
        })
    }

    /// Runs `jam` as user `host`; answers the last JSON line it printed. Repeats it as people would: while
    /// there is no majority nothing was changed, and what is unknown is applied at most once.
    pub fn jam(&self, args: &[&str]) -> anyhow::Result<Value> {
        wait_until(&format!("jam {args:?} to be acknowledged"), || {
            let output =
                self.command("host").arg("--json").args(args).stdin(Stdio::null()).output()?;
            let (out, err) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let last = serde_json::from_str(out.lines().last().unwrap_or("null"))
                .with_context(|| format!("jam {args:?} printed no JSON: {out}{err}"))?;
            if output.status.success() {
                return Ok(Some(last));
            }
            let is_refused = |code| out.contains(&format!(r#""code":"{code}""#));
            let later = is_refused("no_quorum")
                || is_refused("no_leader")
                || output.status.code() == Some(UNKNOWN);
            ensure!(later, "jam {args:?} ended with {}: {out}{err}", output.status);
            Ok(None)
        })
    }

    /// Somebody who joins `room`, on a sound card in software that is `drift_ppm` off.
    pub fn listen(&self, user: &str, room: &str, drift_ppm: i32) -> anyhow::Result<Listener> {
        let wav = self.dir.join(format!("{user}.wav"));
        let output = format!("virtual:drift={drift_ppm},wav={}", wav.display());
        self.join(user, room, &output, true)
    }

    /// Somebody who joins `room` and leaves neither a recording nor a trace.
    pub fn listen_unrecorded(&self, user: &str, room: &str) -> anyhow::Result<Listener> {
        self.join(user, room, "virtual", false)
    }

    fn join(&self, user: &str, room: &str, output: &str, traced: bool) -> anyhow::Result<Listener> {
        let wav = self.dir.join(format!("{user}.wav"));
        let trace = self.dir.join(format!("{user}.wav.trace"));
        let mut command = self.command(user);
        command.args(["join", room, "--headless", "--output", output]);
        if traced {
            command.arg("--trace").arg(&trace);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(self.dir.join(format!("{user}.log")))?)
            .stderr(File::create(self.dir.join(format!("{user}.err")))?)
            .spawn()
            .context("can't start jam")?;
        Ok(Listener { user: user.to_owned(), wav, trace, child })
    }

    fn command(&self, user: &str) -> Command {
        let mut command = Command::new(self.bin.join("jam"));
        command.args(["--servers", &self.servers(), "--user", user, "--deadline", "30"]);
        // Each person has a home of their own.
        command.arg("--state-dir").arg(self.dir.join(user).join("state"));
        command.arg("--cache-dir").arg(self.dir.join(user).join("cache"));
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for mut child in self.nodes.iter_mut().filter_map(Option::take) {
            // It may have ended by itself; either way it is gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A running `jam join`.
pub struct Listener {
    /// Who listens.
    pub user: String,
    /// The recording; its index lies beside it.
    pub wav: PathBuf,
    /// What the player says about itself.
    pub trace: PathBuf,
    child: Child,
}

impl Listener {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last whole line of the trace, if there is one.
    pub fn last_line(&self) -> Option<Value> {
        let text = fs::read_to_string(&self.trace).ok()?;
        let whole = &text[..text.rfind('\n')?];
        serde_json::from_str(whole.lines().last()?).ok()
    }

    /// Waits until the trace's last line is as wanted.
    pub fn wait_for(
        &mut self,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        wait_until(&format!("{} {what}", self.user), || {
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(self.wav.with_extension("err")).unwrap_or_default();
                bail!("{} stopped listening with {status}: {said}", self.user);
            }
            Ok(self.last_line().filter(|line| wanted(line)))
        })
    }

    /// Waits until the listener has played for `secs` from now on.
    pub fn play_on(&mut self, secs: f64) -> anyhow::Result<()> {
        let until = monotonic_ns() + (secs * 1e9) as i64;
        let played =
            |line: &Value| line["state"] == "playing" && line["mono_ns"].as_i64() >= Some(until);
        self.wait_for("playing on", played).map(drop)
    }

    /// Has it leave, as Ctrl-C does, and waits until it has.
    pub fn leave(mut self) -> anyhow::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        wait_until(&format!("{} to leave", self.user), || Ok(self.child.try_wait()?))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until there is something to see, or [`PATIENCE`] is over.
pub fn wait_until<T>(
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// This machine's CLOCK_MONOTONIC.
pub fn monotonic_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// The folder of `jamd` and `jam`: the one of this very executable, or, in tests, the one above.
pub fn binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let here = own.parent().context("an executable lies in a folder")?;
    [Some(here), here.parent()]
        .into_iter()
        .flatten()
        .find(|dir| dir.join("jamd").is_file() && dir.join("jam").is_file())
        .map(Path::to_owned)
        .context("jamd and jam are not built; run: cargo build -p jam-cluster -p jam-client")
}
