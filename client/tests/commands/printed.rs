//! What becomes of results that can't be written.

use std::fs::OpenOptions;
use std::process::Stdio;

use crate::fake::FakeNode;
use crate::user::{Ran, User};

/// A file that takes nothing, as on a disk that is full.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_can_t_be_written_is_a_failure() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let room = user.room().await;
    for (args, code) in [(&["rooms"][..], 1), (&["status", &room], 1), (&["create", "Attic"], 4)] {
        let mut command = user.command("10", args);
        let mut child = command.stdout(full()).stderr(Stdio::piped()).spawn().expect("jam starts");
        let status = tokio::task::spawn_blocking(move || {
            let status = child.wait().expect("it ends");
            let mut said = String::new();
            let mut stderr = child.stderr.take().expect("piped");
            std::io::Read::read_to_string(&mut stderr, &mut said).expect("UTF-8");
            (status.code(), said)
        });
        let (ended, said) = status.await.expect("joined");
        assert_eq!(ended, Some(code), "{args:?}: {said}");
        assert!(said.contains("standard output can't be written"), "{said}");
    }
    assert_eq!(node.rooms(), 2, "the room was made all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_can_t_be_written_leave_the_exit_code() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let missing = "2345-6789-ABCD";
    let mut command = user.command("10", &["status", missing]);
    command.stdout(full()).stderr(full());
    let status = tokio::task::spawn_blocking(move || command.status()).await.expect("joined");
    assert_eq!(status.expect("jam runs").code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_is_no_failure() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    user.room().await;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = user.command("10", &["rooms"]);
    command.stdout(Stdio::from(writer));
    let status = tokio::task::spawn_blocking(move || command.status()).await.expect("joined");
    assert_eq!(status.expect("jam runs").code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_variables_count_as_unset() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let names = [
        "JAM_TOKEN_FILE",
        "JAM_DEADLINE",
        "JAM_CONNECT_TO",
        "JAM_CACHE_DIR",
        "JAM_ENTRY",
        "JAM_VOLUME",
        "JAM_FOR",
        "JAM_OUTPUT",
    ];
    let empty: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
    assert_eq!(user.jam_with(&empty, &["rooms"]).await.code(), 0);
    let room = user.room().await;
    assert_eq!(user.jam_with(&empty, &["skip", &room]).await.error(), "not_current");
    let mut command = user.command("10", &["rooms"]);
    command.env("JAM_SERVERS", "");
    assert_eq!(Ran::of(command).await.code(), 0);
}
