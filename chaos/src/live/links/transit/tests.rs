use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn transit(way: &Way) -> Transit {
    let mut transit = Transit::new(Stream::new(1, "test"), 2);
    transit.set_way(way);
    transit
}

/// Lets all leave whenever it may, from a time on: when, and how much. The end counts as 0 bytes.
fn departures(transit: &mut Transit, mut now_ns: u64) -> Vec<(u64, usize)> {
    let mut departures = Vec::new();
    loop {
        match transit.next(now_ns) {
            Next::Pass(bytes) => {
                transit.left(now_ns, bytes);
                departures.push((now_ns, bytes));
            }
            Next::End => {
                transit.clear();
                departures.push((now_ns, 0));
            }
            Next::At(at_ns) => {
                assert!(at_ns > now_ns, "a wait must end later");
                now_ns = at_ns;
            }
            Next::Nothing => return departures,
        }
    }
}

#[test]
fn a_healthy_way_passes_all_at_once_and_then_the_end() {
    let mut transit = transit(&Way::default());
    assert_eq!(transit.next(5), Next::Nothing);
    transit.push(5, 3);
    transit.push(6, 4);
    transit.end(7);
    assert_eq!(transit.held(), 7);
    assert_eq!(departures(&mut transit, 7), [(7, 7), (7, 0)]);
    assert_eq!(transit.held(), 0);
}

#[test]
fn what_a_socket_does_not_take_stays() {
    let mut transit = transit(&Way::default());
    transit.push(0, 10);
    transit.push(0, 10);
    transit.left(0, 13);
    assert_eq!(transit.next(0), Next::Pass(7));
}

#[test]
fn a_delay_is_what_it_says_for_the_end_too() {
    let mut transit = transit(&Way::delay(30, 0));
    transit.push(1, 10);
    transit.push(2, 20);
    transit.end(3);
    let late = 30 * MS_NS;
    assert_eq!(departures(&mut transit, 3), [(late + 1, 10), (late + 2, 20), (late + 3, 0)]);
}

#[test]
fn jitter_keeps_order_and_its_bounds_and_comes_from_the_seed() {
    let way = Way::delay(10, 40);
    let run = || {
        let mut transit = transit(&way);
        (0..100).for_each(|i| transit.push(i * MS_NS, 1 + i as usize));
        departures(&mut transit, 0)
    };
    let left = run();
    assert_eq!(left, run());
    let bytes: usize = left.iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(bytes, 5050);
    let (mut came, mut latest) = (0, 0);
    for (at_ns, bytes) in left {
        assert!(at_ns >= latest);
        latest = at_ns;
        // Those that one overtook would leave with it: look at the last of them.
        let mut rest = bytes;
        while rest > 0 {
            came += 1;
            rest -= came as usize;
        }
        let late_ns = at_ns - (came - 1) * MS_NS;
        assert!(late_ns >= 10 * MS_NS);
        assert!(at_ns < (came + 49) * MS_NS);
    }
}

#[test]
fn a_held_way_gives_nothing_until_it_is_open() {
    let mut transit = transit(&Way::hold());
    transit.push(1, 10);
    transit.end(2);
    assert_eq!(transit.next(60 * SECOND_NS), Next::Nothing);
    transit.set_way(&Way::default());
    assert_eq!(departures(&mut transit, 0), [(0, 10), (0, 0)]);
}

#[test]
fn a_way_that_changes_changes_for_what_is_under_way() {
    let mut transit = transit(&Way::delay(60_000, 0));
    transit.push(0, 10);
    assert_eq!(transit.next(1), Next::At(60 * SECOND_NS));
    transit.set_way(&Way::delay(20, 0));
    assert_eq!(transit.next(1), Next::At(20 * MS_NS));
    transit.set_way(&Way::default());
    assert_eq!(transit.next(0), Next::Pass(10));
}

#[test]
fn bandwidth_is_what_it_says() {
    let mut transit = transit(&Way { bytes_per_sec: 100_000, ..Way::default() });
    transit.push(0, 300_000);
    let left = departures(&mut transit, SECOND_NS);
    assert!(left.iter().all(|(_, bytes)| *bytes <= FRAME_BYTES));
    let in_first_second: usize =
        left.iter().filter(|(at_ns, _)| *at_ns < 2 * SECOND_NS).map(|(_, bytes)| bytes).sum();
    // The slack for late timers: 10 ms, and a frame that leaves in its first moment.
    assert!((100_000..=101_000 + FRAME_BYTES).contains(&in_first_second), "{in_first_second}");
    assert_eq!(left.iter().map(|(_, bytes)| bytes).sum::<usize>(), 300_000);
}

#[test]
fn a_late_timer_costs_no_bandwidth() {
    let mut transit = transit(&Way { bytes_per_sec: 1_448_000, ..Way::default() });
    transit.push(0, 1_000_000);
    // Looks every 3 ms, at frames of 1 ms each.
    let mut passed = 0;
    for look in 0..100 {
        let now_ns = SECOND_NS + look * 3 * MS_NS;
        while let Next::Pass(bytes) = transit.next(now_ns) {
            transit.left(now_ns, bytes);
            passed += bytes;
        }
    }
    assert!((297 * FRAME_BYTES..=311 * FRAME_BYTES).contains(&passed), "{passed}");
}

#[test]
fn slices_are_small_and_apart() {
    let mut transit = transit(&Way { slice_bytes: 4, ..Way::default() });
    transit.push(SECOND_NS, 10);
    let left = departures(&mut transit, SECOND_NS);
    let at = |slice| SECOND_NS + slice * SLICE_GAP_NS;
    assert_eq!(left, [(at(0), 4), (at(1), 4), (at(2), 2)]);
}

#[test]
fn stalls_come_once_a_period_and_last_as_long_as_they_should() {
    let way = Way { stall_every_ms: 1000, stall_ms: 300, ..Way::default() };
    let mut transit = transit(&way);
    transit.push(0, 1);
    let mut stalled = 0;
    for period in 0..50 {
        let mut in_period = Vec::new();
        for ms in 0..1000 {
            let now_ns = period * SECOND_NS + ms * MS_NS;
            if let Next::At(over_ns) = transit.next(now_ns) {
                assert!(over_ns - now_ns <= 300 * MS_NS);
                in_period.push(ms);
            }
        }
        // One stretch.
        assert_eq!(in_period.len() as u64, in_period[in_period.len() - 1] - in_period[0] + 1);
        assert!((300..=301).contains(&in_period.len()));
        stalled += in_period.len();
    }
    assert!(stalled >= 50 * 300);
}

#[test]
fn a_way_that_always_stalls_never_passes() {
    let way = Way { stall_every_ms: 10, stall_ms: 20, ..Way::default() };
    let mut transit = transit(&way);
    transit.push(0, 1);
    assert!((0..1000).all(|ms| matches!(transit.next(ms * MS_NS), Next::At(_))));
}

#[test]
fn no_more_is_held_than_is_stated() {
    let mut transit = transit(&Way::hold());
    let mut reads = 0;
    while transit.room() > 0 {
        transit.push(0, transit.room().min(READ_BYTES));
        reads += 1;
    }
    assert_eq!((transit.held(), reads), (HELD_BYTES_MAX, 16));
    transit.clear();
    while transit.room() > 0 {
        transit.push(0, 1);
    }
    assert_eq!(transit.held(), PARCELS_MAX);
    // What was held is more than a healthy way keeps: it leaves first.
    transit.push(0, READ_BYTES);
    transit.set_way(&Way::default());
    assert_eq!((transit.room(), transit.next(0)), (0, Next::Pass(PARCELS_MAX + READ_BYTES)));
}

#[test]
fn what_is_swallowed_is_counted_and_an_end_is_something() {
    let mut transit = transit(&Way::blackhole());
    assert_eq!(transit.clear(), (0, false));
    transit.push(0, 3);
    assert_eq!(transit.next(0), Next::Nothing);
    transit.end(0);
    assert_eq!(transit.clear(), (3, true));
    transit.end(0);
    assert_eq!(transit.clear(), (0, true));
}
