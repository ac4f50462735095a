use super::*;

#[tokio::test]
async fn a_side_that_is_done_can_still_listen() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    send(&mut dialler, b"a question").await;
    dialler.shutdown().await.expect("done");
    let (question, end) = rest(&mut target).await;
    end.expect("a clean end");
    assert_eq!(question, b"a question");
    send(&mut target, b"an answer").await;
    drop(target);
    let (answer, end) = rest(&mut dialler).await;
    end.expect("a clean end");
    assert_eq!(answer, b"an answer");
    site.until(|tally| tally.open == 0).await;
    assert_eq!(site.link.tally().reset, 0);
}

#[tokio::test]
async fn a_reset_arrives_as_one_after_what_was_sent_before() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    send(&mut target, b"last words").await;
    site.until(|tally| tally.back.passed == 10).await;
    target.set_zero_linger().expect("set");
    drop(target);
    let mut words = [0; 10];
    soon(dialler.read_exact(&mut words)).await.expect("what was sent before");
    assert_eq!(&words, b"last words");
    assert_reset(&mut dialler).await;
    site.until(|tally| tally.open == 0).await;
}

/// A process that has closed a socket answers what comes with a reset: its peer must hear of it.
#[tokio::test]
async fn who_writes_to_a_closed_socket_is_told() {
    for way in [Way::default(), Way::delay(1, 1)] {
        let site = Site::new().await;
        site.link.set(way.clone(), way);
        let (dialler, mut target) = site.connect().await;
        drop(dialler);
        let (_, end) = rest(&mut target).await;
        end.expect("a clean end");
        let told = async { while target.write_all(b"are you there?").await.is_ok() {} };
        soon(told).await;
        site.until(|tally| tally.open == 0).await;
    }
}

#[tokio::test]
async fn a_target_that_is_down_refuses_and_is_dialled_again() {
    let site = Site::new().await;
    let to = site.link.target();
    let Site { link, node } = site;
    drop(node);
    let mut refused = TcpStream::connect(link.address()).await.expect("taken first");
    assert_reset(&mut refused).await;
    let node = TcpListener::bind(to).await.expect("the same port");
    let site = Site { link, node };
    let (mut dialler, mut target) = site.connect().await;
    passes(&mut dialler, &mut target).await;
    assert_eq!(site.link.tally().reset, 1);
}

#[tokio::test]
async fn reset_ends_all_connections_and_takes_new_ones() {
    let site = Site::new().await;
    let mut old = [site.connect().await, site.connect().await];
    // Not even a blackhole keeps them.
    site.link.set_there(Way::blackhole());
    site.link.reset();
    for (dialler, target) in &mut old {
        assert_reset(dialler).await;
        assert_reset(target).await;
    }
    site.link.heal();
    let (mut dialler, mut target) = site.connect().await;
    passes(&mut dialler, &mut target).await;
    assert_eq!(site.link.tally().reset, 2);
}

#[tokio::test]
async fn refusing_resets_new_connections_only() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    site.link.refuse(true);
    assert_reset(&mut site.dial().await).await;
    passes(&mut dialler, &mut target).await;
    site.link.refuse(false);
    let (mut dialler, mut target) = site.connect().await;
    passes(&mut dialler, &mut target).await;
}

#[tokio::test]
async fn the_target_of_a_half_open_connection_is_gone_and_the_dialler_does_not_know() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    site.link.half_open(End::Target);
    assert_reset(&mut target).await;
    site.until(|tally| tally.half_open == 1).await;
    send(&mut dialler, b"are you there?").await;
    site.until(|tally| tally.there.swallowed == 14).await;
    assert_silent(&dialler);
    // New connections are fine, and a change of ways heals nothing.
    site.link.set(Way::delay(1, 0), Way::default());
    let (mut new, mut new_target) = site.connect().await;
    passes(&mut new, &mut new_target).await;
    assert_silent(&dialler);
    site.link.heal();
    assert_reset(&mut dialler).await;
    passes(&mut new_target, &mut new).await;
    site.until(|tally| (tally.open, tally.half_open) == (1, 0)).await;
}

#[tokio::test]
async fn a_dialler_can_vanish_as_well() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    site.link.half_open(End::Dialler);
    assert_reset(&mut dialler).await;
    send(&mut target, b"an event").await;
    site.until(|tally| tally.back.swallowed == 8).await;
    assert_silent(&target);
    site.link.reset();
    assert_reset(&mut target).await;
}

#[tokio::test]
async fn a_half_open_connection_that_is_healed_at_once_is_reset() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    site.link.half_open(End::Target);
    site.link.heal();
    assert_reset(&mut dialler).await;
    assert_reset(&mut target).await;
}

#[tokio::test]
async fn a_closed_link_is_gone_with_its_connections() {
    let site = Site::new().await;
    let (mut dialler, mut target) = site.connect().await;
    site.link.clone().close();
    assert_reset(&mut dialler).await;
    assert_reset(&mut target).await;
    let refused = async {
        while let Ok(mut taken) = TcpStream::connect(site.link.address()).await {
            // The listener was not closed yet.
            let _ = taken.read(&mut [0]).await;
        }
    };
    soon(refused).await;
}

#[tokio::test]
async fn a_link_ends_with_its_last_handle() {
    let Site { link, node } = Site::new().await;
    let site = Site { link: link.clone(), node };
    let (mut dialler, mut target) = site.connect().await;
    drop(link);
    passes(&mut dialler, &mut target).await;
    drop(site);
    assert_reset(&mut dialler).await;
    assert_reset(&mut target).await;
}
