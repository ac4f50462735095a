use super::*;

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    passes(&mut dialler, &mut target).await;
    send(&mut target, b"an answer").await;
    assert_eq!(receive(&mut dialler, 9).await, b"an answer");
    let passed = |passed| Bytes { passed, swallowed: 0, held: 0 };
    site.until(|tally| (tally.there, tally.back) == (passed(10), passed(9))).await;
    assert_eq!((site.link.tally().accepted, site.link.tally().open), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_passes_both_ways_at_once_unchanged() {
    let site = Site::new().await;
    let (dialler, target) = site.connect().await;
    let (much, more) = (pattern(20_000_000), pattern(15_000_000));
    let (mut from_dialler, mut to_dialler) = dialler.into_split();
    let (mut from_target, mut to_target) = target.into_split();
    let (mut got_much, mut got_more) = (vec![0; much.len()], vec![0; more.len()]);
    soon(async {
        tokio::try_join!(
            to_dialler.write_all(&much),
            to_target.write_all(&more),
            async { from_target.read_exact(&mut got_much).await.map(drop) },
            async { from_dialler.read_exact(&mut got_more).await.map(drop) },
        )
    })
    .await
    .expect("all passes");
    assert!(got_much == much && got_more == more);
}

#[tokio::test]
async fn who_does_not_read_is_not_sent_more_and_nothing_is_lost() {
    let site = Site::new().await;
    let (dialler, mut target) = site.connect().await;
    // More than the buffers on the way take, most probably.
    let mut sent = 0;
    let block = pattern(1 << 16);
    while timeout(Duration::from_millis(200), dialler.writable()).await.is_ok() {
        sent += dialler.try_write(&block[sent % block.len()..]).unwrap_or(0);
    }
    drop(dialler);
    let (received, end) = rest(&mut target).await;
    end.expect("a clean end");
    assert_eq!(received.len(), sent);
    assert!(received.iter().enumerate().all(|(i, byte)| *byte == block[i % block.len()]));
}

#[tokio::test]
async fn connections_are_apart() {
    let site = Site::new().await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(site.connect().await);
    }
    for (i, (dialler, _)) in connections.iter_mut().enumerate() {
        send(dialler, &[i as u8]).await;
    }
    for (i, (_, target)) in connections.iter_mut().enumerate() {
        assert_eq!(receive(target, 1).await, [i as u8]);
    }
    connections.truncate(5);
    site.until(|tally| tally.open == 5).await;
    assert_eq!((site.link.tally().accepted, site.link.tally().reset), (20, 0));
}
