//! The clocks of one machine.
//!
//! All are arithmetic on true time. A machine's crystal is off by a constant of up to ±100 ppm, and its raw clock with it;
//! the monotonic clock and the time of day are steered by NTP to within 1 ppm on every other machine, and follow the
//! crystal on the rest. A suspend stops the raw and the monotonic clock; a boot begins them anew and gives them another id.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::time::Time;
use crate::crowd::TrueClock;
use crate::seed::Stream;

/// What the worst crystal that a promise has to bear is off, in parts in 10^9.
const CRYSTAL_PPB_MAX: i64 = 100_000;
/// What is left of it where NTP steers, in parts in 10^9.
const STEERED_PPB_MAX: i64 = 1_000;
const SECOND_NS: i64 = 1_000_000_000;
/// 2030-01-01: the time of day when a simulation begins, on a machine whose clock is right.
const EPOCH: Duration = Duration::from_secs(1_893_456_000);
/// How far into a step readings may be. Less than a step at any rate, so that clocks never go back.
const PHASE_NS_MAX: i64 = 900_000;

/// A machine's clocks. Each reading takes a few microseconds of a seeded length, so that two are never the same and what
/// is measured is not a whole number of milliseconds.
#[derive(Debug)]
pub struct Clocks {
    time: Arc<Time>,
    hands: Mutex<Hands>,
}

#[derive(Debug)]
struct Hands {
    draws: Stream,
    raw_ppb: i64,
    mono_ppb: i64,
    boot_id: String,
    /// What all clocks but the time of day showed at the boot.
    up_at_boot_ns: i64,
    booted_at_ns: i64,
    /// True time spent asleep since the boot, without the sleep that goes on.
    slept_ns: i64,
    asleep_since_ns: Option<i64>,
    wall_off_ns: i64,
    /// The step of the last reading, and how far into it that was.
    step_ns: i64,
    phase_ns: i64,
}

impl Clocks {
    /// Those of a machine that was booted some time ago.
    pub fn new(seed: u64, machine: &str, time: Arc<Time>) -> Self {
        let mut draws = Stream::new(seed, &format!("clocks of {machine}"));
        let raw_ppb = draws.within(-CRYSTAL_PPB_MAX..=CRYSTAL_PPB_MAX);
        let steered_ppb = draws.within(-STEERED_PPB_MAX..=STEERED_PPB_MAX);
        let mono_ppb = if draws.one_in(2) { steered_ppb } else { raw_ppb };
        // Days, and for one in eight a time of day that nobody ever set.
        let up_at_boot_ns = draws.within(SECOND_NS..=30 * 86_400 * SECOND_NS);
        let wall_off_ns = if draws.one_in(8) {
            draws.within(-365 * 86_400 * SECOND_NS..=365 * 86_400 * SECOND_NS)
        } else {
            draws.within(-SECOND_NS / 20..=SECOND_NS / 20)
        };
        let booted_at_ns = time.now_ns();
        let hands = Hands {
            boot_id: boot_id(&mut draws),
            draws,
            raw_ppb,
            mono_ppb,
            up_at_boot_ns,
            booted_at_ns,
            slept_ns: 0,
            asleep_since_ns: None,
            wall_off_ns,
            step_ns: booted_at_ns,
            phase_ns: 0,
        };
        Self { time, hands: Mutex::new(hands) }
    }

    /// Boots: another boot id, and clocks that begin anew.
    pub(super) fn boot(&self) {
        let now_ns = self.time.now_ns();
        let mut hands = self.hands();
        hands.boot_id = boot_id(&mut hands.draws);
        hands.up_at_boot_ns = hands.draws.within(3 * SECOND_NS..=30 * SECOND_NS);
        hands.booted_at_ns = now_ns;
        hands.slept_ns = 0;
        hands.asleep_since_ns = None;
    }

    /// Stops the raw and the monotonic clock until [`Clocks::wake`].
    pub(super) fn suspend(&self) {
        let now_ns = self.time.now_ns();
        // A reading of this step may have been ahead of its beginning.
        let mut hands = self.hands();
        let last_ns = hands.step_ns + hands.phase_ns;
        hands.asleep_since_ns.get_or_insert(now_ns.max(last_ns));
    }

    /// Ends a suspend.
    pub(super) fn wake(&self) {
        let now_ns = self.time.now_ns();
        let mut hands = self.hands();
        if let Some(since_ns) = hands.asleep_since_ns.take() {
            hands.slept_ns += (now_ns - since_ns).max(0);
        }
    }

    /// Sets the time of day by so much off what it is.
    pub(super) fn jump_wall(&self, by_ns: i64) {
        self.hands().wall_off_ns += by_ns;
    }

    /// Whether the machine is suspended.
    pub fn is_asleep(&self) -> bool {
        self.hands().asleep_since_ns.is_some()
    }

    /// How far the raw clock's rate is off true time's, in parts in 10^9.
    pub fn raw_ppb(&self) -> i64 {
        self.hands().raw_ppb
    }

    /// What the raw clock shows at a true time since the last boot and the last suspend; for judges.
    pub fn raw_at(&self, true_ns: i64) -> i64 {
        self.hands().raw_at(true_ns)
    }

    /// What the monotonic clock shows at a true time since the last boot and the last suspend; for judges.
    pub fn mono_at(&self, true_ns: i64) -> i64 {
        self.hands().mono_at(true_ns)
    }

    fn read<T>(&self, read: impl FnOnce(&Hands, i64) -> T) -> T {
        let mut hands = self.hands();
        let true_ns = hands.look(self.time.now_ns());
        read(&hands, true_ns)
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since the last boot and the last suspend.
impl TrueClock for Clocks {
    fn true_at_raw(&self, raw_ns: i64) -> f64 {
        let hands = self.hands();
        hands.true_at(raw_ns, hands.raw_ppb)
    }

    fn true_at_mono(&self, mono_ns: i64) -> f64 {
        let hands = self.hands();
        hands.true_at(mono_ns, hands.mono_ppb)
    }

    fn mono_rate(&self) -> f64 {
        1.0 + self.hands().mono_ppb as f64 * 1e-9
    }
}

impl jam_world::Clock for Clocks {
    fn raw_ns(&self) -> i64 {
        self.read(Hands::raw_at)
    }

    fn mono_ns(&self) -> i64 {
        self.read(Hands::mono_at)
    }

    fn boottime_ns(&self) -> i64 {
        self.read(Hands::boottime_at)
    }

    fn wall(&self) -> SystemTime {
        self.read(Hands::wall_at)
    }

    fn boot_id(&self) -> String {
        self.hands().boot_id.clone()
    }
}

impl Hands {
    /// The true time of a reading in the step that began at `step_ns`: later than that of any other one.
    fn look(&mut self, step_ns: i64) -> i64 {
        if step_ns > self.step_ns {
            self.step_ns = step_ns;
            self.phase_ns = self.draws.within(0..=PHASE_NS_MAX / 3);
        } else {
            // Never reaches the end, however often it is read.
            let left_ns = PHASE_NS_MAX - self.phase_ns;
            self.phase_ns += self.draws.within(0..=left_ns / 32).max(1).min(left_ns);
        }
        self.step_ns + self.phase_ns
    }

    fn awake_ns(&self, true_ns: i64) -> i64 {
        true_ns.min(self.asleep_since_ns.unwrap_or(true_ns)) - self.booted_at_ns - self.slept_ns
    }

    fn asleep_ns(&self, true_ns: i64) -> i64 {
        self.slept_ns + self.asleep_since_ns.map_or(0, |since_ns| (true_ns - since_ns).max(0))
    }

    fn raw_at(&self, true_ns: i64) -> i64 {
        self.up_at_boot_ns + at_rate(self.awake_ns(true_ns), self.raw_ppb)
    }

    fn mono_at(&self, true_ns: i64) -> i64 {
        self.up_at_boot_ns + at_rate(self.awake_ns(true_ns), self.mono_ppb)
    }

    /// When a clock of that rate shows this.
    fn true_at(&self, shown_ns: i64, ppb: i64) -> f64 {
        let awake_ns = (shown_ns - self.up_at_boot_ns) as f64 / (1.0 + ppb as f64 * 1e-9);
        awake_ns + (self.booted_at_ns + self.slept_ns) as f64
    }

    fn boottime_at(&self, true_ns: i64) -> i64 {
        self.mono_at(true_ns) + self.asleep_ns(true_ns)
    }

    fn wall_at(&self, true_ns: i64) -> SystemTime {
        let since_ns = at_rate(true_ns, self.mono_ppb) + self.wall_off_ns;
        let by = Duration::from_nanos(since_ns.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH + EPOCH;
        if since_ns < 0 { epoch - by } else { epoch + by }
    }
}

/// What a clock that is off by so much counts in a true time.
fn at_rate(true_ns: i64, ppb: i64) -> i64 {
    true_ns + (i128::from(true_ns) * i128::from(ppb) / 1_000_000_000) as i64
}

fn boot_id(draws: &mut Stream) -> String {
    format!("{:016x}{:016x}", draws.draw(), draws.draw())
}

#[cfg(test)]
mod tests {
    use jam_world::Clock;

    use super::*;

    fn clocks(seed: u64) -> (Clocks, Arc<Time>) {
        let time = Time::new();
        (Clocks::new(seed, "n1", time.clone()), time)
    }

    #[test]
    fn rates_are_constant_and_within_100_ppm() {
        for seed in 0..50 {
            let (clocks, time) = clocks(seed);
            let start_ns = clocks.raw_at(0);
            for secs in [1, 60, 3600] {
                time.set(Duration::from_secs(secs));
                let true_ns = secs as i64 * SECOND_NS;
                let off_ns = clocks.raw_at(true_ns) - start_ns - true_ns;
                assert!(off_ns.abs() <= secs as i64 * 100_000);
                assert!((off_ns - secs as i64 * clocks.raw_ppb()).abs() <= 1);
                assert!(
                    (clocks.true_at_mono(clocks.mono_at(true_ns)) - true_ns as f64).abs() < 2.0
                );
                // A reading is in its step.
                assert!(
                    (0..SECOND_NS / 1000).contains(&(clocks.raw_ns() - clocks.raw_at(true_ns)))
                );
            }
        }
    }

    #[test]
    fn no_clock_goes_back_within_a_step_or_between_two() {
        for seed in 0..20 {
            let (clocks, time) = clocks(seed);
            let mut last = (0, 0, 0);
            for step in 0..50 {
                time.set(Duration::from_millis(step));
                for _ in 0..100 {
                    let now = (clocks.raw_ns(), clocks.mono_ns(), clocks.boottime_ns());
                    assert!(now.0 > last.0 && now.1 > last.1 && now.2 > last.2);
                    last = now;
                }
            }
        }
    }

    #[test]
    fn a_suspend_stops_all_but_boottime_and_the_time_of_day() {
        let (clocks, time) = clocks(3);
        time.set(Duration::from_secs(5));
        let before = (clocks.raw_ns(), clocks.mono_ns(), clocks.boottime_ns(), clocks.wall());
        let boot = clocks.boot_id();
        clocks.suspend();
        time.set(Duration::from_secs(65));
        assert!(clocks.is_asleep());
        assert!(clocks.raw_ns() - before.0 < SECOND_NS / 1000);
        clocks.wake();
        let after = (clocks.raw_ns(), clocks.mono_ns(), clocks.boottime_ns(), clocks.wall());
        assert!((0..SECOND_NS / 1000).contains(&(after.0 - before.0)));
        assert!((0..SECOND_NS / 1000).contains(&(after.1 - before.1)));
        let slept_ns = (after.2 - before.2) - (after.1 - before.1);
        assert!((slept_ns - 60 * SECOND_NS).abs() < SECOND_NS / 1000);
        let wall = after.3.duration_since(before.3).expect("goes on");
        assert!(wall.abs_diff(Duration::from_secs(60)) < Duration::from_millis(10));
        assert_eq!(clocks.boot_id(), boot);
    }

    #[test]
    fn a_boot_begins_anew_and_a_jump_moves_the_time_of_day_only() {
        let (clocks, time) = clocks(4);
        let boot = clocks.boot_id();
        time.set(Duration::from_secs(9));
        clocks.boot();
        assert_ne!(clocks.boot_id(), boot);
        assert!((3..31).contains(&(clocks.raw_ns() / SECOND_NS)));
        let (raw_ns, wall) = (clocks.raw_ns(), clocks.wall());
        clocks.jump_wall(-3600 * SECOND_NS);
        let back = wall.duration_since(clocks.wall()).expect("it went back");
        assert!(back > Duration::from_secs(3599));
        assert!((0..SECOND_NS / 1000).contains(&(clocks.raw_ns() - raw_ns)));
    }
}
