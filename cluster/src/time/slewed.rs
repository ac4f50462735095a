//! A map on its way to a better one: it never jumps and never runs backwards.

use jam_proto::sync::SharedMap;
use jam_proto::time::SharedTime;

/// Runs along `on_the_way` until `there_raw_ns`, and along `then` from there on. The two meet there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlewedMap {
    on_the_way: SharedMap,
    there_raw_ns: i64,
    then: SharedMap,
}

impl SlewedMap {
    /// Followers are heard by nobody, but may lead at any time, and then their rate is what all
    /// listeners steer by. This much more is still no trouble for them.
    const SLEW_MAX: f64 = 300e-6;
    /// An offset that needs no more is let in over this long, two rounds of probes: each round
    /// then takes out half of what is left, which smooths the noise of single rounds.
    const WAY_NS: i64 = 2_000_000_000;

    /// A map that is where it should be.
    pub fn settled(map: SharedMap) -> Self {
        Self { on_the_way: map, there_raw_ns: map.raw_ns, then: map }
    }

    /// Shared time at a raw reading.
    pub fn at(&self, raw_ns: i64) -> SharedTime {
        if raw_ns < self.there_raw_ns { self.on_the_way.at(raw_ns) } else { self.then.at(raw_ns) }
    }

    /// The rate at which it runs once it is there, against the raw clock.
    pub fn drift(&self) -> f64 {
        self.then.drift
    }

    /// Sets out from where this map is at `raw_ns` towards `target`, and then runs along it.
    pub fn towards(&self, target: &SharedMap, raw_ns: i64) -> Self {
        let here = self.at(raw_ns);
        let off_ns = target.at(raw_ns).since(here).as_nanos();
        if off_ns == 0 {
            return Self::settled(SharedMap { raw_ns, shared: here, drift: target.drift });
        }
        let at_full_slew_ns = (off_ns.unsigned_abs() as f64 / Self::SLEW_MAX) as i64;
        let way_ns = at_full_slew_ns.max(Self::WAY_NS);
        let there_raw_ns = raw_ns.saturating_add(way_ns);
        let extra = off_ns as f64 / way_ns as f64;
        let on_the_way = SharedMap { raw_ns, shared: here, drift: target.drift + extra };
        // Anchored where the way ends, so that no rounding makes a step there.
        let then = SharedMap {
            raw_ns: there_raw_ns,
            shared: on_the_way.at(there_raw_ns),
            drift: target.drift,
        };
        Self { on_the_way, there_raw_ns, then }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn map(raw_ns: i64, shared_ns: i64, drift: f64) -> SharedMap {
        let shared = SharedTime(jam_proto::time::Flicks::from_nanos(shared_ns).0);
        SharedMap { raw_ns, shared, drift }
    }

    #[test]
    fn arrives_without_a_step() {
        for off_ns in [-400_000, -90, 0, 3, 250_000, 90_000_000] {
            let start = SlewedMap::settled(map(0, 0, 10e-6));
            let target = map(0, off_ns, 12e-6);
            let slewed = start.towards(&target, 5 * SECOND);
            assert_eq!(slewed.at(5 * SECOND), start.at(5 * SECOND));
            let mut before = slewed.at(5 * SECOND).as_nanos();
            for tenth in 1..4000 {
                let raw = 5 * SECOND + tenth * SECOND / 10;
                let now = slewed.at(raw).as_nanos();
                let rate = (now - before) as f64 / (SECOND / 10) as f64 - 1.0;
                assert!((rate - 12e-6).abs() < 301e-6, "{rate} at {tenth} for {off_ns}");
                before = now;
            }
            let late = 5 * SECOND + 400 * SECOND;
            assert!(
                (slewed.at(late).as_nanos() - target.at(late).as_nanos()).abs() <= 5,
                "{off_ns}"
            );
        }
    }

    #[test]
    fn may_change_its_mind_on_the_way() {
        let slewed = SlewedMap::settled(map(0, 0, 0.0)).towards(&map(0, 300_000, 0.0), SECOND);
        let again = slewed.towards(&map(0, -300_000, 0.0), 2 * SECOND);
        assert_eq!(again.at(2 * SECOND), slewed.at(2 * SECOND));
        assert!((again.at(60 * SECOND).as_nanos() - (60 * SECOND - 300_000)).abs() <= 3);
    }
}
