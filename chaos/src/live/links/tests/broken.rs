use super::*;

#[tokio::test]
async fn a_blackhole_swallows_one_direction_and_healing_resets() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    let (mut quiet, mut quiet_target) = site.connect().await;
    site.link.set_there(Way::blackhole());
    send(&mut dialler, b"lost").await;
    site.until(|tally| tally.there.swallowed == 4).await;
    passes(&mut target, &mut dialler).await;
    assert_silent(&target);
    site.link.set_there(Way::default());
    assert_reset(&mut dialler).await;
    assert_reset(&mut target).await;
    // Who lost nothing goes on.
    passes(&mut quiet, &mut quiet_target).await;
    assert_eq!((site.link.tally().reset, site.link.tally().there.held), (1, 0));
}

#[tokio::test]
async fn the_way_back_can_be_the_blackhole() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    site.link.set_back(Way::blackhole());
    send(&mut target, b"lost").await;
    site.until(|tally| tally.back.swallowed == 4).await;
    passes(&mut dialler, &mut target).await;
    assert_silent(&dialler);
    // The other direction breaks and this one heals: the connection stays dead, and nobody is told.
    site.link.set(Way::blackhole(), Way::default());
    send(&mut target, b"too").await;
    site.until(|tally| tally.back.swallowed == 7).await;
    assert_silent(&dialler);
    site.link.heal();
    assert_reset(&mut dialler).await;
    assert_reset(&mut target).await;
}

#[tokio::test]
async fn a_new_connection_into_a_blackhole_is_made_once_it_is_healed() {
    for (there, back) in [(Way::blackhole(), Way::default()), (Way::default(), Way::blackhole())] {
        let site = Site::new().await;
        site.link.set(there, back);
        let (mut quiet, mut eager) = (site.dial().await, site.dial().await);
        send(&mut eager, b"hello").await;
        site.until(|tally| tally.there.swallowed == 5).await;
        assert_silent(&eager);
        // Who gives up is forgotten.
        drop(site.dial().await);
        site.until(|tally| (tally.accepted, tally.open) == (3, 2)).await;
        site.link.set(Way::default(), Way::default());
        assert_reset(&mut eager).await;
        let (mut target, _) = soon(site.node.accept()).await.expect("one connection");
        passes(&mut quiet, &mut target).await;
        assert_eq!(site.link.tally().open, 1);
    }
}

#[tokio::test]
async fn the_end_of_a_connection_can_be_lost() {
    let site = Site::new().await;
    let (dialler, mut target) = site.connect().await;
    site.link.set_there(Way::blackhole());
    drop(dialler);
    // The target does not hear of it, and what it sends goes nowhere.
    send(&mut target, b"are you there?").await;
    site.until(|tally| tally.back.passed == 14).await;
    assert_silent(&target);
    site.link.heal();
    assert_reset(&mut target).await;
}

#[tokio::test]
async fn held_bytes_and_ends_arrive_in_order_once_healed() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    site.link.set_there(Way::hold());
    send(&mut dialler, b"one, ").await;
    site.until(|tally| tally.there.held == 5).await;
    send(&mut dialler, b"two").await;
    site.until(|tally| tally.there.held == 8).await;
    passes(&mut target, &mut dialler).await;
    dialler.shutdown().await.expect("done");
    assert_silent(&target);
    site.link.set_there(Way::default());
    let (words, end) = rest(&mut target).await;
    end.expect("a clean end");
    assert_eq!(words, b"one, two");
    passes(&mut target, &mut dialler).await;
    let there = site.link.tally().there;
    assert_eq!(there, Bytes { passed: 8, swallowed: 0, held: 0 });
}

#[tokio::test]
async fn a_hold_keeps_so_much_and_loses_nothing() {
    let site = Site::new().await;
    let (dialler, mut target) = site.connect().await;
    site.link.set(Way::hold(), Way::hold());
    let much = pattern(20_000_000);
    let (_, mut to_dialler) = dialler.into_split();
    let sender = tokio::spawn({
        let much = much.clone();
        async move { to_dialler.write_all(&much).await.map(|()| to_dialler.forget()) }
    });
    site.until(|tally| tally.there.held == HELD_BYTES_MAX as u64).await;
    assert_silent(&target);
    site.link.set(Way::default(), Way::default());
    assert!(receive(&mut target, much.len()).await == much);
    soon(sender).await.expect("no panic").expect("all sent");
    assert_eq!(site.link.tally().there.held, 0);
}

#[tokio::test]
async fn a_connection_that_is_made_while_held_is_served_once_healed() {
    let site = Site::new().await;
    site.link.set(Way::hold(), Way::hold());
    let mut dialler = site.dial().await;
    send(&mut dialler, b"hello").await;
    site.until(|tally| tally.open == 1).await;
    site.link.heal();
    let (mut target, _) = soon(site.node.accept()).await.expect("a connection");
    assert_eq!(receive(&mut target, 5).await, b"hello");
}

#[tokio::test]
async fn held_bytes_are_lost_if_the_hold_becomes_a_blackhole() {
    let site = Site::new().await;
    let (mut dialler, _target) = site.connect().await;
    site.link.set_there(Way::hold());
    send(&mut dialler, b"lost").await;
    site.until(|tally| tally.there.held == 4).await;
    site.link.set_there(Way::blackhole());
    site.until(|tally| tally.there == Bytes { passed: 0, swallowed: 4, held: 0 }).await;
    site.link.heal();
    assert_reset(&mut dialler).await;
}

/// When exactly is the business of [`super::super::transit`]'s tests.
#[tokio::test]
async fn slow_ways_of_all_kinds_keep_order_content_and_ends() {
    let ways = [
        Way::delay(5, 20),
        Way { bytes_per_sec: 500_000, ..Way::default() },
        Way { slice_bytes: 300, ..Way::default() },
        Way { stall_every_ms: 20, stall_ms: 10, ..Way::default() },
        Way {
            delay_ms: 2,
            jitter_ms: 5,
            stall_every_ms: 30,
            stall_ms: 5,
            bytes_per_sec: 1_000_000,
            slice_bytes: 1000,
            ..Way::default()
        },
    ];
    let sent = pattern(50_000);
    for way in ways {
        let site = Site::new().await;
        let (mut dialler, mut target) = site.connect().await;
        site.link.set(way, Way::default());
        for piece in sent.chunks(7_000) {
            send(&mut dialler, piece).await;
            // The other direction is as quick as ever.
            passes(&mut target, &mut dialler).await;
        }
        dialler.shutdown().await.expect("done");
        let (received, end) = rest(&mut target).await;
        end.expect("a clean end");
        assert!(received == sent, "{:?}", site.link.ways());
        assert_eq!(site.link.tally().there.passed, sent.len() as u64);
    }
}

#[tokio::test]
async fn a_delay_that_is_over_lets_all_go() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    site.link.set_there(Way::delay(3_600_000, 0));
    send(&mut dialler, b"in an hour").await;
    site.until(|tally| tally.there.held == 10).await;
    site.link.set_there(Way::default());
    assert_eq!(receive(&mut target, 10).await, b"in an hour");
}

#[tokio::test]
async fn slices_arrive_as_slices() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    site.link.set_there(Way { slice_bytes: 3, ..Way::default() });
    send(&mut dialler, b"a message of some length").await;
    // A machine that is busy may merge some on the way, never all of them.
    let (mut reads, mut received) = (0, Vec::new());
    while received.len() < 24 {
        soon(target.read_buf(&mut received)).await.expect("more");
        reads += 1;
    }
    assert_eq!(received, b"a message of some length");
    assert!(reads > 1);
}

#[test]
fn a_way_is_plain_data() {
    let way = Way { gate: Gate::Hold, jitter_ms: 3, ..Way::default() };
    let json = serde_json::to_string(&way).expect("to JSON");
    assert_eq!(serde_json::from_str::<Way>(&json).expect("from JSON"), way);
    assert_eq!(
        serde_json::from_str::<Way>(r#"{"gate": "hold", "jitter_ms": 3}"#).expect("short"),
        way
    );
    assert!(serde_json::from_str::<Way>(r#"{"delay": 3}"#).is_err());
}
