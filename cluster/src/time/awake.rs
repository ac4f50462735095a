//! Whether the machine slept.
//!
//! The raw clock stands still in a suspend, which CLOCK_BOOTTIME does not: when their difference moves, the
//! machine slept.

use jam_world::Clock;

/// By how much CLOCK_BOOTTIME is ahead of the raw clock, and when that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awake {
    /// The raw clock, ns.
    pub raw_ns: i64,
    /// CLOCK_BOOTTIME less the raw clock, ns.
    pub ahead_ns: i64,
}

impl Awake {
    /// NTP steers BOOTTIME by up to 500 ppm against the raw clock; twice that is allowed for.
    const STEERED_PPM_MAX: u64 = 1000;
    /// The two clocks are not read at one instant. No suspend is as short.
    const READING_NS_MAX: u64 = 20_000_000;
    /// A thread may be held up between two readings: for the tightest of these it was not.
    const TRIES: usize = 5;
    /// Tight enough, ns.
    const TIGHT_NS: i64 = 100_000;

    /// Looks now.
    pub fn look(machine: &dyn Clock) -> Self {
        let mut tightest = (i64::MAX, Self { raw_ns: 0, ahead_ns: 0 });
        for _ in 0..Self::TRIES {
            let (before_ns, boottime_ns) = (machine.raw_ns(), machine.boottime_ns());
            let took_ns = machine.raw_ns() - before_ns;
            if took_ns < tightest.0 {
                let raw_ns = before_ns + took_ns / 2;
                tightest = (took_ns, Self { raw_ns, ahead_ns: boottime_ns - raw_ns });
            }
            if took_ns <= Self::TIGHT_NS {
                break;
            }
        }
        tightest.1
    }

    /// Whether the machine slept between `earlier` (of the same boot) and this look.
    pub fn slept_since(&self, earlier: &Self) -> bool {
        // `earlier` may come from a disk: it is any number.
        let steered_ns = self.raw_ns.abs_diff(earlier.raw_ns) / 1_000_000 * Self::STEERED_PPM_MAX;
        self.ahead_ns.abs_diff(earlier.ahead_ns) > Self::READING_NS_MAX + steered_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspend_is_seen_and_ntp_is_not() {
        let evening = Awake { raw_ns: 1_000_000_000, ahead_ns: 7 };
        let steered = Awake { raw_ns: 3_601_000_000_000, ahead_ns: 1_800_000_000 };
        assert!(!steered.slept_since(&evening), "500 ppm for an hour");
        let slept = Awake { raw_ns: 2_000_000_000, ahead_ns: 3_000_000_000 };
        assert!(slept.slept_since(&evening), "three seconds of sleep within a second");
    }

    #[test]
    fn what_a_disk_says_of_an_earlier_look_may_be_anything() {
        let now = Awake { raw_ns: 1, ahead_ns: 1 };
        assert!(now.slept_since(&Awake { raw_ns: 1, ahead_ns: i64::MIN }));
        now.slept_since(&Awake { raw_ns: i64::MIN, ahead_ns: i64::MAX });
    }

    #[test]
    fn this_machine_has_both_clocks() {
        let machine = jam_world::World::real().clock;
        let first = Awake::look(machine.as_ref());
        assert!(!Awake::look(machine.as_ref()).slept_since(&first));
    }
}
