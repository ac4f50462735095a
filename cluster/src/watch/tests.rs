use super::*;
use jam_proto::event::EventKind;
use jam_proto::time::SharedTime;
use prost::Message;

fn code(bits: u64) -> RoomCode {
    RoomCode::from_random(bits)
}

fn event(revision: u64) -> Event {
    Event {
        revision: Revision(revision),
        stamp: SharedTime(0),
        effective_at: SharedTime(0),
        by: String::new(),
        kind: EventKind::Played,
    }
}

/// One log entry that made `count` events in a room.
fn apply(hub: &WatchHub, index: u64, room: u64, first: u64, count: u64) {
    let events = (first..first + count).map(event).collect();
    hub.applied(index, &[(code(room), events)], &Shard::default());
}

fn lasts(next: Next) -> Vec<u64> {
    match next {
        Next::Batches(batches) => batches.iter().map(|batch| batch.last).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn resumes_after_any_entry_that_is_kept() {
    let hub = Arc::new(WatchHub::default());
    apply(&hub, 1, 1, 1, 1);
    apply(&hub, 2, 1, 2, 2);
    apply(&hub, 3, 1, 4, 1);
    let mut watcher = hub.subscribe(&code(1), Revision(4));
    assert_eq!(lasts(watcher.next(0, 9)), [1, 3, 4]);
    assert_eq!(lasts(watcher.next(1, 9)), [3, 4]);
    assert_eq!(lasts(watcher.next(1, 1)), [3]);
    assert_eq!(watcher.next(2, 9), Next::Missed, "an entry's events come together");
    assert_eq!(watcher.next(4, 9), Next::UpToDate { applied: 3 });
    assert_eq!(watcher.next(5, 9), Next::Ahead);
}

#[test]
fn watchers_are_told_how_far_the_node_is() {
    let hub = Arc::new(WatchHub::default());
    apply(&hub, 7, 1, 1, 2);
    let mut watcher = hub.subscribe(&code(1), Revision(2));
    let Next::Batches(batches) = watcher.next(0, 9) else { panic!("there is one") };
    let message = v1::WatchMessage::decode(batches[0].message.slice(5..)).expect("a message");
    let Some(Kind::Events(events)) = message.kind else { panic!("events") };
    assert_eq!((events.events.len(), events.index), (2, 7));
    apply(&hub, 8, 2, 1, 1);
    assert_eq!(watcher.next(2, 9), Next::UpToDate { applied: 8 });
    // A leader's first entry holds nothing, and counts.
    hub.passed(9);
    assert_eq!(watcher.next(2, 9), Next::UpToDate { applied: 9 });
}

#[tokio::test]
async fn wakes_for_what_comes() {
    let hub = Arc::new(WatchHub::default());
    let mut watcher = hub.subscribe(&code(1), Revision(7));
    assert_eq!(watcher.next(7, 9), Next::UpToDate { applied: 0 });
    apply(&hub, 9, 1, 8, 1);
    watcher.changed().await;
    assert_eq!(lasts(watcher.next(7, 9)), [8]);
    assert_eq!(watcher.next(6, 9), Next::Missed, "that was before anybody kept it");
}

#[test]
fn a_room_keeps_its_last_entries() {
    let hub = Arc::new(WatchHub::default());
    let mut watcher = hub.subscribe(&code(1), Revision(0));
    let count = ROOM_BATCHES_MAX as u64 + 10;
    (1..=count).for_each(|revision| apply(&hub, revision, 1, revision, 1));
    assert_eq!(watcher.next(9, 1), Next::Missed);
    assert_eq!(lasts(watcher.next(10, 1)), [11]);
}

#[test]
fn all_rooms_together_are_bounded() {
    let hub = Arc::new(WatchHub::default());
    let rooms = BATCHES_MAX as u64 + 5;
    (1..=rooms).for_each(|room| apply(&hub, room, room, 1, 1));
    assert_eq!(hub.lock().feeds.len(), BATCHES_MAX);
    let mut oldest = hub.subscribe(&code(1), Revision(1));
    assert_eq!(oldest.next(0, 9), Next::Missed);
    assert_eq!(oldest.next(1, 9), Next::UpToDate { applied: rooms });
    drop(oldest);
    assert_eq!(hub.lock().feeds.len(), BATCHES_MAX);
    assert_eq!(hub.watchers(), 0);
}

#[test]
fn a_watcher_that_takes_nothing_is_dropped() {
    let hub = Arc::new(WatchHub::default());
    let (slow, quick, idle) = (
        hub.subscribe(&code(1), Revision(0)),
        hub.subscribe(&code(1), Revision(0)),
        hub.subscribe(&code(1), Revision(0)),
    );
    assert!(slow.asked() && quick.asked() && idle.asked());
    slow.given();
    quick.given();
    let later = Instant::now() + SLOW_MAX;
    assert_eq!(hub.drop_slow(Instant::now()), 0);
    assert!(quick.asked(), "it has taken its message");
    assert_eq!(hub.drop_slow(later), 1);
    assert_eq!((slow.asked(), quick.asked(), idle.asked()), (false, true, true));
    assert_eq!(hub.drop_slow(later), 0, "once");
    drop((slow, quick, idle));
    assert_eq!(hub.drop_slow(later), 0);
    assert_eq!((hub.watchers(), hub.lock().watchers.len()), (0, 0));
}

#[test]
fn a_replaced_state_sends_watchers_to_the_snapshot() {
    let hub = Arc::new(WatchHub::default());
    apply(&hub, 1, 1, 1, 3);
    let mut watcher = hub.subscribe(&code(1), Revision(3));
    hub.replaced(100, &Shard::default());
    assert_eq!(watcher.next(3, 9), Next::Ahead, "the room is not in that state (yet)");
    apply(&hub, 101, 2, 1, 1);
    drop(watcher);
    assert_eq!(hub.lock().feeds.len(), 1);
}
