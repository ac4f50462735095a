//! The controller against cards that are off, jitter and stop.

use super::*;

/// Noise without a generator: a fixed low-discrepancy sequence in -1..1.
fn noise(n: u64) -> f64 {
    2.0 * ((n as f64 * 0.618_033_988_749_895).fract()) - 1.0
}

/// A card that is fast by `ppm`, with stamps off by up to `jitter_ns`.
struct Card {
    ppm: f64,
    jitter_ns: f64,
}

impl Card {
    fn sounds(&self, frame: u64) -> f64 {
        1e9 + frame as f64 * 1e9 / (48_000.0 * (1.0 + self.ppm * 1e-6))
    }
    fn stamp(&self, frame: u64) -> i64 {
        (self.sounds(frame) + self.jitter_ns * noise(frame / 1024)).round() as i64
    }
}

/// Worst error after `settled_s` of `secs` seconds of steering, ns.
fn worst_error(card: &Card, start_error_ns: f64, settled_s: f64, secs: f64) -> f64 {
    let mut clock = DeviceClock::new(48_000, 4);
    let mut controller = Controller::default();
    let mut worst: f64 = 0.0;
    let mut due = None;
    for buffer in 0..(secs * 48_000.0 / 1024.0) as u64 {
        let frame = buffer * 1024;
        assert!(clock.observe(frame, card.stamp(frame)));
        if !clock.ready() {
            continue;
        }
        // What is rendered lies 200 ms ahead of what is stamped.
        let ahead = frame + 9_600;
        let at = clock.raw_at(ahead);
        let playhead = due.get_or_insert(at as f64 - start_error_ns);
        match controller.steer(at as f64 - *playhead, -clock.fast_ppm(), 1024.0 / 48_000.0) {
            Steering::Rate(ppm) => *playhead += 1024.0 / 48_000.0 * 1e9 * (1.0 + ppm * 1e-6),
            Steering::Jump => *playhead = clock.raw_at(ahead + 1024) as f64,
        }
        let error = card.sounds(ahead + 1024) - *playhead;
        if frame as f64 > settled_s * 48_000.0 {
            worst = worst.max(error.abs());
        }
    }
    worst
}

#[test]
fn cards_that_are_off_are_followed_to_microseconds() {
    for ppm in [-300.0, -100.0, -60.0, 0.0, 80.0, 300.0] {
        let exact = worst_error(&Card { ppm, jitter_ns: 0.0 }, 0.0, 15.0, 60.0);
        // Further off than crystals are, it takes a moment more.
        let allowed = if ppm.abs() > 100.0 { 10e3 } else { 5e3 };
        assert!(exact < allowed, "{ppm} ppm: {exact} ns");
        let real = worst_error(&Card { ppm, jitter_ns: 12e3 }, 0.0, 15.0, 60.0);
        assert!(real < 1.6 * allowed, "{ppm} ppm: {real} ns");
        let stepping = worst_error(&Card { ppm, jitter_ns: 100e3 }, 0.0, 30.0, 90.0);
        assert!(stepping < 40e3, "{ppm} ppm: {stepping} ns");
    }
}

#[test]
fn an_error_is_steered_out_in_seconds() {
    let worst = worst_error(&Card { ppm: 50.0, jitter_ns: 0.0 }, 1e6, 5.0, 60.0);
    assert!(worst < 250e3, "{worst} ns");
}

#[test]
fn steering_is_bounded_and_slewed() {
    let mut controller = Controller::default();
    assert_eq!(controller.steer(0.0, 80.0, 0.01), Steering::Rate(80.0));
    let mut last = 80.0;
    for _ in 0..90 {
        let Steering::Rate(rate) = controller.steer(50e6, 80.0, 0.01) else {
            panic!("jumped early")
        };
        assert!(rate - last <= SLEW_PPM_PER_S * 0.01 + 1e-9 && rate <= 80.0 + STEER_PPM_MAX);
        last = rate;
    }
}

#[test]
fn only_a_lasting_error_jumps() {
    let mut controller = Controller::default();
    for round in 0..1000 {
        let error = if round % 90 == 0 { 0.0 } else { 3e6 };
        assert!(matches!(controller.steer(error, 0.0, 0.01), Steering::Rate(_)), "{round}");
    }
    let jumps = (0..150).filter(|_| controller.steer(-3e6, 0.0, 0.01) == Steering::Jump).count();
    assert_eq!(jumps, 1);
}

#[test]
fn a_device_that_moved_is_noticed_and_keeps_its_drift() {
    let card = Card { ppm: 80.0, jitter_ns: 5e3 };
    let mut clock = DeviceClock::new(48_000, 2);
    let mut moved = 0;
    for buffer in 0..2000 {
        let frame = buffer * 1024;
        let hole = if buffer < 1000 { 0 } else { 21_000_000 };
        moved += u32::from(!clock.observe(frame, card.stamp(frame) + hole));
    }
    assert_eq!(moved, 1);
    assert!((clock.fast_ppm() - 80.0).abs() < 1.0, "{}", clock.fast_ppm());
    let error = clock.raw_at(2_048_000) - (card.sounds(2_048_000) as i64 + 21_000_000);
    assert!(error.abs() < 5_000, "{error} ns");
    assert_eq!(clock.frame_at(clock.raw_at(2_048_000) + 1000), 2_048_000);
}

#[test]
fn late_callbacks_on_a_card_that_steps_hardly_matter() {
    let card = Card { ppm: -60.0, jitter_ns: 20e3 };
    let mut clock = DeviceClock::new(48_000, 4);
    let mut worst: f64 = 0.0;
    for buffer in 0..3000 {
        let frame = buffer * 1024;
        // A third of all callbacks runs late, by up to a step of the pointer: 5 ms.
        let late = if buffer % 3 == 1 { 2.5e6 * (1.0 + noise(buffer * 7)) } else { 0.0 };
        assert!(clock.observe(frame, card.stamp(frame) + late as i64), "{buffer}");
        if buffer > 1000 {
            worst =
                worst.max((clock.raw_at(frame + 9_600) as f64 - card.sounds(frame + 9_600)).abs());
        }
    }
    assert!(worst < 50e3, "{worst} ns");
}

#[test]
fn one_lost_stamp_is_no_move() {
    let card = Card { ppm: 0.0, jitter_ns: 0.0 };
    let mut clock = DeviceClock::new(48_000, 0);
    for buffer in 0..500 {
        let late = if buffer % 50 == 7 { 40_000_000 } else { 0 };
        assert!(clock.observe(buffer * 480, card.stamp(buffer * 480) + late));
    }
    assert!((clock.raw_at(240_000) as f64 - card.sounds(240_000)).abs() < 100.0);
}

/// A period of the card: what its pointer moves by at once.
const PERIOD_NS: f64 = 1024.0 / 48_000.0 * 1e9;

/// How often the clock took late stamps for a move, and between which errors its line stayed after 30 of 90 seconds, ns.
fn with_late_stamps(ppm: f64, late: impl Fn(u64) -> f64) -> (u32, f64, f64) {
    let card = Card { ppm, jitter_ns: 12e3 };
    let mut clock = DeviceClock::new(48_000, 4);
    let (mut moved, mut least, mut most) = (0, f64::INFINITY, f64::NEG_INFINITY);
    for buffer in 0..90 * 48_000 / 1024 {
        let frame = buffer * 1024;
        let stamp = card.stamp(frame) + (PERIOD_NS * late(buffer)) as i64;
        moved += u32::from(!clock.observe(frame, stamp));
        if buffer > 30 * 48_000 / 1024 {
            let error = clock.raw_at(frame + 9_600) as f64 - card.sounds(frame + 9_600);
            (least, most) = (least.min(error), most.max(error));
        }
    }
    (moved, least, most)
}

#[test]
fn stamps_that_jump_by_a_whole_period_are_no_moves() {
    /// In 0..1, without an order.
    fn dice(n: u64) -> f64 {
        let mixed = (n ^ 0x9E37_79B9).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 31).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed >> 40) as f64 / f64::from(1 << 24)
    }
    for ppm in [-100.0, 0.0, 30.0, 100.0] {
        for share in [0.1, 0.2, 0.3, 0.5, 0.7] {
            let late = |n| if dice(n) < share { 1.0 } else { 0.0 };
            let (moved, least, most) = with_late_stamps(ppm, late);
            assert!(moved <= 3, "{ppm} ppm, {share}: taken for {moved} moves");
            assert!(least > -100e3 && most < 100e3, "{ppm} ppm, {share}: {least}..{most} ns");
        }
        let (moved, least, most) = with_late_stamps(ppm, |n| (n % 2) as f64);
        assert!(
            moved == 0 && least > -100e3 && most < 100e3,
            "{ppm} ppm: {moved}, {least}..{most}"
        );
        let (moved, least, most) = with_late_stamps(ppm, dice);
        assert!(moved <= 3 && least > -2e6 && most < 3e6, "{ppm} ppm: {moved}, {least}..{most}");
    }
}
