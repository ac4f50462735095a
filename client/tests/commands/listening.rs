//! `jam join` at a node that sends the room and has no clock.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::fake::FakeNode;
use crate::user::User;

/// Starts to listen in a new room, by way of a shell that runs `before` first; reads until `event` is told.
async fn listen_until(user: &User, before: &str, event: &'static str) -> (Child, Value) {
    let room = user.room().await;
    let jam = user.command("10", &["join", &room, "--output", "none"]);
    let mut shell = Command::new("/bin/sh");
    let script = format!("{before}; exec \"$0\" \"$@\"");
    shell.env_clear().args(["-c", &script]).arg(jam.get_program()).args(jam.get_args());
    shell.envs(jam.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("JAM_CACHE_DIR", user.path().join("cache"));
    let mut child =
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a shell starts");
    let told = BufReader::new(child.stdout.take().expect("piped"));
    let told = tokio::task::spawn_blocking(move || {
        let lines = told.lines().map(|line| line.expect("UTF-8"));
        let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
        lines.find(|line| line["event"] == event).expect("it is told")
    });
    (child, told.await.expect("joined"))
}

fn end(mut child: Child) {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    assert!(child.wait().expect("it ends").success());
}

/// Whether a process ignores SIGHUP.
fn ignores_hang_up(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("Linux");
    u64::from_str_radix(mask.trim(), 16).expect("a mask") & 1 == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_it_was_started_to_ignore_stays_ignored() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    // The tests themselves may have been started by `nohup`, and a shell can't undo that.
    let inherited = ignores_hang_up(std::process::id());
    for (before, ignored) in [("trap '' HUP", true), ("true", inherited)] {
        let (child, _) = listen_until(&user, before, "room").await;
        assert_eq!(ignores_hang_up(child.id()), ignored, "{before}");
        end(child);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_which_address_does_not_answer() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let (child, told) = listen_until(&user, "true", "unheard").await;
    assert_eq!((&told["why"], &told["has_time"]), (&"nobody".into(), &false.into()));
    assert_eq!(told["silent"][0]["address"], node.address());
    end(child);
}
