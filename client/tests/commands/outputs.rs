//! A machine without a sound card, made of an ALSA configuration that has none.

use crate::fake::FakeNode;
use crate::user::User;

/// What a machine lists that has ALSA's library and no card: its null device, here under two names, and a default that
/// leads to it.
const NO_CARD: &str = r#"
pcm.null { type null hint { show on description "Discard all samples" } }
pcm.quiet { type plug slave.pcm null hint { show on description "The same" } }
pcm.!default { type plug slave.pcm null }
"#;
/// Where the default leads to a card that is not there.
const LOST_CARD: &str = "pcm.!default { type hw card 9 }";

async fn join(user: &User, config: &str, output: &str) -> (i32, String, String) {
    let room = user.room().await;
    let path = user.file("asound.conf", config.as_bytes());
    let cache = user.path().join("cache");
    let variables =
        [("ALSA_CONFIG_PATH", &*path), ("JAM_CACHE_DIR", cache.to_str().expect("UTF-8"))];
    let ran = user.jam_with(&variables, &["join", &room, "--output", output, "--for", "1"]).await;
    (ran.code(), ran.message(), ran.stderr())
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_nobody_can_hear_are_not_listed() {
    let user = User::of(&[]);
    for config in [NO_CARD, LOST_CARD] {
        let path = user.file("asound.conf", config.as_bytes());
        let ran = user.jam_with(&[("ALSA_CONFIG_PATH", &path)], &["outputs"]).await;
        assert_eq!((ran.code(), ran.lines().len()), (0, 0), "{:?}", ran.lines());
        assert_eq!(ran.stderr(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_without_a_card_is_told_what_plays_without_one() {
    let node = FakeNode::start().await;
    let user = User::of(&[&node]);
    for config in [NO_CARD, LOST_CARD] {
        let (code, message, stderr) = join(&user, config, "default").await;
        assert_eq!((code, &*stderr), (1, ""), "{message}");
        assert_eq!(message, "there is no sound card; `--output virtual` plays without one");
    }
    let (code, message, _) = join(&user, NO_CARD, "alsa:null").await;
    assert_eq!(code, 1);
    assert!(message.contains("there is no output 'alsa:null'"), "{message}");
}
