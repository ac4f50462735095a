//! Commands are about the song that their user hears, not about what was announced and is not in force yet.

use crate::fake::FakeNode;
use crate::user::User;

/// A room that plays the first of three songs of a minute, where far listeners have commands take effect 3 s later.
async fn far_away() -> (FakeNode, User, String) {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let room = user.room().await;
    let files = ["one", "two", "three"]
        .map(|name| user.file(&format!("{name}.mp3"), format!("song {name}").as_bytes()));
    let add = ["add", &room, &files[0], &files[1], &files[2]];
    assert_eq!(user.jam(&add).await.code(), 0);
    assert_eq!(user.jam(&["play", &room]).await.code(), 0);
    node.set_lead(3);
    (node, user, room)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_skip_the_song_that_they_hear_skip_one() {
    for paused in [false, true] {
        let (node, user, room) = far_away().await;
        if paused {
            node.set_lead(0);
            assert_eq!(user.jam(&["pause", &room]).await.code(), 0);
            node.set_lead(3);
        }
        assert_eq!(user.jam(&["skip", &room]).await.code(), 0);
        let second = user.jam(&["skip", &room]).await;
        assert!(
            ["already_skipped", "not_current"].contains(&&*second.error()),
            "{}",
            second.error()
        );
        // Once it is in force, the next one can be skipped.
        node.set_lead(0);
        node.pass(3);
        assert_eq!(node.titles(&room), ["two.mp3", "three.mp3"]);
        assert_eq!(user.jam(&["skip", &room]).await.code(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_is_not_about_a_song_that_nobody_hears_yet() {
    let (_node, user, room) = far_away().await;
    assert_eq!(user.jam(&["skip", &room]).await.code(), 0);
    assert_eq!(user.jam(&["seek", &room, "0:30"]).await.error(), "not_current");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_song_that_was_added_just_now_can_be_played() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let room = user.room().await;
    node.set_lead(3);
    let song = user.file("one.mp3", b"song one");
    assert_eq!(user.jam(&["add", &room, &song]).await.code(), 0);
    assert_eq!(user.jam(&["play", &room]).await.code(), 0);
}
