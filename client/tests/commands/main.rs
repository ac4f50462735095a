//! The `jam` program against a node whose answers can be made to go wrong: what it sends, prints and exits with.

mod fake;
mod heard;
mod listening;
mod nodes;
mod outputs;
mod printed;
mod sessions;
mod user;

use fake::{FakeNode, Fault};
use user::User;

#[tokio::test(flavor = "multi_thread")]
async fn an_evening() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let room = user.room().await;
    let (first, second) =
        (user.file("first.mp3", b"song one"), user.file("second.mp3", b"song two"));

    let added = user.jam(&["add", &room, &first, &second]).await;
    let added = added.lines();
    assert_eq!((added[0]["entry"].as_u64(), added[1]["entry"].as_u64()), (Some(1), Some(2)));
    assert_eq!(
        (added[0]["title"].as_str(), added[0]["bytes_sent"].as_u64()),
        (Some("first.mp3"), Some(8))
    );
    let again = user.jam(&["add", &room, &first, "--next"]).await.json();
    assert_eq!(again["bytes_sent"].as_u64(), Some(0), "the cluster has it");
    assert_eq!(node.titles(&room), ["first.mp3", "first.mp3", "second.mp3"]);

    assert_eq!(user.jam(&["play", &room]).await.code(), 0);
    let status = user.jam(&["status", &room]).await.json();
    assert_eq!((status["playing"].as_bool(), status["entry"].as_u64()), (Some(true), Some(1)));
    assert_eq!(status["queue"][0]["added_by"], "ann");
    assert_eq!(user.jam(&["seek", &room, "0:30"]).await.code(), 0);
    assert_eq!(user.jam(&["skip", &room]).await.code(), 0);
    assert_eq!(user.jam(&["skip", &room, "--entry", "1"]).await.error(), "not_current");
    assert_eq!(user.jam(&["move", &room, "99", "--to-end"]).await.error(), "entry_unknown");
    assert_eq!(user.jam(&["back", &room]).await.code(), 0);
    assert_eq!(user.jam(&["pause", &room]).await.code(), 0);
    assert_eq!(user.jam(&["clear", &room]).await.code(), 0);
    assert_eq!(user.jam(&["queue", &room]).await.lines().len(), 1);
    assert_eq!(user.jam(&["rename", &room, "Saturday"]).await.code(), 0);
    let because = user.jam(&["status", &room]).await.json()["silent_because"].clone();
    assert_eq!(because, "paused by ann");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_asked_for_again_and_applied_once() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    node.set_fault(Fault::LoseSome(2));
    let made = user.jam(&["create", "Friday"]).await;
    assert_eq!(made.code(), 0);
    assert_eq!((node.rooms(), node.submits()), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_exits_3_and_the_same_command_again_is_applied_once() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    node.set_fault(Fault::LoseReplies);
    let lost = user.jam_within("1", &["create", "Friday"]).await;
    assert_eq!((lost.code(), lost.error().as_str()), (3, "unknown"));
    // Another command in between neither is held up by it nor makes it forgotten.
    node.set_fault(Fault::None);
    assert_eq!(user.jam(&["create", "Saturday"]).await.code(), 0);
    assert_eq!(node.rooms(), 2);
    let again = user.jam(&["create", "Friday"]).await;
    assert_eq!((again.code(), node.rooms()), (0, 2));
    // Now that it has ended, the same words are a new wish.
    assert_eq!(user.jam(&["create", "Friday"]).await.code(), 0);
    assert_eq!(node.rooms(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_an_edit_is_refused_at_once_and_forgotten() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    node.set_fault(Fault::NoQuorum);
    let refused = user.jam(&["create", "Friday"]).await;
    assert_eq!((refused.code(), refused.error().as_str(), node.submits()), (1, "no_quorum", 1));
    // But what may have been applied before stays unknown.
    node.set_fault(Fault::Unknown);
    assert_eq!(user.jam_within("0.5", &["create", "Sunday"]).await.code(), 3);
    node.set_fault(Fault::NoQuorum);
    assert_eq!(user.jam_within("0.5", &["create", "Sunday"]).await.code(), 3);
    node.set_fault(Fault::None);
    assert_eq!(user.jam(&["create", "Sunday"]).await.code(), 0);
    assert_eq!(node.rooms(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_among_dead_servers_is_enough_and_none_is_no_answer() {
    let node = FakeNode::start().await;
    let mut user = User::of(&[&node]);
    user.servers = format!("127.0.0.1:1,{}", user.servers);
    assert_eq!(user.jam(&["rooms"]).await.code(), 0);
    user.servers = "127.0.0.1:1".into();
    let nobody = user.jam_within("0.3", &["create", "Friday"]).await;
    assert_eq!((nobody.code(), nobody.error().as_str()), (1, "unreachable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_goes_on_where_it_was() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let room = user.room().await;
    let mut bytes = b"song".to_vec();
    bytes.resize(1_000_000, 1);
    let long = user.file("long.flac", &bytes);
    node.break_upload_at(400_000);
    let added = user.jam(&["add", &room, &long]).await.json();
    assert_eq!(node.titles(&room), ["long.flac"]);
    let sent = added["bytes_sent"].as_u64().expect("a number");
    assert!((1_000_000..1_700_000).contains(&sent), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_of_a_song_is_said_once() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let room = user.room().await;
    let (whole, cut) = (user.file("a.mp3", b"song"), user.file("b.mp3", b"song that is cut"));
    for (file, missing_ms) in [(&whole, 0), (&cut, 26), (&cut, 0)] {
        let added = user.jam(&["add", &room, file]).await.json();
        assert_eq!(added["missing_ms"].as_u64(), Some(missing_ms));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_does_not_stop_the_good_ones() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let room = user.room().await;
    let (bad, good) = (user.file("bad.txt", b"text"), user.file("good.mp3", b"song"));
    let added = user.jam(&["add", &room, &bad, &good]).await;
    assert_eq!((added.code(), added.error().as_str()), (1, "some_failed"));
    assert_eq!(added.lines()[0]["error"]["code"], "unsupported_song");
    assert_eq!(node.titles(&room), ["good.mp3"]);
    assert_eq!(user.jam(&["add", &room, &bad]).await.error(), "unsupported_song");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_whose_outcome_got_lost_is_not_queued_twice() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let room = user.room().await;
    let files: Vec<String> =
        (1..=3).map(|n| user.file(&format!("{n}.mp3"), format!("song {n}").as_bytes())).collect();
    let add: Vec<&str> =
        ["add", &room].into_iter().chain(files.iter().map(String::as_str)).collect();
    node.set_fault(Fault::LoseReplies);
    assert_eq!(user.jam_within("0.5", &add).await.code(), 3);
    node.set_fault(Fault::None);
    let entries: Vec<_> =
        user.jam(&add).await.lines().iter().map(|line| line["entry"].as_u64()).collect();
    assert_eq!(entries, [Some(1), Some(2), Some(3)]);
    assert_eq!(node.titles(&room), ["1.mp3", "2.mp3", "3.mp3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_songs_put_next_keep_their_order() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let room = user.room().await;
    let files: Vec<String> =
        (0..4).map(|n| user.file(&format!("{n}.mp3"), format!("song {n}").as_bytes())).collect();
    user.jam(&["add", &room, &files[0], &files[3]]).await;
    assert_eq!(user.jam(&["add", &room, "--next", &files[1], &files[2]]).await.code(), 0);
    assert_eq!(node.titles(&room), ["0.mp3", "1.mp3", "2.mp3", "3.mp3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_do_not_get_into_each_others_way() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    let names: Vec<String> = (0..8).map(|n| format!("room {n}")).collect();
    let all = names.iter().map(|name| async { user.jam(&["create", name]).await.code() });
    assert_eq!(futures_util::future::join_all(all).await, [0; 8]);
    assert_eq!(node.rooms(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_2() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    for wrong in [
        &["status", "not a code"][..],
        &["seek", "ABCD-EFGH-JKMN", "soon"],
        &["move", "ABCD-EFGH-JKMN", "1"],
        &["frobnicate"],
        &["create", ""],
        &["rename", "ABCD-EFGH-JKMN", ""],
        &["join", "ABCD-EFGH-JKMN", "--output", "virtual:x=1"],
    ] {
        let ran = user.jam(wrong).await;
        assert_eq!((ran.code(), ran.error().as_str()), (2, "usage"), "{wrong:?}");
    }
    assert_eq!(user.jam(&["status", "2345-6789-ABCD"]).await.error(), "room_unknown");
    assert_eq!(user.jam(&["cluster", "status"]).await.json()["leader"].as_u64(), Some(1));
}
