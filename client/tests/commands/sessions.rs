//! What becomes of a command when `jam` is killed, or an answer gets lost, and the cluster closes sessions.

use super::fake::{Applied, FakeNode, Fault, Held};
use super::user::{Ran, User};

/// A cluster of two nodes with a room, and somebody who never edited before with a song.
struct Evening {
    node: FakeNode,
    other: FakeNode,
    room: String,
    user: User,
    song: String,
}

impl Evening {
    async fn begin() -> Self {
        let node = FakeNode::start().await;
        let other = node.beside().await;
        let room = User::of(&[&node]).room().await;
        let user = User::of(&[&node]);
        let song = user.file("one.mp3", b"song one");
        Self { node, other, room, user, song }
    }

    fn words(&self) -> [&str; 3] {
        ["add", &self.room, &self.song]
    }

    async fn add(&self) -> Ran {
        self.user.jam(&self.words()).await
    }

    /// Runs `jam add` until the node holds one of its requests, and kills it.
    async fn kill_while_held(&self, held: Held, applied: Applied) {
        self.node.set_fault(Fault::Hold(held, applied));
        let mut jam = self.user.start(&self.words());
        self.node.holds_one().await;
        jam.kill().expect("killed");
        jam.wait().expect("ended");
    }

    fn queued(&self) -> usize {
        self.node.titles(&self.room).len()
    }
}

/// Killed where; the sessions closed since; and then what the next run of the same command line must do: its exit code,
/// and how often the song is queued afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_a_command_is_applied_once_at_most() {
    let table = [
        // Before a session is open nothing was sent.
        (Held::Open, Applied::No, false, 0, 1),
        (Held::Open, Applied::No, true, 0, 1),
        (Held::Open, Applied::Yes, false, 0, 1),
        (Held::Open, Applied::Yes, true, 0, 1),
        (Held::Command, Applied::No, false, 0, 1),
        (Held::Command, Applied::Yes, false, 0, 1),
        // Nobody knows any more whether it was applied, so it is not sent again.
        (Held::Command, Applied::Yes, true, 3, 1),
        (Held::Command, Applied::No, true, 3, 0),
    ];
    for (held, applied, closed, code, queued) in table {
        for elsewhere in [false, true] {
            let what =
                format!("{held:?}, applied: {applied:?}, closed: {closed}, elsewhere: {elsewhere}");
            let mut evening = Evening::begin().await;
            evening.kill_while_held(held, applied).await;
            if closed {
                evening.node.close_sessions();
            }
            if elsewhere {
                evening.user.servers = evening.other.address();
            }
            let again = evening.add().await;
            assert_eq!((again.code(), evening.queued()), (code, queued), "{what}");
            if code == 3 {
                assert_eq!(again.error(), "unknown_session_expired", "{what}");
                assert!(again.message().contains("jam queue"), "{what}: {}", again.message());
            }
            // The command line has ended: the same words are a new wish.
            assert_eq!((evening.add().await.code(), evening.queued()), (0, queued + 1), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_whose_session_is_gone_has_an_unknown_outcome() {
    let evening = Evening::begin().await;
    evening.node.set_fault(Fault::LoseOneAndClose);
    let lost = evening.add().await;
    assert_eq!((lost.code(), evening.queued()), (3, 1));
    assert_eq!(lost.error(), "unknown_session_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_attempt_whose_session_is_gone_is_made_again_in_another_one() {
    let evening = Evening::begin().await;
    // In the first command of a session, and in one that was used before.
    for queued in 1..=2 {
        evening.node.set_fault(Fault::CloseBeforeOne);
        assert_eq!((evening.add().await.code(), evening.queued()), (0, queued));
    }
}

/// An older `jam` wrote a command down before its session was open, so its file says nothing of whether it was sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_jam_wrote_down_is_not_sent_into_a_new_session() {
    let evening = Evening::begin().await;
    evening.kill_while_held(Held::Command, Applied::Yes).await;
    let slot = evening.user.slot();
    let saved = std::fs::read_to_string(&slot).expect("the session is saved");
    let older = saved.replace("\"opened\":true", "\"opened\":false");
    assert_ne!(older, saved);
    std::fs::write(&slot, older).expect("written");
    evening.node.close_sessions();
    assert_eq!((evening.add().await.code(), evening.queued()), (3, 1));
}
