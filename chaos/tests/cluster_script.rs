//! `scripts/cluster`, as people and other scripts use it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// A folder for a cluster, with ports of its own. What runs in it is stopped at the end.
struct Place {
    folder: tempfile::TempDir,
    base_port: u16,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), base_port: free_ports() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("cluster").join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the workspace");
        let mut command = Command::new(top.join("scripts/cluster"));
        command.args(args).arg("--dir").arg(self.folder.path().join("cluster"));
        let bin = Path::new(env!("CARGO_BIN_EXE_jam-chaos")).parent().expect("in a folder");
        command.env("JAM_BIN", bin).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("it runs")
    }

    fn up(&self) -> Command {
        self.command(&["up", "--base-port", &self.base_port.to_string()])
    }

    /// The processes of this place's nodes.
    fn nodes(&self) -> Vec<u32> {
        let data = self.path("node").into_os_string().into_string().expect("UTF-8");
        let processes = fs::read_dir("/proc").expect("Linux").flatten();
        let ids = processes.filter_map(|one| one.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"jamd"))
                && words.any(|word| word.starts_with(data.as_bytes()))
        })
        .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.run(&["wipe"]);
    }
}

/// A base port with nine free ones above it, each time another one.
fn free_ports() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = 20_000 + (std::process::id() % 1000) as u16 * 10;
    loop {
        let base = first + 10 * TAKEN.fetch_add(1, Ordering::Relaxed);
        if (base + 1..base + 10).all(is_free) {
            return base;
        }
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn two_that_start_it_at_once_get_one_cluster_and_lost_pid_files_lose_no_node() {
    let place = Place::new();
    let both: Vec<Child> = (0..2)
        .map(|_| {
            place.up().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    let servers: Vec<String> = both
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{}", stderr(&output));
            stdout(&output).lines().last().expect("the servers").to_owned()
        })
        .collect();
    assert!(servers[0].starts_with("servers: 127.0.0.1:"), "{servers:?}");
    assert_eq!(servers[0], servers[1]);
    assert_eq!(place.nodes().len(), 3);

    fs::write(place.path("node1.pid"), "").expect("emptied");
    fs::remove_file(place.path("node2.pid")).expect("removed");
    assert!(place.up().output().expect("it runs").status.success());
    assert_eq!(place.nodes().len(), 3, "nodes that run are not started again");
    for (args, flag) in
        [(["up", "--nodes", "5"], "--nodes"), (["up", "--base-port", "7700"], "--base-port")]
    {
        let refused = place.run(&args);
        assert!(
            !refused.status.success() && stderr(&refused).contains(flag),
            "{}",
            stderr(&refused)
        );
    }

    assert!(place.run(&["kill", "leader"]).status.success());
    assert_eq!(place.nodes().len(), 2);
    assert!(place.run(&["wipe"]).status.success());
    assert_eq!(place.nodes(), []);
    assert!(!place.folder.path().join("cluster").exists());
}

#[test]
fn a_start_that_fails_leaves_nothing_running() {
    let place = Place::new();
    fs::create_dir_all(place.path("")).expect("made");
    // No node can keep its data there.
    fs::write(place.path("node3"), "a file").expect("written");
    let failed = place.up().output().expect("it runs");
    assert!(!failed.status.success());
    assert!(stderr(&failed).contains("node 3 ended"), "{}", stderr(&failed));
    assert_eq!(place.nodes(), []);
    // And nothing but that file is in the way of another try.
    fs::remove_file(place.path("node3")).expect("what was there before stays");
    let again = place.run(&["up", "--base-port", &free_ports().to_string()]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(place.nodes().len(), 3);
}
