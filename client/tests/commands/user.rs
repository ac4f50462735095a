//! Somebody who types `jam`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use jam_client::session::slot_path;
use serde_json::Value;

use crate::fake::{CLUSTER_ID, FakeNode};

/// One user's machine: a state folder, and the servers they know.
pub struct User {
    folder: tempfile::TempDir,
    pub servers: String,
}

impl User {
    pub fn of(servers: &[&FakeNode]) -> Self {
        let servers: Vec<String> = servers.iter().map(|node| node.address()).collect();
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            servers: servers.join(","),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `jam` to its end, without holding up the fake's runtime.
    pub async fn jam(&self, args: &[&str]) -> Ran {
        self.jam_within("10", args).await
    }

    pub async fn jam_within(&self, deadline: &str, args: &[&str]) -> Ran {
        Ran::of(self.command(deadline, args)).await
    }

    /// Runs `jam` with some more environment variables.
    pub async fn jam_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Ran {
        let mut command = self.command("10", args);
        command.envs(variables.iter().copied());
        Ran::of(command).await
    }

    /// Starts `jam`, to be killed.
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command("10", args);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("jam starts")
    }

    pub fn command(&self, deadline: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jam"));
        command.env_clear().args([
            "--user",
            "ann",
            "--deadline",
            deadline,
            "--servers",
            &self.servers,
        ]);
        command.env("JAM_JSON", "1").env("JAM_STATE_DIR", self.path().join("state")).args(args);
        command
    }

    pub async fn room(&self) -> String {
        let made = self.jam(&["create", "Friday"]).await;
        made.json()["room"].as_str().expect("a code").to_owned()
    }

    /// The file of this user's first session.
    pub fn slot(&self) -> PathBuf {
        slot_path(&self.path().join("state"), &CLUSTER_ID, "ann", 0)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }
}

pub struct Ran {
    output: Output,
}

impl Ran {
    pub async fn of(mut command: Command) -> Self {
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("joined")
            .expect("jam runs");
        Self { output }
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn code(&self) -> i32 {
        self.output.status.code().expect("not killed")
    }

    pub fn lines(&self) -> Vec<Value> {
        let out = String::from_utf8_lossy(&self.output.stdout);
        out.lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// The only line.
    pub fn json(&self) -> Value {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:?} {}", String::from_utf8_lossy(&self.output.stderr));
        lines[0].clone()
    }

    pub fn error(&self) -> String {
        let lines = self.lines();
        let code = lines.last().and_then(|line| line["error"]["code"].as_str());
        code.unwrap_or_else(|| panic!("no error in {lines:?}")).to_owned()
    }

    pub fn message(&self) -> String {
        let lines = self.lines();
        let message = lines.last().and_then(|line| line["error"]["message"].as_str());
        message.unwrap_or_else(|| panic!("no error in {lines:?}")).to_owned()
    }
}
